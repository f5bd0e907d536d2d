"""A table of any length: an array of ids, pages of 128 rows, and a window on them.

The state is plain data and the drawing a function, so that both are tested without a terminal.
Column widths are decided once per width of the screen, never by the data, so nothing jumps.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from labtui.text import Align
from labtui.views.lines import Line, Span, based, cell, crop
from labtui.views.table import Column, layout

__all__ = ["PAGE", "Column", "Window", "heading", "layout", "table_lines"]

PAGE = 128
Row = TypeVar("Row")


@dataclass
class Window(Generic[Row]):
    """Which rows there are, which are loaded, and where the cursor stands."""

    ids: array[int] = field(default_factory=lambda: array("q"))
    rows: dict[int, Row] = field(default_factory=dict)
    """Loaded rows by id: those of the pages around the window."""
    cursor: int = 0
    top: int = 0
    height: int = 1
    marked: set[int] = field(default_factory=set)
    held: bool = False
    """The person has chosen the row under the cursor: it is followed.

    Until then the cursor stays at the top.
    """
    loaded: bool = False
    """Whether any ids have arrived: before that, an empty table says nothing."""

    @property
    def id(self) -> int | None:
        """The id under the cursor."""
        return self.ids[self.cursor] if 0 <= self.cursor < len(self.ids) else None

    @property
    def row(self) -> Row | None:
        """The loaded row under the cursor."""
        return None if self.id is None else self.rows.get(self.id)

    def selection(self) -> list[int]:
        """The marked ids in the table's order, or the one under the cursor."""
        if self.marked:
            return [i for i in self.ids if i in self.marked]
        return [] if self.id is None else [self.id]

    def replace(self, ids: array[int]) -> None:
        """Take new ids; the cursor stays at the top, or on its row, or at its place where the row is gone."""
        keep = self.id if self.held else None
        moved = ids != self.ids
        self.ids = ids
        self.loaded = True
        if moved and keep is not None:
            try:
                self.cursor = ids.index(keep)
            except ValueError:
                self.cursor = min(self.cursor, max(0, len(ids) - 1))
        if moved and self.marked:
            self.marked &= set(ids)
        self.clamp()

    def feed(self, rows: Iterable[tuple[int, Row]]) -> None:
        """Take rows that were read; all others than these pages are forgotten."""
        self.rows = dict(rows)

    def clamp(self) -> None:
        last = max(0, len(self.ids) - 1)
        self.cursor = min(max(0, self.cursor), last)
        if self.cursor < self.top:
            self.top = self.cursor
        if self.cursor >= self.top + self.height:
            self.top = self.cursor - self.height + 1
        self.top = min(max(0, self.top), max(0, len(self.ids) - self.height))

    def move(self, by: int) -> None:
        self.held = True
        self.cursor += by
        self.clamp()

    def page(self, by: float) -> None:
        """Move by whole pages (1, -1) or halves (0.5, -0.5): window and cursor move together."""
        step = int(max(1, self.height - 1) * by) or (1 if by > 0 else -1)
        self.held = True
        self.top = min(max(0, self.top + step), max(0, len(self.ids) - self.height))
        self.cursor += step
        self.clamp()

    def go(self, index: int) -> None:
        self.held = index != 0
        self.cursor = index if index >= 0 else len(self.ids) + index
        self.clamp()

    def scroll_to(self, share: float) -> None:
        """Put the window and its cursor at a share of the whole, 0 to 1: a click on the scroll bar."""
        self.top = round(share * max(0, len(self.ids) - self.height))
        self.cursor = min(max(self.cursor, self.top), self.top + self.height - 1)
        self.held = True
        self.clamp()

    def toggle_mark(self) -> None:
        if self.id is not None:
            self.marked ^= {self.id}

    def wanted(self) -> tuple[int, ...]:
        """The ids of the pages that the window touches, and of the pages beside them."""
        first = max(0, self.top // PAGE - 1) * PAGE
        last = (self.top + max(1, self.height) - 1) // PAGE * PAGE + 2 * PAGE
        return tuple(self.ids[first:last])

    def missing(self) -> bool:
        """Whether a row of the window is not loaded."""
        return any(i not in self.rows for i in self.ids[self.top : self.top + self.height])


def heading(columns: Sequence[tuple[Column, int]], width: int, sort: str = "", gap: int = 2) -> Line:
    """The table's heading line; ``sort`` names the sorted field, with a leading ``-`` for falling."""
    spans: list[Span] = [(" ", "head")]
    for i, (column, room) in enumerate(columns):
        if i:
            spans.append((" " * gap, "head"))
        title = column.title
        hot = bool(column.sort) and column.sort == sort.lstrip("-")
        if hot:
            title += "▾" if sort.startswith("-") else "▴"
        link = f" @sort:{column.sort}" if column.sort else ""
        spans.append(cell(title, room, ("head accent" if hot else "head") + link, column.align))
    return crop(tuple(spans), width, "head")


Cells = Callable[[Row, dict[str, int]], dict[str, Line]]
"""Draws a row: the columns' widths by key in, a line for each key out."""


def table_lines(
    window: Window[Row],
    columns: Sequence[tuple[Column, int]],
    width: int,
    height: int,
    cells: Cells[Row],
    *,
    sort: str = "",
    gap: int = 2,
    focus: bool = True,
) -> list[Line]:
    """Heading and the window's rows, ``height`` lines in all, with a thin scroll bar where there is more."""
    window.height = max(1, height - 1)
    window.clamp()
    scroll = len(window.ids) > window.height
    inner = width - (1 if scroll else 0)
    lines = [heading(columns, width, sort, gap)]
    room = {column.key: w for column, w in columns}
    thumb = _thumb(window) if scroll else range(0)
    for y in range(window.height):
        index = window.top + y
        if index >= len(window.ids):
            break
        row_id = window.ids[index]
        row = window.rows.get(row_id)
        marked = row_id in window.marked
        here = index == window.cursor
        spans: list[Span] = [
            ("•" if marked else "▸" if here and focus else " ", "mark" if marked else "accent")
        ]
        if row is None:
            spans.append((" ·", "faint"))
        else:
            drawn = cells(row, room)
            for i, (column, w) in enumerate(columns):
                if i:
                    spans.append((" " * gap, ""))
                spans.extend(_aligned(drawn.get(column.key, ()), w, column.align))
        line = crop(tuple(spans), inner)
        if here and focus:
            line = based(line, "cursor")
        if scroll:
            line = (*line, ("▐" if y in thumb else "│", "dim" if y in thumb else "faint"))
        lines.append(line)
    return lines


def _aligned(line: Line, width: int, align: Align) -> Line:
    if len(line) == 1:
        return (cell(line[0][0], width, line[0][1], align),)
    if align == ">":
        from labtui.views.lines import size

        return ((" " * max(0, width - size(line)), ""), *crop(line, min(width, size(line))))
    return crop(line, width)


def _thumb(window: Window[Row]) -> range:
    n, h = len(window.ids), window.height
    length = max(1, h * h // n)
    start = round(window.top / max(1, n - h) * (h - length))
    return range(start, start + length)
