"""A reader that holds an old state of the lab keeps the WAL from being used again:
that is told, the reader never stopped.
"""

from __future__ import annotations

import contextlib

from runners.pool.state import SupervisorState
from store import files

MANY_BYTES = 64 << 20
"""A WAL of this size is worth a word; the next one comes when it has doubled."""


class WalWatch:
    """Asked now and then."""

    def __init__(self, state: SupervisorState) -> None:
        self.state = state
        self._next = MANY_BYTES

    def look(self) -> None:
        """Tell of a WAL that grows, and who reads."""
        size = 0
        with contextlib.suppress(OSError):
            size = self.state.paths.wal.stat().st_size
        if size < MANY_BYTES:
            self._next = MANY_BYTES
        if size < self._next:
            return
        self._next = 2 * size
        pid = files.oldest_reader(self.state.paths.shm)
        who = f"process {pid}" if pid is not None else "a process that cannot be named"
        text = (
            f"{self.state.paths.wal} has grown to {size / 2**20:.0f} MiB: "
            f"{who} has been reading an old state of the lab"
        )
        self.state.remark(
            "supervisor", f"{text}; nothing stops, and it shrinks when that reader ends", "warning"
        )
