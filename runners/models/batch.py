"""How a batch lies in the models: time first for the recurrent ones, grouped by token, and where its loss
is read.

A recurrent model's batch lies time first, batch innermost, one-hot, the supervised positions at the end.
Sequences come
padded on the right. Where only their last positions are supervised (outcome, cot) they are shifted so that
all of them
*end* at the last step; then the supervised positions are a fixed slice of the time axis, for any mix of
lengths and
with static shapes, and the head is evaluated nowhere else. Steps without a token have an all-zero one-hot
column,
which each model turns into "nothing happens". So padding contributes nothing, exactly.

Sequences of a step, or of all steps, that read the same token can lie side by side, so that each transition
meets its
own alone. Each group has a fixed number of places, so that the shapes of the products, and with them the
order of
their sums, do not depend on the data. A member of whose groups one overflows takes another way; whether it
does is a
matter of its own batch.

A transformer's last block and head work on a window: the supervised positions of a sequence are one run, so
they lie
within its last W positions. Keys and values are needed of all positions, everything after the last
attention of these
alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, sqrt

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from runners.interrupt import check_interrupt
from runners.models import loss
from runners.models.shape import Shape
from runners.models.workspace import Buffers

COLUMNS = 16
"""Batches are padded to a multiple of this with sequences that have no token, so that each member's part of a
matrix begins at a multiple of 64 bytes (see runners.models.layout) and its columns fill whole vectors."""


@dataclass(frozen=True)
class Frame:
    """[T, Et, .] tensors; Et is E, or 1 where all members read the same batch."""

    tokens: Tensor
    """int64 [T, Et, B], B padded; -1 where there is no token."""
    before: bool
    """Sequences may begin late: there may be steps before the first token."""
    targets: Tensor | None
    """int64 [W, Et, B]: the last W steps; -1 where nothing is supervised."""
    window: int
    """W."""
    ranks: Tensor | None = None
    """int64 [T, Et, B], see runners.models.batch; None: a step is not grouped."""
    order: Order | None = None
    """See runners.models.batch; None: the whole is not grouped."""

    def members(self, a: int, b: int) -> Frame:
        """The frame of members a..b-1 alone."""
        if self.tokens.shape[1] == 1:
            return self
        part = slice(a, b)
        targets = None if self.targets is None else self.targets[:, part]
        return replace(self, tokens=self.tokens[:, part], targets=targets)


def frame(shape: Shape, tokens: Tensor, targets: Tensor | None) -> Frame:
    """From tokens and targets [Et, B, T]; without targets every position is an input and all are wanted."""
    T = tokens.shape[-1]
    if targets is None:
        return Frame(_time_first(tokens), False, None, T)
    W = shape.window(T)
    if shape.one_length:  # only a row that fills up the batch has nothing supervised at its end
        read = _time_first(tokens).masked_fill_(_time_first(targets[..., -1:] < 0).bool(), -1)
        return Frame(read, False, _time_first(targets[..., T - W :]), W)
    if W == T and not shape.gaps:
        return Frame(_time_first(tokens.masked_fill(targets < 0, -1)), False, _time_first(targets), T)
    at = torch.arange(T, device=tokens.device)
    last = ((targets >= 0) * at).amax(-1, keepdim=True)
    source = at - (T - 1 - last)
    absent = source < 0
    source = source.clamp_min_(0)
    moved = tokens.to(torch.int64).gather(-1, source).masked_fill_(absent, -1)
    wanted = targets.to(torch.int64).gather(-1, source[..., T - W :]).masked_fill_(absent[..., T - W :], -1)
    return Frame(_time_first(moved), True, _time_first(wanted), W)


def one_hot_(out: Tensor, tokens: Tensor) -> None:
    """Fill out [T, E or Et, V, B] from tokens [T, Et, B]."""
    V = out.shape[2]
    ids = torch.arange(V, device=tokens.device).view(V, 1)
    out.copy_(tokens.unsqueeze(2) == ids)


def slices(rows: int, *batches: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Batches [Et, B, T] in parts of at most that many sequences."""
    for start in range(0, batches[0].shape[1], rows):
        check_interrupt()
        yield tuple(b[:, start : start + rows] for b in batches)


