"""The signals that ask a supervisor to end, heard from before it holds the lock."""

from __future__ import annotations

import signal
from typing import Any


class StopSignals:
    """How often SIGTERM or SIGINT came: once means end in good order, twice at once.

    They are heard before the lock is taken: whoever reads in the lock file which process to end
    must not meet one that still dies of the signal and leaves its lab as it stands.
    """

    def __init__(self) -> None:
        self.count = 0

    def listen(self) -> None:
        """Hear them from now on; a terminal that closes is none of a supervisor's business."""
        signal.signal(signal.SIGTERM, self._heard)
        signal.signal(signal.SIGINT, self._heard)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _heard(self, number: int, frame: Any) -> None:
        self.count += 1
