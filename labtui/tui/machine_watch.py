"""When the machine is looked at: while something runs and the Queue is in front,
and once when it comes to the front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import App
from textual.message import Message

from labtui.views.gauges import Gauges

if TYPE_CHECKING:
    from labtui.tui.dialogs import Overlay
    from labtui.tui.poller import Common
    from labtui.tui.screens.screen_pane import ScreenPane
    from runners.machine import Reading


class Measured(Message, bubble=False):
    """A reading of the machine."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.reading = reading


class Measuring(App[None], inherit_bindings=False):
    """Keeps the gauges. An idle bench sends nothing, so its gauges are as old as the last visit."""

    common: Common | None
    front: ScreenPane
    overlays: list[Overlay]

    def __init__(self) -> None:
        super().__init__()
        self.gauges = Gauges()

    def watch_gauges(self) -> None:
        """The Queue came to the front."""
        self._look()

    def is_busy(self) -> bool:
        """Whether something runs: only then the machine is looked at again and again."""
        row = self.common.supervisor if self.common is not None else None
        return (
            self.common is not None
            and self.common.counts.get("running", 0) > 0
            and row is not None
            and row.alive
        )

    def _measure(self) -> None:
        if self.front.key == "queue" and self.is_busy():
            self._look()

    def _look(self) -> None:
        self.run_worker(self._read_gauges, thread=True, group="gauges", exclusive=True, exit_on_error=False)

    def _read_gauges(self) -> None:
        from runners.machine import look

        row = self.common.supervisor if self.common is not None else None
        self.post_message(Measured(look(row.pid if row is not None and row.alive else None)))

    def on_measured(self, message: Measured) -> None:
        self.gauges.add(message.reading)
        if self.front.key == "queue":
            self.front.redraw()
        for overlay in self.overlays:
            overlay.place()
            overlay.redraw()
