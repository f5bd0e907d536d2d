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
    chosen = list(columns)
    while len(chosen) > 1 and sum(c.width for c in chosen) + gap * (len(chosen) - 1) > width:
        worst = max(range(len(chosen)), key=lambda i: (chosen[i].rank, i))
        if chosen[worst].rank == 0:
            break
        del chosen[worst]
    spare = max(0, width - sum(c.width for c in chosen) - gap * (len(chosen) - 1))
    shares = sum(c.grow for c in chosen)
    return [(c, c.width + (spare * c.grow // shares if shares else 0)) for c in chosen]
