"""A batch as the recurrent models want it: time first, batch innermost, one-hot,
the supervised positions at the end.

Sequences come padded on the right. Where only their last positions are supervised (outcome, cot) they are
shifted so that all of them *end* at the last step; then the supervised positions are a fixed slice of the
time axis, for any mix of lengths and with static shapes, and the head is evaluated nowhere else. Steps
without a token have an all-zero one-hot column, which each model turns into "nothing happens". So padding
contributes nothing, exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runners.interrupt import check_interrupt
from runners.models.shape import Shape

if TYPE_CHECKING:
    from runners.models.grouping import Order

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
    """int64 [T, Et, B], see runners.models.grouping; None: a step is not grouped."""
    order: Order | None = None
    """See runners.models.grouping; None: the whole is not grouped."""

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
    if W == T:
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
    """out [T, E or Et, V, B] from tokens [T, Et, B]."""
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
