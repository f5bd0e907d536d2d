"""A screen that is a windowed table: moving, marking, clicking."""

from __future__ import annotations

from typing import Generic, TypeVar

from labtui.tui.screens.screen_pane import ScreenPane
from labtui.tui.table import Window

Row = TypeVar("Row")


class TablePane(ScreenPane, Generic[Row]):
    """Hands on a :class:`Window`."""

    def __init__(self) -> None:
        super().__init__()
        self.window: Window[Row] = Window()
        self.table_top = 0
        """The line of the table's heading."""

    def moved(self) -> None:
        """The window or its cursor moved."""
        self.redraw()
        if self.window.missing():
            self.reload()

    def do_up(self) -> None:
        self.window.move(-1)
        self.moved()

    def do_down(self) -> None:
        self.window.move(1)
        self.moved()

    def do_page_down(self) -> None:
        self.window.page(1)
        self.moved()

    def do_page_up(self) -> None:
        self.window.page(-1)
        self.moved()

    def do_half_down(self) -> None:
        self.window.page(0.5)
        self.moved()

    def do_half_up(self) -> None:
        self.window.page(-0.5)
        self.moved()

    def do_home(self) -> None:
        self.window.go(0)
        self.moved()

    def do_end(self) -> None:
        self.window.go(-1)
        self.moved()

    def wheel(self, by: int) -> None:
        self.window.move(by)
        self.moved()

    def do_open(self) -> None:
        """What the cursor is on."""

    def has_rows(self) -> bool:
        """Whether there is anything to act on: an empty table offers nothing in its footer."""
        return bool(self.window.ids)

    can_open = has_rows

    def click(self, x: int, y: int) -> None:
        """A click chooses a row; a second one opens it."""
        index = self.window.top + y - self.table_top - 1
        if y > self.table_top and 0 <= index < len(self.window.ids):
            again = index == self.window.cursor
            self.window.go(index)
            self.moved()
            if again:
                self.do_open()
