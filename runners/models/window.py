"""Which positions of a batch the loss is read at: all that a transformer's last block and head
need to work on.

The supervised positions of a sequence are one run, so they lie within its last W positions.
Keys and values are needed of all positions, everything after the last attention of these alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from runners.models import loss
from runners.models.shape import Shape


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
