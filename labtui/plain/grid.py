"""Text tables: columns padded to their widest cell, two spaces between, a rule below the heading."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

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
    """The lines of a table. Where it would be wider than the terminal its widest columns give way; a pipe gets it whole.

    Args:
        heads: column headings.
        rows: cells; they are cleaned, and cut after ``limit`` terminal cells.
        right: headings, separated by spaces, whose columns are aligned to the right.
        limit: the widest a column may be.
        room: cells in a line; None: those of the terminal, where there is one.
    """
    texts = [[clean("" if cell is None else str(cell)) for cell in row] for row in rows]
    widths = [min(limit, max([cell_len(h), *(cell_len(r[i]) for r in texts)])) for i, h in enumerate(heads)]
    flush = set(right.split())
    room = room if room is not None else terminal_width()
    words = [i for i, head in enumerate(heads) if head not in flush]  # a number that is cut would be another number
    while room is not None and words and sum(widths) + 2 * (len(widths) - 1) > room:
        widest = max(words, key=widths.__getitem__)
        if widths[widest] <= LEAST:
            break
        widths[widest] -= 1

    def line(cells: Sequence[str]) -> str:
        parts = [fit(c, w, ">" if h in flush else "<") for c, w, h in zip(cells, widths, heads, strict=True)]
        return "  ".join(parts).rstrip()

    return [line(heads), "  ".join("─" * w for w in widths), *(line(row) for row in texts)]


def terminal_width() -> int | None:
    """Cells in a line of the terminal that stdout is; None in a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def pairs(items: Sequence[tuple[str, object]]) -> list[str]:
    """Names and values in two columns; values that are empty are left out."""
    shown = [(name, clean(str(value))) for name, value in items if value not in (None, "", ())]
    width = max((len(name) for name, _ in shown), default=0)
    return [f"{name:<{width}}  {value}" for name, value in shown]


def when(at: float | None) -> str:
    """A time in this machine's zone, to the second; a dash where there is none."""
    from datetime import datetime

    if at is None:
        return "–"
    try:
        return datetime.fromtimestamp(at).isoformat(" ", "seconds")
    except (OverflowError, OSError, ValueError):
        return "–"
