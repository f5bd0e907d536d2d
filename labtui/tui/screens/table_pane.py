"""A screen that is a windowed table: moving, marking, clicking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from labtui.tui.choice import Choice
from labtui.tui.screens.screen_pane import ScreenPane
from labtui.tui.table import Window
from labtui.views.lines import Line

Row = TypeVar("Row")


class TablePane(ScreenPane, Generic[Row]):
    """Hands on a :class:`Window`."""

    ORDERS: ClassVar[Mapping[str, str]] = {}
    """The orders of the table and what a list of them calls each; ``-`` in front: falling."""

    request: Any
    """What is read of the lab; a table with orders says there which one."""

    def __init__(self) -> None:
        super().__init__()
        self.window: Window[Row] = Window()
        self.table_top = 0
        """The line of the table's heading."""
        self.table_width = 0
        """Cells of the table: its scroll bar is the last of them."""

    def bare(self, lines: Sequence[Line]) -> bool:
        return not self.window.loaded

    def moved(self) -> None:
        """The window or its cursor moved: the footer says what holds for its row."""
        self.redraw()
        self.lab_app.refresh_frame()
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
        """Open what the cursor is on."""

    def has_rows(self) -> bool:
        """Whether there is anything to act on: an empty table offers nothing in its footer."""
        return bool(self.window.ids)

    can_open = has_rows

    def click(self, x: int, y: int) -> None:
        """A click chooses a row; a second one opens it."""
        index = self.window.top + y - self.table_top - 1
        height = self.window.height
        if len(self.window.ids) > height and x == self.table_width - 1 and 0 < y - self.table_top <= height:
            self.window.scroll_to((y - self.table_top - 1) / max(1, height - 1))
            self.moved()
        elif x >= self.table_width:
            return
        elif y > self.table_top and 0 <= index < len(self.window.ids):
            again = index == self.window.cursor
            self.window.go(index)
            self.moved()
            if again:
                self.do_open()

    # Order

    def order(self) -> str:
        """The order that holds."""
        return str(self.request.order)

    def set_order(self, order: str) -> None:
        """Show the rows in another order, from the top."""
        self.change(order=order)

    def change(self, **changes: Any) -> None:
        """Ask for other rows: another filter, order or study; the cursor stands on the first of them."""
        self.request = replace(self.request, **changes)
        self.window.go(0)
        self.redraw()
        self.reload()

    def do_sort(self) -> None:
        """Offer a list of orders, the present one marked."""
        now = self.order()
        choices = [
            Choice(f"{'✓' if order == now else ' '} {word}", partial(self.set_order, order))
            for order, word in self.ORDERS.items()
        ]
        orders = list(self.ORDERS)
        self.lab_app.choose("Order by", choices, at=orders.index(now) if now in orders else 0)

    def do_reverse(self) -> None:
        now = self.order()
        if now != "queue":
            self.set_order(now[1:] if now.startswith("-") else f"-{now}")

    def click_sort(self, field: str) -> None:
        """A click on a heading sorts by it; a second one turns the order round."""
        now = self.order()
        self.set_order(f"-{field}" if now == field else field)
