"""Styled cells as the escape sequences that paint them, each change of style in the fewest bytes.

Rich ends every run of text with a reset and names both colours again at the next: 40 bytes where 20 do.
Here a colour is named when it changes, and a blank cell takes whatever ink there is, as nobody sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style

from labtui.tui.terminal.cell_diff import one_each


class Ink(NamedTuple):
    """The parameters of SGR (ECMA-48) that make a style; an empty colour is the terminal's own."""

    attributes: str = ""
    foreground: str = ""
    background: str = ""


PLAIN = Ink()
_SEEN_ON_BLANKS = {"4", "7", "9", "21", "53"}
"""Underlines, reverse, strike, overline: what shows where there is no letter."""
_OFF = {"1": "22", "2": "22", "3": "23", "4": "24", "7": "27", "9": "29", "21": "24"}
"""An attribute -> what takes it away alone."""


@lru_cache(maxsize=4096)
def ink(style: Style | None, system: ColorSystem) -> Ink:
    """What a style asks of a terminal with so many colours."""
    if style is None:
        return PLAIN
    bare = style.without_color.render("x", color_system=system)
    attributes = bare[2 : bare.index("m")] if bare.startswith("\x1b[") else ""
    colours = []
    for colour, foreground in ((style.color, True), (style.bgcolor, False)):
        own = colour is None or colour.is_default
        colours.append(
            "" if own or colour is None else ";".join(colour.downgrade(system).get_ansi_codes(foreground))
        )
    return Ink(attributes, *colours)


@lru_cache(maxsize=4096)
def turn(before: Ink, after: Ink) -> str:
    """The shortest sequence from one style to another: what differs, or a reset and the whole."""
    if before == after:
        return ""
    had, wanted = _split(before.attributes), _split(after.attributes)
    ways = [_codes("0", PLAIN, after, wanted)]
    if all(code in _OFF for code in had if code not in wanted):
        off = list(dict.fromkeys(_OFF[code] for code in had if code not in wanted))
        on = [code for code in wanted if code not in had or _OFF.get(code) in off]
        ways.append(_codes(";".join(off), before, after, on))
    return min(ways, key=len)


def _split(attributes: str) -> list[str]:
    return attributes.split(";") if attributes else []


def _codes(first: str, before: Ink, after: Ink, attributes: list[str]) -> str:
    codes = [first] if first else []
    codes += attributes
    if before.foreground != after.foreground:
        codes.append(after.foreground or "39")
    if before.background != after.background:
        codes.append(after.background or "49")
    return f"\x1b[{';'.join(codes)}m"


def over(before: Ink, blank: Ink) -> Ink:
    """The cheapest style after ``before`` in which blanks look as ``blank`` says."""
    if _SEEN_ON_BLANKS.isdisjoint(_split(before.attributes)) and _SEEN_ON_BLANKS.isdisjoint(
        _split(blank.attributes)
    ):
        return Ink(before.attributes, before.foreground, blank.background)
    return blank


class Piece(NamedTuple):
    """Text of one style at a place."""

    x: int
    y: int
    text: str
    ink: Ink


def pieces(runs: Iterable[tuple[int, int, Iterable[Segment]]], system: ColorSystem) -> list[Piece]:
    """Runs (x, y, segments) as pieces, in reading order; blanks join what stands before them, or after."""
    out: list[Piece] = []
    for x, y, segments in runs:
        begun = len(out)
        for text, style, _ in segments:
            new = ink(style, system)
            last = out[-1] if out else Piece(0, 0, "", PLAIN)
            if not text.strip(" "):
                new = over(last.ink, new)
            elif len(out) == begun + 1 and not last.text.strip(" ") and over(new, last.ink) == new:
                last = Piece(*last[:3], new)
            if len(out) > begun and new == last.ink:
                out[-1] = Piece(last.x, y, last.text + text, new)
            elif text:
                out.append(Piece(x, y, text, new))
            x += cell_len(text)
    return out


def send(parts: Iterable[Piece]) -> str:
    """The bytes for pieces in this order; the terminal is plain before and after."""
    out: list[str] = []
    now, at = PLAIN, (-1, -1)
    for x, y, text, new in parts:
        if (x, y) != at:
            out.append(f"\x1b[{x + 1}G" if y == at[1] and x > at[0] else f"\x1b[{y + 1};{x + 1}H")
        if new != now:
            out.append(turn(now, new))
            now = new
        out.append(text)
        at = (x + len(text), y) if one_each(text) else (-1, y)  # terminals differ on where a wide one ends
    if now != PLAIN:
        out.append("\x1b[0m")
    return "".join(out)


MUCH = 1000
"""Bytes from which it is worth a look whether another order takes fewer."""


def paint(runs: Sequence[tuple[int, int, Sequence[Segment]]], system: ColorSystem, much: int = MUCH) -> str:
    """The bytes for runs (x, y, segments), in reading order or, where that is much and takes more, one style
    after the other: going to a place takes 8 bytes, naming a colour 20.
    """
    parts = pieces(runs, system)
    text = send(parts)
    if len(text) < much or not _apart(parts):
        return text
    return min(text, send(sorted(parts, key=_style)), key=len)


def _style(piece: Piece) -> tuple[str, str, str]:
    return piece.ink.background, piece.ink.attributes, piece.ink.foreground


def _apart(parts: Iterable[Piece]) -> bool:
    """Whether pieces in reading order may be sent in any: none lies over another, and all characters are one
    cell wide (of others, terminals differ on where the next one stands).
    """
    end, line = 0, -1
    for x, y, text, _ in parts:
        if y < line or (y == line and x < end) or not one_each(text):
            return False
        end, line = x + len(text), y
    return True
