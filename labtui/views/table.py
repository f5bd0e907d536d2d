"""The columns of a table and how they share the width of a screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labtui.text import Align


@dataclass(frozen=True)
class Column:
    """One column: its heading and how much room it takes."""

    key: str
    title: str
    width: int
    align: Align = "<"
    grow: int = 0
    """Share of the room that is left over."""
    rank: int = 0
    """Where columns do not fit, the highest rank goes first; 0 stays."""
    sort: str = ""
    """The field that the column sorts by; empty: it does not."""


def layout(columns: Sequence[Column], width: int, gap: int = 2) -> list[tuple[Column, int]]:
    """The columns that fit into ``width`` cells, each with its own width."""
    taken = {i for i, c in enumerate(columns) if c.rank == 0}
    room = width - sum(columns[i].width + gap for i in taken) + gap
    for i in sorted(set(range(len(columns))) - taken, key=lambda i: (columns[i].rank, i)):
        if columns[i].width + gap <= room:  # what comes after a wide one that has no room may have it
            taken.add(i)
            room -= columns[i].width + gap
    chosen = [c for i, c in enumerate(columns) if i in taken]
    spare = max(0, room)
    shares = sum(c.grow for c in chosen)
    return [(c, c.width + (spare * c.grow // shares if shares else 0)) for c in chosen]
