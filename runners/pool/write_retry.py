"""Nothing can be written now: what came in stays in memory, training stands still where it must,
and all is tried again.
"""

from __future__ import annotations

from collections.abc import Callable

from runners.pool import protocol as m
from runners.pool.state import SupervisorState, log
from store.errors import LabError, Moved, NoRoom, Overwritten

BUSY_S = 0.1
NO_ROOM_S = 1.0
QUIET_S = 2.0
"""A file that is merely locked is not talked about before that."""


class WriteRetry:
    """The time from a transaction that was refused to the next one that is not.

    Args:
        tell: leaves a word for everybody where no room is needed for it.
    """

    def __init__(self, state: SupervisorState, tell: Callable[[str], None]) -> None:
        self.state, self._tell = state, tell
        self.why = ""
        """Empty while all is well."""
        self._since = 0.0
        self._retry_at = 0.0

    @property
    def resting(self) -> bool:
        """It is too early to try again."""
        return self.state.clock() < self._retry_at

    def rest(self, seconds: float) -> None:
        """Try again no sooner than that."""
        self._retry_at = self.state.clock() + seconds

    def begin(self, error: LabError) -> None:
        """A turn was refused.

        Raises:
            Moved: the file has not come back to its place for ``missing_s``, or was overwritten.
        """
        now = self.state.clock()
        if not self.why:
            self._since = now
            log.warning("%s; results are kept in memory and written as soon as possible", error)
        self.why = str(error)
        gone = now - self._since
        self.rest(NO_ROOM_S if isinstance(error, NoRoom) else BUSY_S)
        limit = 0.0 if isinstance(error, Overwritten) else self.state.options.missing_s
        if isinstance(error, Moved) and gone >= limit:
            raise error
        if isinstance(error, NoRoom | Moved):
            self._hold(True)
        if isinstance(error, NoRoom | Moved) or gone > QUIET_S:
            self._tell(f"waiting: {error}")

    def end(self) -> None:
        """A turn went through."""
        if not self.why:
            return
        gone = self.state.clock() - self._since
        lab = self.state.paths.lab
        why = self.why.replace(str(lab), lab.name)  # who gets the lab need not know where it lay
        text = f"could not write for {gone:.1f} s ({why}); goes on, nothing is lost"
        self.state.remark("supervisor", text, "warning")
        self.why = ""
        self._tell("")
        self._hold(False)

    def _hold(self, on: bool) -> None:
        for slot in self.state.slots:
            if slot.worker is not None and slot.worker.holding != on:
                slot.worker.holding = on
                slot.worker.send(m.Hold(on))
