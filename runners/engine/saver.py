"""When to write a checkpoint, and writing it while training goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, thread_time
from typing import Any

from torch import Tensor

from runners.engine import checkpoint
from runners.engine.types import Checkpointed, EngineEvent, Note

MIN_INTERVAL_S = 60.0
INTERVAL_OVER_COST = 100.0
"""A checkpoint may cost 1 % of the time: the interval after it is this many times what it blocked and what
writing it took of the processor."""


class _Write(threading.Thread):
    def __init__(
        self,
        folder: Path,
        state: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        step: int,
        blocked_s: float,
    ) -> None:
        super().__init__(name="checkpoint", daemon=False)
        self.step, self.blocked_s = step, blocked_s
        self.path: Path | None = None
        self.error: Exception | None = None
        self.cpu_s = 0.0
        self._content = (folder, state, tensors)

    def run(self) -> None:
        try:
            self.path = checkpoint.write(*self._content)
        except Exception as error:
            self.error = error
        self.cpu_s = thread_time()


class Saver:
    """Checkpoints of one run. Training stands still only while the state is copied to the host.

    Args:
        folder: None: nothing is ever written.
        clock: seconds; for tests.
    """

    def __init__(self, folder: Path | None, clock: Callable[[], float] = monotonic) -> None:
        self.folder = folder
        self._clock = clock
        self._next = clock() + MIN_INTERVAL_S
        self._write: _Write | None = None
        self.cost_s = 0.0
        """What the last one blocked, and took of the processor while it was written."""

    def due(self) -> bool:
        return self.folder is not None and self._write is None and self._clock() >= self._next

    def save(
        self, step: int, take: Callable[[], tuple[Mapping[str, Any], Mapping[str, Tensor]]]
    ) -> list[EngineEvent]:
        """Copy the state and start to write it; the events of a write that had not been told yet.

        Args:
            step: told with the event.
            take: copies the state to the host: JSON values and tensors that nobody else changes.
        """
        if self.folder is None:
            return []
        events = self.finish()
        begun = self._clock()
        state, tensors = take()
        blocked = self._clock() - begun
        self._write = _Write(self.folder, state, tensors, step, blocked)
        self._next = self._clock() + MIN_INTERVAL_S
        self._write.start()
        return events

    def poll(self) -> list[EngineEvent]:
        """The event of a write that is done, if there is one; does not wait."""
        return self.finish() if self._write is not None and not self._write.is_alive() else []

    def finish(self) -> list[EngineEvent]:
        """Wait for the write under way and tell how it went."""
        job, self._write = self._write, None
        if job is None:
            return []
        job.join()
        self.cost_s = job.blocked_s + job.cpu_s
        self._next = max(self._next, self._clock() + INTERVAL_OVER_COST * self.cost_s)
        if job.error is not None:
            return [Note(f"the checkpoint at step {job.step:,} could not be written: {job.error}", "warning")]
        return [Checkpointed(str(job.path), job.step, job.blocked_s)]
