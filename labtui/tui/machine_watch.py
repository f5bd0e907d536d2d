"""When the machine is looked at: while something runs and the Queue is in front, once as it gets there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labtui.views.gauges import Gauges

if TYPE_CHECKING:
    from labtui.tui.host import Host
    from runners.machine import Reading


class MachineWatch:
    """Keeps the gauges. An idle lab sends nothing, so its gauges are as old as the last visit."""

    def __init__(self, app: Host) -> None:
        self.app = app
        self.gauges = Gauges()

    def is_busy(self) -> bool:
        """Whether something runs: only then the machine is looked at again and again."""
        common = self.app.common
        return common is not None and common.counts.get("running", 0) > 0 and common.supervised

    def tick(self) -> None:
        """A second has gone by."""
        if self.app.front.key == "queue" and self.is_busy():
            self.look()

    def look(self) -> None:
        """Read the gauges in a thread; they are drawn when they are there."""
        self.app.in_thread(self._read, "gauges", exclusive=True)

    def _read(self) -> None:
        from runners.machine import look

        common = self.app.common
        row = common.supervisor if common is not None and common.supervised else None
        self.app.call_later(self._take, look(row.pid if row is not None else None))

    def _take(self, reading: Reading) -> None:
        self.gauges.add(reading)
        self.app.redraw_gauges()
