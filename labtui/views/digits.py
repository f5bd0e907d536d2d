"""Numbers in large digits of half blocks, three lines high: what is read from across the room."""

from __future__ import annotations

from labtui.views.lines import Line

_ROWS = {
    "0": ("█▀█", "█ █", "▀▀▀"),
    "1": ("▀█ ", " █ ", "▀▀▀"),
    "2": ("▀▀█", "█▀▀", "▀▀▀"),
    "3": ("▀▀█", " ▀█", "▀▀▀"),
    "4": ("█ █", "▀▀█", "  ▀"),
    "5": ("█▀▀", "▀▀█", "▀▀▀"),
    "6": ("█▀▀", "█▀█", "▀▀▀"),
    "7": ("▀▀█", "  █", "  ▀"),
    "8": ("█▀█", "█▀█", "▀▀▀"),
    "9": ("█▀█", "▀▀█", "▀▀▀"),
    ",": (" ", " ", "▌"),
}
HEIGHT = 3


def large(text: str, style: str) -> list[Line]:
    """``text`` of digits and commas in three lines; other signs are left out."""
    known = [_ROWS[c] for c in text if c in _ROWS]
    return [((" ".join(sign[y] for sign in known), style),) for y in range(HEIGHT)]
