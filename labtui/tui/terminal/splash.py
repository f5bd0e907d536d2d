"""A word on the screen before anything heavy is imported:
standard library alone, under 50 ms after the key.
"""

from __future__ import annotations

import os
import sys
from pathlib import PurePath


def splash_text(lab: str, columns: int, rows: int, note: str = "") -> str:
    """The escape sequences: the other screen, cleared, no cursor, a few quiet lines in the middle."""
    name = "".join(c if c.isprintable() else "?" for c in PurePath(lab).name)[: max(0, columns - 2)]
    lines = (("labtui", "1"), (name, "2"), (note, "2"))
    out = ["\x1b[?1049h\x1b[?25l\x1b[2J"]
    for i, (text, style) in enumerate(lines):
        row, column = max(1, rows // 2 + i), max(1, (columns - len(text)) // 2 + 1)
        out.append(f"\x1b[{row};{column}H\x1b[{style}m{text}\x1b[0m")
    return "".join(out)


def show(lab: str | os.PathLike[str], note: str = "") -> None:
    """Draw it where stdout is a terminal. The app takes the screen over and gives it back at its end."""
    stream = sys.__stdout__
    try:
        if stream is None or not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
            return
        size = os.get_terminal_size(stream.fileno())
        stream.write(splash_text(str(lab), size.columns, size.lines, note))
        stream.flush()
    except (OSError, ValueError):
        return


def clear() -> None:
    """Leave the other screen again, where the app did not come up."""
    stream = sys.__stdout__
    try:
        if stream is not None and stream.isatty():
            stream.write("\x1b[?1049l\x1b[?25h")
            stream.flush()
    except (OSError, ValueError):
        return
