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
_UPPER = str.maketrans("█▀▄▌", "## #")
_LOWER = str.maketrans("█▀▄▌", "# ##")


def large(text: str, style: str, ascii_only: bool = False) -> list[Line]:
    """``text`` of digits and commas in three lines, or in five or six of ``#`` where a terminal has
    no blocks; other signs are left out.
    """
    known = [_ROWS[c] for c in text if c in _ROWS]
    lines = [" ".join(sign[y] for sign in known) for y in range(HEIGHT)]
    if ascii_only:
        halves = [half for line in lines for half in (line.translate(_UPPER), line.translate(_LOWER))]
        lines = halves[: 2 * HEIGHT - ("," not in text)]
    return [((line, style),) for line in lines]
