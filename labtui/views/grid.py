"""Text tables: columns padded to their widest cell, two spaces between, a rule below the heading."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Literal

from rich.cells import cell_len

from labtui.text import clean, fit

LEAST = 8
"""No column is made narrower than this for a narrow terminal."""


def grid(
    heads: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: str = "",
    limit: int = 48,
    room: int | None = None,
) -> list[str]:
    """The lines of a table.

    Where it would be wider than the terminal its widest columns give way; a pipe gets it whole.

    Args:
        heads: column headings.
        rows: cells; they are cleaned, and cut after ``limit`` terminal cells.
        right: headings, separated by spaces, whose columns are aligned to the right.
        limit: the widest a column may be.
        room: cells in a line; None: those of the terminal, where there is one.
    """
    columns = [
        [clean("" if cell is None else str(cell)) for cell in column] for column in zip(*rows, strict=True)
    ] or [[] for _ in heads]
    widths = [
        min(limit, max(cell_len(head), _widest(column))) for head, column in zip(heads, columns, strict=True)
    ]
    flush = set(right.split())
    room = room if room is not None else terminal_width()
    words = [
        i for i, head in enumerate(heads) if head not in flush
    ]  # a number that is cut would be another number
    while room is not None and words and sum(widths) + 2 * (len(widths) - 1) > room:
        widest = max(words, key=widths.__getitem__)
        if widths[widest] <= LEAST:
            break
        widths[widest] -= 1
    padded = [
        _pad([head, *column], w, ">" if head in flush else "<")
        for head, column, w in zip(heads, columns, widths, strict=True)
    ]
    head, *lines = ("  ".join(cells).rstrip() for cells in zip(*padded, strict=True))
    return [head, "  ".join("─" * w for w in widths), *lines]


def _widest(column: Sequence[str]) -> int:
    """Terminal cells of the widest text; a column of letters, as nearly all are, takes a short way."""
    return max(map(len if all(map(str.isascii, column)) else cell_len, column), default=0)


def _pad(column: Sequence[str], width: int, align: Literal["<", ">"]) -> list[str]:
    if all(map(str.isascii, column)) and max(map(len, column)) <= width:
        return (
            [text.rjust(width) for text in column] if align == ">" else [text.ljust(width) for text in column]
        )
    return [fit(text, width, align) for text in column]


def terminal_width() -> int | None:
    """Cells in a line of the terminal that stdout is; None in a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def shown(items: Sequence[tuple[str, object]]) -> list[tuple[str, str]]:
    """Names and values as text; values that are empty are left out."""
    return [(name, clean(str(value))) for name, value in items if value not in (None, "", ())]


def pairs(items: Sequence[tuple[str, object]]) -> list[str]:
    """Names and values in two columns."""
    told = shown(items)
    width = max((len(name) for name, _ in told), default=0)
    return [f"{name:<{width}}  {value}" for name, value in told]
