"""Texts that come from specs, names, logs and the database are data:
made harmless here before they reach a terminal.

Shared by the screens and the command line. Nothing here interprets markup:
what is drawn is drawn letter by letter.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

from rich.cells import cell_len, set_cell_size

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
ELLIPSIS = "…"
Align = Literal["<", ">", "^"]
_MAX_MARKS = 2
"""Combining marks kept on one letter; more of them would paint over the lines above."""


@lru_cache(maxsize=8192)
def clean(text: str, *, limit: int = 2_000) -> str:
    """``text`` on one line, without anything that a terminal would obey.

    Line ends and tabs become spaces; escape and other control characters, direction overrides, zero-width and
    private characters become U+FFFD; variation selectors and piled-up combining marks are dropped; cut after
    ``limit`` characters.
    """
    if len(text) > limit:
        text = text[:limit] + ELLIPSIS
    if text.isascii() and text.isprintable():
        return text
    out: list[str] = []
    marks = 0
    for char in text:
        if char in "\n\r\t\v\f\x85\u2028\u2029":
            out.append(" ")
        elif not char.isprintable():
            out.append(" " if unicodedata.category(char) == "Zs" else REPLACEMENT)
        elif unicodedata.category(char) in ("Mn", "Me"):
            marks += 1
            if marks <= _MAX_MARKS and not "\ufe00" <= char <= "\ufe0f":
                out.append(char)
            continue
        else:
            out.append(char)
        marks = 0
    return "".join(out)


def clean_lines(text: str, *, limit: int = 2_000) -> list[str]:
    """``text`` line by line, each made harmless by :func:`clean`;
    a carriage return starts its line anew (progress bars).
    """
    return [
        clean(line.rsplit("\r", 1)[-1].expandtabs(4), limit=limit)
        for line in text.replace("\r\n", "\n").split("\n")
    ]


def enough(text: str, width: int) -> str:
    """As much of a clean text as can fill more than ``width`` cells:
    measuring the whole of a long name takes milliseconds.
    """
    return text[: (_MAX_MARKS + 1) * (width + 2)]


def fit(text: str, width: int, align: Align = "<") -> str:
    """``text`` in exactly ``width`` terminal cells: padded on the side that ``align`` says,
    or cut with an ellipsis.
    """
    if width <= 0:
        return ""
    text = enough(text, width)
    size = len(text) if text.isascii() else cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + ELLIPSIS if width > 1 else set_cell_size(text, width)
    if size == width:
        return text
    room = width - size
    if align == ">":
        return " " * room + text
    if align == "^":
        return " " * (room // 2) + text + " " * (room - room // 2)
    return text + " " * room


def wrap(text: str, width: int) -> list[str]:
    """``text`` (already clean) in lines of at most ``width`` cells, broken at spaces where there are any."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        while cell_len(word) > width > 0:
            if line:
                lines.append(line)
                line = ""
            lines.append(set_cell_size(word, width))
            word = word[len(lines[-1].rstrip()) or 1 :]
        joined = f"{line} {word}" if line else word
        if cell_len(joined) > width:
            lines.append(line)
            line = word
        else:
            line = joined
    if line or not lines:
        lines.append(line)
    return lines


_ASCII = str.maketrans(
    {
        "─": "-", "━": "=", "│": "|", "┃": "|", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+",
        "┬": "+", "┴": "+", "┼": "+", "╴": "-", "╶": "-", "╌": "-", "┄": "-", "┈": ".", "┊": ":", "┆": ":",
        "╎": ":", "═": "=", "▏": "|", "▕": "|", "█": "#", "▓": "#", "▒": "+", "░": ".", "▌": "#", "▐": "#",
        "▀": "#", "▄": "#", "■": "#", "□": "U", "▪": "#", "▁": ".", "▂": ".", "▃": ":", "▅": "+", "▆": "*",
        "▇": "#", "▉": "#", "▊": "#", "▋": "#", "▍": "|", "▎": "|", "●": "*", "○": "o", "◌": ".", "◐": "%",
        "◭": "A", "◮": "V", "◧": "H", "◨": "I", "◑": "&",
        "◆": "D", "◇": "d", "▲": "T", "△": "t", "▶": ">", "▸": "*", "▹": ">", "◂": "<", "▾": "v", "▴": "^",
        "►": ">", "◄": "<", "▼": "v", "★": "Y", "⬟": "P", "✚": "+", "✦": "*", "✓": "+", "✔": "+", "✗": "x",
        "✘": "x", "⊘": "-", "‖": "=", "∥": "=", "⏸": "=", "⚠": "!", "×": "x", "·": ".", "•": "#", "…": "~",
        "–": "-", "—": "-", "−": "-", "‹": "<", "›": ">", "«": "<", "»": ">", "→": ">", "←": "<", "↑": "^",
        "↓": "v", "↗": "/", "↘": "\\", "⇡": "^", "⇣": "v", "≤": "~", "≥": "~", "≈": "~", "∈": "e", "∞": "i",
        "κ": "k", "ε": "e", "╸": "-", "╍": "=", "╹": "'", "╻": ".", "≠": "!", "Σ": "S", "✎": "*", "◉": "@",
        "°": "'", "±": "~", "²": "2", "∗": "*", "⟩": ">", "⟨": "<", "‘": "'", "’": "'", "“": '"', "”": '"',
        "\xa0": " ", "↵": "/", "∘": "o", "╏": "|",
    }
)  # fmt: skip
_DOTS = " ..::*####"
_BLOCKS = " ··••••■■■"
_BRAILLE_ASCII = {code: _DOTS[(code - 0x2800).bit_count()] for code in range(0x2800, 0x2900)}
_BRAILLE_BLOCKS = {code: _BLOCKS[(code - 0x2800).bit_count()] for code in range(0x2800, 0x2900)}


_PAIRS = (
    (re.compile("≤ "), "<="),
    (re.compile("≥ "), ">="),
    (re.compile("(?<!←)← "), "<-"),
    (re.compile(" ←(?!←)"), "<-"),
    (re.compile("(?<= ) →(?!→)"), "->"),
    (re.compile("(?<!→)→ "), "->"),
    (re.compile(" →(?!→)"), "->"),
)
"""Signs that need two cells in ASCII, with the space beside them: no bound and no arrow must turn into
a strict bound. Several arrows do without: ``>>`` is read as far above.
"""
_SPELLED = str.maketrans(
    {"≤": "<=", "≥": ">=", "–": "-", "×": "x", "κ": "kappa", "≈": "~", "…": "...", "∞": "inf", "→": "->"}
)


def spelled(text: str) -> str:
    """``text`` with our signs spelled out in ASCII, however many letters they take:
    for JSON and for texts in no column.
    """
    return text.translate(_SPELLED)


@lru_cache(maxsize=4096)
def to_ascii(text: str) -> str:
    """``text`` in ASCII, cell for cell: our own signs by their look-alikes,
    anything else by question marks.
    """
    if text.isascii():
        return text
    for sign, pair in _PAIRS:
        text = sign.sub(pair, text)
    text = text.translate(_ASCII).translate(_BRAILLE_ASCII)
    if text.isascii():
        return text
    return "".join(c if c.isascii() else "?" * cell_len(c) for c in text)


@lru_cache(maxsize=4096)
def to_blocks(text: str) -> str:
    """``text`` without braille, for fonts that have none."""
    return text if text.isascii() else text.translate(_BRAILLE_BLOCKS)
