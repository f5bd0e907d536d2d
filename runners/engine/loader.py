"""The batches of a fused batch of members, laid out for many steps at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from runners.engine.data import CACHE
from runners.engine.device import give_stream, is_gpu, new_event, take_stream
from runners.engine.types import Member
from runners.interrupt import check_interrupt
from runners.spec import Job
from runners.tasks import BatchOrder, BatchStream

BLOCK_BYTES = {"cpu": 4 << 20, "cuda": 256 << 20}
"""Bytes laid out ahead: on a CPU about what its caches hold, on a GPU a small part of its memory."""
LONGEST = 512


class Loader:
    """The next batches of every row. A row's batches are a function of its seed, N and step alone.

    Rows of the same seed and N that stand at the same step see the same batches, which are gathered once and
    copied. On a GPU the block after the current one is laid out on a stream of its own while the current one
    trains.

    Args:
        members: one per row.
        steps: the optimiser step at which each row stands.
        batch: B, the same for all rows.
    """

    def __init__(
        self, job: Job, members: Sequence[Member], steps: Sequence[int], batch: int, device: str
    ) -> None:
        self.device = torch.device(device)
        self.batch = batch
        keys = [(m.seed, m.n, s) for m, s in zip(members, steps, strict=True)]
        distinct = list(dict.fromkeys(keys))
        self._position = [step for _, _, step in distinct]
        self._streams = [
            BatchStream(CACHE.training(job, seed, n, device), BatchOrder(seed, n, batch, device))
            for seed, n, _ in distinct
        ]
        self._rows = torch.tensor([distinct.index(key) for key in keys], device=self.device)
        self._plain = len(distinct) == len(keys)
        width = job.longest_input
        per_step = len(keys) * batch * width * 2 * 8
        self._rest = job.training.steps - min(steps)
        self.capacity = max(
            1, min(LONGEST, self._rest, BLOCK_BYTES["cuda" if is_gpu(self.device) else "cpu"] // per_step)
        )
        """Steps of a block."""
        self._shape = (self.capacity, len(keys), batch, width)
        self.tokens = torch.empty(0, dtype=torch.int64, device=self.device)
        """[capacity, E, B, T]: input ids of the steps laid out; once allocated the same storage for ever."""
        self.targets = self.tokens
        self.cursor = 0
        """The next step to train on, as an index into the block."""
        self._count = 0
        self._side: _Side | None = None

    def allocate(self) -> None:
        """Take the memory of the blocks: not before what they replace is free."""
        self.tokens = torch.zeros(self._shape, dtype=torch.int64, device=self.device)
        self.targets = torch.zeros_like(self.tokens)
        if is_gpu(self.device):
            self._side = _Side(self.tokens, self.targets)

    def release(self) -> None:
        """Nothing is laid out any more, and nothing is under way."""
        if self._side is not None:
            self._side.release()

    @property
    def left(self) -> int:
        """Steps laid out and not yet taken."""
        return self._count - self.cursor

    def refill(self) -> None:
        """Lay out the next block in place of the one that is used up."""
        count = min(self.capacity, self._rest)
        if self._side is None:
            self._write(self.tokens, self.targets, count)
        else:
            if not self._side.ready:
                self._prefetch(count)
            self._side.take(self.tokens, self.targets, count)
        self._rest -= count
        self._count, self.cursor = count, 0

    def ahead(self) -> None:
        """Begin to lay out the next block if that can be done aside (GPU);
        call it once the current block is queued.
        """
        if self._side is not None and not self._side.ready and self._rest:
            self._prefetch(min(self.capacity, self._rest))

    def wait(self) -> None:
        """Wait until nothing is being laid out aside: its memory may be needed for something else."""
        if self._side is not None:
            self._side.wait()

    def _prefetch(self, count: int) -> None:
        assert self._side is not None
        with self._side.filling() as (tokens, targets):
            self._write(tokens, targets, count)

    def _write(self, tokens: Tensor, targets: Tensor, count: int) -> None:
        parts = []
        for i, stream in enumerate(self._streams):
            check_interrupt()
            parts.append(stream.block(self._position[i], count))
            self._position[i] += count
        for into, which in ((tokens[:count], 0), (targets[:count], 1)):
            blocks = torch.stack([part[which] for part in parts], 1)
            into.copy_(blocks if self._plain else blocks.index_select(1, self._rows))


class _Side:
    """A second block on a GPU, filled on its own stream."""

    def __init__(self, tokens: Tensor, targets: Tensor) -> None:
        self._stream = take_stream(tokens.device)
        self._tokens, self._targets = torch.zeros_like(tokens), torch.zeros_like(targets)
        self._filled, self._taken = new_event(), new_event()
        self._taken.record()
        self.ready = False

    def wait(self) -> None:
        self._stream.synchronize()

    def release(self) -> None:
        give_stream(self._tokens.device, self._stream)

    @contextmanager
    def filling(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The block, to be filled in this context."""
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(self._taken)
            yield self._tokens, self._targets
            self._filled.record()
        self.ready = True

    def take(self, tokens: Tensor, targets: Tensor, count: int) -> None:
        """Copy what was filled, in the current stream."""
        torch.cuda.current_stream().wait_event(self._filled)
        tokens[:count].copy_(self._tokens[:count])
        targets[:count].copy_(self._targets[:count])
        self._taken.record()
        self.ready = False
