"""What stands on the terminal, cell by cell, and what of an update must be sent to change it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TypeAlias

from rich.cells import get_character_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

Cell: TypeAlias = tuple[str, Style | None]
Row: TypeAlias = list[Cell]
Run: TypeAlias = tuple[int, int, list[Segment]]
"""(x, y, segments) to be painted."""
JOIN = 6
"""Equal cells between two changes that are sent along: moving the cursor costs as much."""


def one_each(text: str) -> bool:
    """Whether every character is one cell wide."""
    return text.isascii() or all(get_character_cell_size(c) == 1 for c in text)


def cells(strip: Strip) -> Row | None:
    """One entry for each cell; None where a character is not one cell wide
    (terminals differ on where the next one stands).
    """
    out: Row = []
    for text, style, _ in strip:
        if not one_each(text):
            return None
        if " " in text:
            bare = blank(style)
            out += [(c, bare if c == " " else style) for c in text]
        else:
            out += [(c, style) for c in text]
    return out


@lru_cache(maxsize=4096)
def blank(style: Style | None) -> Style | None:
    """What is seen of a style where there is no letter: its ground, unless a line or reverse shows it."""
    if style is None or style.underline or style.reverse or style.strike or style.overline:
        return style
    return Style(bgcolor=style.bgcolor)


def changes(before: Row, after: Row) -> Iterator[tuple[int, int]]:
    """The (first, one past last) cells that differ between rows of one length; near ones are one."""
    start = end = -1
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        if old == new:
            continue
        if start >= 0 and i - end > JOIN:
            yield start, end
            start = i
        elif start < 0:
            start = i
        end = i + 1
    if start >= 0:
        yield start, end


def segments(row: Row) -> list[Segment]:
    """Cells as runs of one style."""
    out: list[Segment] = []
    i = 0
    while i < len(row):
        j, style = i + 1, row[i][1]
        while j < len(row) and row[j][1] == style:
            j += 1
        out.append(Segment("".join(c for c, _ in row[i:j]), style))
        i = j
    return out


class Terminal:
    """What stands on the terminal: a row of cells for each line, None where that is not known."""

    def __init__(self) -> None:
        self.rows: list[Row | None] = []
        self.width = 0

    def forget(self) -> None:
        """Something else wrote on the terminal, or it was resized: everything is to be sent again."""
        self.rows = []

    def resize(self, width: int, height: int) -> None:
        if (self.width, len(self.rows)) != (width, height):
            self.width, self.rows = width, [None] * height

    def stands(self, rows: Mapping[int, Row | None]) -> None:
        """These rows were sent."""
        for y, row in rows.items():
            if y < len(self.rows):
                self.rows[y] = row

    def compare(self, strips: Iterable[tuple[int, int, Strip]]) -> tuple[list[Run], dict[int, Row | None]]:
        """What of strips (x, y, strip) must be sent, and the rows that stand there once it is."""
        runs: list[Run] = []
        rows: dict[int, Row | None] = {}
        for x, y, strip in strips:
            if y < len(self.rows):
                new, rows[y] = self._compare(rows.get(y, self.rows[y]), x, y, strip)
                runs += new
        return runs, rows

    def _compare(self, old: Row | None, x: int, y: int, strip: Strip) -> tuple[list[Run], Row | None]:
        new = cells(strip)
        whole = x == 0 and strip.cell_length == self.width
        if new is None or old is None or x + len(new) > self.width:
            return [(x, y, list(strip))], new if whole else None
        row = old[:x] + new + old[x + len(new) :]
        return [(a, y, segments(row[a:b])) for a, b in changes(old, row)], row
