"""Text tables: columns padded to their widest cell, two spaces between, a rule below the heading."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from labtui.text import clean, fit


def grid(heads: Sequence[str], rows: Sequence[Sequence[object]], *, right: str = "", limit: int = 48) -> list[str]:
    """The lines of a table.

    Args:
        heads: column headings.
        rows: cells; they are cleaned, and cut after ``limit`` terminal cells.
        right: headings, separated by spaces, whose columns are aligned to the right.
        limit: the widest a column may be.
    """
    texts = [[clean("" if cell is None else str(cell)) for cell in row] for row in rows]
    widths = [min(limit, max([cell_len(h), *(cell_len(r[i]) for r in texts)])) for i, h in enumerate(heads)]
    flush = set(right.split())

    def line(cells: Sequence[str]) -> str:
        parts = [fit(c, w, ">" if h in flush else "<") for c, w, h in zip(cells, widths, heads, strict=True)]
        return "  ".join(parts).rstrip()

    return [line(heads), "  ".join("─" * w for w in widths), *(line(row) for row in texts)]


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
