"""Batches of one (seed, N) made for many steps at once:
what they cost is the number of calls, not the numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from runners.tasks.data import TrainingSet
from runners.tasks.order import BatchOrder

AHEAD_BYTES = 8 << 20
LONGEST = 512
"""Steps made at once at most."""


class BatchStream:
    """The batches of a training set in their order, any step at any time; a window of steps is kept ready.

    A short block costs as many calls as a long one (thousands, where the sequences are computed from their
    places), so more steps are made than are asked for, and kept in the smallest integer type.
    """

    def __init__(self, data: TrainingSet, order: BatchOrder) -> None:
        if data.n != order.n:
            raise ValueError(
                f"the order is one of {order.n} sequences; expected {data.n}, those of the training set"
            )
        self.data = data
        self.order = order
        formatter = data.source.formatter
        self._dtype = formatter.vocabulary.dtype
        step_bytes = 2 * order.size * formatter.positions * self._dtype.itemsize
        self._ahead = max(1, min(LONGEST, AHEAD_BYTES // step_bytes))
        self._begin = self._end = 0
        self._tokens = self._targets = torch.empty(0)

    def block(self, step: int, count: int) -> tuple[Tensor, Tensor]:
        """(tokens, targets) of the steps ``step`` .. ``step + count - 1``,
        [count, B, T] of the smallest integer type.

        They share memory with the window: not to be written to.
        """
        if not (self._begin <= step and step + count <= self._end):
            ahead = max(count, self._ahead)
            self._tokens, self._targets = self.data.formatted(self.order.block(step, ahead), self._dtype)
            self._begin, self._end = step, step + ahead
        at = step - self._begin
        return self._tokens[at : at + count], self._targets[at : at + count]
