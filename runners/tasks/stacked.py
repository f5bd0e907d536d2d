"""Batches of several members at once, a block of steps ahead, so that a training step pays one look-up for its data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from runners.spec import Job
from runners.tasks.ahead import BatchStream
from runners.tasks.data import DataSource
from runners.tasks.formats import IGNORE, Batch
from runners.tasks.order import BatchOrder

BLOCK_BYTES = {"cpu": 16 << 20, "cuda": 256 << 20}
LONGEST_BLOCK = 512
"""Steps of a block at most."""


class StackedTraining:
    """The training batches of E members (SCIENCE.md, batch order), each with its own seed and N.

    Args:
        job: gives task, format, lengths and batch size.
        members: (seed, n) of each, in the order of the member axis; equal ones share their data.
        device: where the data is made and stays.
        rows: B; None: the largest min(batch_size, n). Members with fewer rows are filled up with rows that nothing supervises.
    """

    def __init__(
        self,
        job: Job,
        members: Sequence[tuple[int, int]],
        device: str | torch.device = "cpu",
        *,
        rows: int | None = None,
    ) -> None:
        sources: dict[int, DataSource] = {}
        feeds: dict[tuple[int, int], BatchStream] = {}
        for seed, n in sorted(set(members), key=lambda m: -m[1]):  # the largest first: the smaller ones are part of it
            source = sources.setdefault(seed, DataSource(job, seed, device))
            feeds[seed, n] = BatchStream(source.training(n), BatchOrder(seed, n, job.training.batch_size, device))
        self._set_up(job, tuple(members), torch.device(device), rows, feeds)

    def _set_up(
        self,
        job: Job,
        members: tuple[tuple[int, int], ...],
        device: torch.device,
        rows: int | None,
        feeds: dict[tuple[int, int], BatchStream],
    ) -> None:
        if not members:
            raise ValueError("members is empty; expected at least one (seed, n)")
        self.members = members
        self._job, self._device, self._rows, self._feeds = job, device, rows, feeds
        widest = max(feeds[m].order.size for m in members)
        self.rows = rows if rows is not None else widest
        if self.rows < widest:
            raise ValueError(f"rows is {rows}; expected at least {widest}, the largest batch of the members")
        shape = (len(members), self.rows, job.longest_input)
        budget = BLOCK_BYTES.get(device.type, BLOCK_BYTES["cpu"])
        self.capacity = max(1, min(LONGEST_BLOCK, budget // (16 * shape[0] * shape[1] * shape[2])))
        """Steps that one block holds."""
        self._tokens = torch.zeros(self.capacity, *shape, dtype=torch.int64, device=device)
        self._targets = torch.full((self.capacity, *shape), IGNORE, dtype=torch.int64, device=device)
        self._base = torch.zeros((), dtype=torch.int64, device=device)
        self._begin = self._end = 0

    def select(self, keep: Sequence[int]) -> StackedTraining:
        """The members at these places only, with the same number of rows asked for; the data is shared."""
        out = StackedTraining.__new__(StackedTraining)
        members = tuple(self.members[i] for i in keep)
        out._set_up(self._job, members, self._device, self._rows, {m: self._feeds[m] for m in members})
        return out

    def prepare(self, step: int, count: int) -> None:
        """Make the batches ``step`` .. ``step + count - 1`` ready, in place of those that were.

        Raises:
            ValueError: count is not in 1..capacity.
        """
        if not 1 <= count <= self.capacity:
            raise ValueError(f"count is {count}; expected 1 to {self.capacity}, the steps of a block")
        for e, member in enumerate(self.members):
            feed = self._feeds[member]
            tokens, targets = feed.block(step, count)
            self._tokens[:count, e, : feed.order.size] = tokens
            self._targets[:count, e, : feed.order.size] = targets
        self._base.fill_(step)
        self._begin, self._end = step, step + count

    def batch(self, step: int | Tensor) -> tuple[Tensor, Tensor]:
        """(tokens, targets), int64 [E, B, T], of training step ``step`` (from 0); valid until the next block, read only.

        An int outside of the block that is ready makes the next one. A 0-d int64 tensor on the device is looked up without
        a host synchronisation; it must lie within what :meth:`prepare` made ready.
        """
        if isinstance(step, Tensor):
            place = (step - self._base).reshape(1)
            return self._tokens.index_select(0, place)[0], self._targets.index_select(0, place)[0]
        if not self._begin <= step < self._end:
            self.prepare(step, self.capacity)
        return self._tokens[step - self._begin], self._targets[step - self._begin]


def stacked_validation(job: Job, seeds: Sequence[int], device: str | torch.device = "cpu") -> Batch:
    """The validation sets of several seeds, [D, V, T] and [D, V] in the given order; row i has the same length in each."""
    sets = [DataSource(job, seed, device).validation() for seed in seeds]
    return Batch(*(torch.stack(parts) for parts in zip(*sets, strict=True)))
