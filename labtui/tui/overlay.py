"""What lies over a screen for a moment and has the keyboard.

Not Textual's modal screens: those repaint everything behind them, which is 20 kB over a slow link.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.geometry import Offset, Size

from labtui.tui.pane import Pane
from labtui.views.lines import Line, based, crop, rule


class Overlay(Pane, can_focus=True):
    """A box over the screen that has the keyboard."""

    DEFAULT_CSS = "Overlay { layer: over; }"
    at_foot = False

    def wants(self, width: int, height: int) -> tuple[int, int]:
        """The size that it wants in a terminal of this size."""
        return width, 2

    def place(self, size: Size | None = None) -> None:
        """Take its room in a terminal of this size; None: of the one that it has."""
        width, height = size or self.app.size
        w, h = self.wants(width, height)
        w, h = min(w, width), min(h, height)
        self.styles.width, self.styles.height = w, h
        y = height - h if self.at_foot else max(0, (height - h) // 3)
        self.styles.offset = Offset(max(0, (width - w) // 2), y)

    def on_mount(self) -> None:
        self.place()
        self.redraw()

    def close(self) -> None:
        self.lab_app.pop(self)

    def take(self, event: events.Key) -> bool:
        """Every key is its own while it is on top."""
        if event.key in ("escape", "ctrl+c"):
            self.close()
        else:
            self.key(event)
            self.redraw()
        return True

    def key(self, event: events.Key) -> None:
        """Take a key other than Esc."""

    def follow(self, link: str) -> None:
        """Take a click on a key or a row that is drawn here; one on anything else does nothing."""
        name, _, value = link.partition(":")
        own = getattr(self, f"click_{name}", None)
        if own is not None:
            own(value)

    def framed(
        self, title: str, body: Sequence[Line], width: int, height: int, note: str = "", ground: str = "panel"
    ) -> list[Line]:
        """``body`` on a panel with a heading."""
        lines: list[Line] = [(), ((" ", ""), *rule(title, width - 2, note, hot=True))]
        lines += [((" ", ""), *line) for line in body]
        lines = lines[:height] + [()] * (height - len(lines))
        return [based(crop(line, width), ground) for line in lines]
