"""The lab's past as Queue and Job tell times from it: read seldom, and the same for both."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import ref

if TYPE_CHECKING:
    from labtui.analysis.eta import QueueOutlook

KEPT_S = 2.0
"""Seconds for which what was read serves while no event is written: at 12,700 searches the list's order and
the outlook take 60 ms of every look, three times all else. What changes a search's state or place writes an
event.
"""


class Kept:
    """Whether what was read of a lab still serves; the poller's one thread alone asks."""

    def __init__(self) -> None:
        self._lab: Any = None
        self._event = 0
        self._at = 0.0

    def serves(self, lab: Any) -> bool:
        """Say so; where it does not, what is read now will."""
        now, event = monotonic(), lab.last_event_id()
        known = self._lab is not None and self._lab() is lab and self._event == event
        if known and now - self._at < KEPT_S:
            return True
        self._lab, self._event, self._at = ref(lab), event, now
        return False


class Past:
    """The outlook that was read last."""

    def __init__(self) -> None:
        self._kept = Kept()
        self._outlook: QueueOutlook | None = None

    def outlook(self, lab: Any) -> QueueOutlook:
        """Read it, where what was read serves no more."""
        if not self._kept.serves(lab) or self._outlook is None:
            from labtui.analysis.eta import read_outlook  # the first paint need not wait for it

            self._outlook = read_outlook(lab)
        return self._outlook


PAST = Past()
