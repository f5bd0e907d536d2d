"""Sequences of a step, or of all steps, side by side that read the same token,
so that each transition meets its own alone.

Each group has a fixed number of places, so that the shapes of the products, and with them the order of their
sums, do not depend on the data. A member of whose groups one overflows takes another way; whether it does is
a matter of its own batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from runners.models.frame import Frame
from runners.models.workspace import Buffers

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
