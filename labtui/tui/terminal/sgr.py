"""Styled cells as the escape sequences that paint them, each change of style in the fewest bytes.

Rich ends every run of text with a reset and names both colours again at the next: 40 bytes where 20 do.
Here a colour is named when it changes, and a blank cell takes whatever ink there is, as nobody sees it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style


class Ink(NamedTuple):
    """The parameters of SGR (ECMA-48) that make a style; an empty colour is the terminal's own."""

    attributes: str = ""
    foreground: str = ""
    background: str = ""


PLAIN = Ink()
_SEEN_ON_BLANKS = {"4", "7", "9", "21", "53"}
"""Underlines, reverse, strike, overline: what shows where there is no letter."""


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
    """The sequence from one style to another."""
    codes = []
    if before.attributes != after.attributes:
        if before.attributes:
            codes.append("0")
            before = PLAIN
        if after.attributes:
            codes.append(after.attributes)
    if before.foreground != after.foreground:
        codes.append(after.foreground or "39")
    if before.background != after.background:
        codes.append(after.background or "49")
    return f"\x1b[{';'.join(codes)}m" if codes else ""


def over(before: Ink, blank: Ink) -> Ink:
    """The cheapest style after ``before`` in which blanks look as ``blank`` says."""
    if _SEEN_ON_BLANKS.isdisjoint(before.attributes.split(";")) and _SEEN_ON_BLANKS.isdisjoint(
        blank.attributes.split(";")
    ):
        return Ink(before.attributes, before.foreground, blank.background)
    return blank


def paint(runs: Iterable[tuple[int, int, Iterable[Segment]]], system: ColorSystem) -> str:
    """The bytes for runs (x, y, segments), in reading order; the terminal is plain before and after."""
    out: list[str] = []
    now, line = PLAIN, -1
    for x, y, segments in runs:
        out.append(f"\x1b[{x + 1}G" if y == line else f"\x1b[{y + 1};{x + 1}H")
        line = y
        for text, style, _ in segments:
            new = ink(style, system)
            if not text.strip(" "):
                new = over(now, new)
            if new != now:
                out.append(turn(now, new))
                now = new
            out.append(text)
    if now != PLAIN:
        out.append("\x1b[0m")
    return "".join(out)