def _time_first(x: Tensor) -> Tensor:
    """A copy [T, Et, B], int64, its columns padded with -1."""
    x = x.permute(2, 0, 1)
    T, Et, B = x.shape
    out = torch.empty(T, Et, -(-B // COLUMNS) * COLUMNS, dtype=torch.int64, device=x.device)
    if B % COLUMNS == 0:
        return out.copy_(x)
    out[..., B:] = -1
    out[..., :B] = x
    return out


WORTH = 1.5
"""Grouping pays where it saves this factor of the arithmetic."""
SPREAD = 4.5
"""Standard deviations of a random group's size above its mean that still fit."""
PACKED_TOKENS, PACKED_ROWS = 8, 255
"""Vocabulary and batch up to which the sizes of all groups so far fit in the bytes of one integer."""


def capacity(V: int, B: int) -> int | None:
    """Places for each of V tokens among B sequences; None where grouping does not pay."""
    mean = B / V
    places = 4 * ceil((mean + SPREAD * sqrt(mean * (1 - 1 / V))) / 4)
    return places if WORTH * places <= B else None


def ranks(tokens: Tensor, V: int) -> Tensor:
    """int64 [T, Et, B]: how many sequences before this one read the same token at this step;
    0 where there is no token.
    """
    if V <= PACKED_TOKENS and tokens.shape[-1] <= PACKED_ROWS:
        place = tokens.clamp_min(0) * 8
        one = (tokens >= 0).to(torch.int64) << place
        before = one.cumsum(-1) - one
        return (before >> place).bitwise_and_(255).masked_fill_(tokens < 0, 0)
    ordered, order = torch.sort(tokens, dim=-1, stable=True)
    at = torch.arange(tokens.shape[-1], device=tokens.device).expand_as(tokens)
    first = torch.zeros_like(at)
    first[..., 1:] = torch.where(ordered[..., 1:] != ordered[..., :-1], at[..., 1:], 0)
    rank = at - first.cummax(-1).values
    return torch.empty_like(rank).scatter_(-1, order, rank).masked_fill_(tokens < 0, 0)


@dataclass(frozen=True)
class Places:
    """Indices of one batch.

    A row is a sequence of a member: row e B + b; a place is one of a group: e V C + v C + rank.
    """

    rows: tuple[Tensor, ...]
    """T times [E V C]: the row of each place, plus t E B; (T + 1) E B where nobody has the place."""
    forward: tuple[Tensor, ...]
    """T times [E B]: where a row finds its new state in [E V C places, empty, E initial states]."""
    backward: tuple[Tensor, ...]
    """T times [E B]: where a row finds the gradient of its old state in
    [E V C places, empty, E B gradients of the new].
    """


def places(batch: Frame, E: int, V: int, C: int, buffers: Buffers) -> Places:
    """From the ranks of a batch of which no group overflows."""
    assert batch.ranks is not None
    T, _, B = batch.tokens.shape
    tokens, rank = batch.tokens.expand(T, E, B), batch.ranks.expand(T, E, B)
    total = E * V * C
    member, row, all_rows = buffers.views(
        "constants",
        lambda: (
            torch.arange(E).view(E, 1),
            torch.arange(E * B).view(E, B),
            torch.arange(T * E * B, dtype=torch.int32).view(T, E * B),
        ),
    )
    absent = tokens < 0
    place = torch.add(rank, tokens, alpha=C).add_(member * (V * C)).masked_fill_(absent, total)
    # One place more takes what has no token.
    row_of = buffers("row_of", T, total + 1, dtype=torch.int32).fill_((T + 1) * E * B)
    row_of.scatter_(1, place.view(T, E * B), all_rows)
    forward = backward = place
    if batch.before:
        forward = torch.where(absent, total + 1 + member, place)
        backward = torch.where(absent, total + 1 + row, place)
    return Places(
        row_of[:, :total].unbind(0), forward.view(T, E * B).unbind(0), backward.view(T, E * B).unbind(0)
    )


@dataclass(frozen=True)
class Order:
    """The sequences of all steps of each member, sorted by token."""

    order: npt.NDArray[np.int64]
    """[Et, T B]: t B + b; those without a token stand first."""
    counts: npt.NDArray[np.int64]
    """[Et, 1 + V]: how many have no token, and how many have each token."""

    @classmethod
    def of(cls, tokens: Tensor, V: int) -> Order:
        """From tokens [T, Et, B]."""
        keys = tokens.numpy().transpose(1, 0, 2).astype(np.int16, order="C").reshape(tokens.shape[1], -1)
        order = np.argsort(keys, axis=-1, kind="stable")  # by radix, as the keys are of two bytes
        bins = keys + np.arange(1, 1 + len(keys) * (V + 1), V + 1)[:, None]
        return cls(order, np.bincount(bins.ravel(), minlength=len(keys) * (V + 1)).reshape(-1, V + 1))

    def fits(self, places: int) -> list[bool]:
        """For each member whether no token has more sequences than so many."""
        return [bool(fits) for fits in self.counts[:, 1:].max(1) <= places]

    def members(self, a: int, b: int) -> Order:
        return self if len(self.order) == 1 else Order(self.order[a:b], self.counts[a:b])


def everywhere(found: Order, E: int, T: int, B: int, V: int, buffers: Buffers) -> Tensor:
    """int64 [E V C]: the row of each place of the groups over all steps, t E B + e B + b;
    (T + 1) E B where nobody has it.
    """
    C = capacity(V, T * B)
    assert C is not None
    Et = len(found.order)

    def make() -> tuple[npt.NDArray[np.int64], ...]:
        step, sequence = np.divmod(np.arange(T * B), B)
        first, member = np.arange(Et)[:, None, None] * (T * B), np.arange(E)[:, None] * B
        rows = np.full(Et * T * B + 1, (T + 1) * E * B)
        return step * (E * B) + sequence, np.arange(C), first, member, rows

    row, place, first, member, rows = buffers.views("order", make)
    np.take(row, found.order, out=rows[:-1].reshape(Et, T * B), mode="clip")
    if Et > 1:
        rows[:-1].reshape(Et, T * B)[...] += member
    start = found.counts[:, :-1].cumsum(1)[..., None] + first
    at = np.where(place < found.counts[:, 1:, None], start + place, Et * T * B)
    index = rows.take(at.reshape(Et, V * C))
    if Et == 1 and E > 1:
        index = np.where(index < (T + 1) * E * B, index + member, index)
    return torch.from_numpy(index.reshape(-1))


@dataclass(frozen=True)
class Window:
    """W rows of each of R = E B sequences of T positions."""

    T: int
    W: int
    place: Tensor
    """int64 [R or 1, W]: the positions."""
    rows: Tensor | None = None
    """int64 [R W]: the rows of [R T]; None: the last W positions of every sequence."""
    back: Tensor | None = None
    """int64 [R T]: where each of them is in [R W]; R W where it is not."""

    def select(self, x: Tensor) -> Tensor:
        """x [E, B T, d] -> [E, B W, d]."""
        E, _, d = x.shape
        if self.rows is None:
            return x.view(-1, self.T, d)[:, self.T - self.W :].reshape(E, -1, d)
        return x.view(-1, d).index_select(0, self.rows).view(E, -1, d)

    def add_(self, x: Tensor, part: Tensor) -> Tensor:
        """Add ``part`` [E, B W, d] to its rows of x [E, B T, d]."""
        d = x.shape[-1]
        if self.back is None:
            x.view(-1, self.T, d)[:, self.T - self.W :].add_(part.view(-1, self.W, d))
            return x
        # A gather and no scatter: short sequences have rows that stand for no position,
        # and sums keep one order on a GPU.
        rows = part.reshape(-1, d)
        padded = torch.cat((rows, rows.new_zeros(1, d)))
        return x.add_(padded.index_select(0, self.back).view_as(x))


def window(shape: Shape, targets: Tensor, E: int) -> tuple[Window | None, loss.Wanted]:
    """The window of targets [E or 1, B, T] (None: all positions are wanted),
    and the targets in it, [E, B W].
    """
    Et, B, T = targets.shape
    W = shape.window(T)
    targets = targets.to(torch.int64)
    if W == T:
        return None, loss.Wanted.of(targets.reshape(Et, B * T).expand(E, -1))
    at = torch.arange(T, device=targets.device)
    if shape.one_length:
        return Window(T, W, at[None, T - W :]), loss.Wanted.of(
            targets[..., T - W :].reshape(Et, -1).expand(E, -1)
        )
    last = ((targets >= 0) * at).amax(-1, keepdim=True)
    first = last - (W - 1)
    place = (first + at[:W]).clamp_min_(0)
    # A short sequence has fewer than W positions: those that were clamped are repetitions of the first.
    wanted = targets.gather(-1, place).masked_fill_(first + at[:W] < 0, -1)
    slot = at - first
    place, slot = (i.expand(E, -1, -1).reshape(E * B, -1) for i in (place, slot))
    sequence = torch.arange(E * B, device=targets.device).unsqueeze(1)
    back = (sequence * W + slot).masked_fill_((slot < 0) | (slot >= W), E * B * W)
    found = Window(T, W, place, (sequence * T + place).flatten(), back.flatten())
    return found, loss.Wanted.of(wanted.reshape(Et, -1).expand(E, -1))
