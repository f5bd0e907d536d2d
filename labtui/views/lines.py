"""Lines of styled text: the only thing that drawing functions return.

A line is a tuple of spans, a span a text and the name of a style (``labtui.tui.theme``).
Lines know nothing of Textual: the same function draws the screen, the plain mode and the test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from rich.cells import cell_len, set_cell_size

from labtui.text import ELLIPSIS, Align, clean, enough, fit

Span: TypeAlias = tuple[str, str]
Line: TypeAlias = tuple[Span, ...]

EIGHTHS = " ▏▎▍▌▋▊▉█"
LEVELS = " ▁▂▃▄▅▆▇█"


def text_line(text: str, style: str = "") -> Line:
    """One span."""
    return ((text, style),)


def size(line: Line) -> int:
    """Width in terminal cells."""
    return sum(len(t) if t.isascii() else cell_len(t) for t, _ in line)


def plain(line: Line) -> str:
    """The text alone, without trailing space."""
    return "".join(t for t, _ in line).rstrip()


def crop(line: Line, width: int, style: str = "") -> Line:
    """``line`` in exactly ``width`` cells: padded in ``style``, or cut with ``…`` in its last cell, so that
    no cut text reads as a whole one. Nothing is left in it that a terminal would obey.
    """
    room = width
    out: list[Span] = []
    for i, (whole, key) in enumerate(line):
        text = enough(whole, room)
        if not text.isprintable():
            text = clean(text)
        n = len(text) if text.isascii() else cell_len(text)
        if n >= room:
            if room <= 0:
                return tuple(out)
            more = any(t and not t.isspace() for t, _ in line[i + 1 :])
            if more or (n > room and cell_len(text.rstrip()) > room):
                text = set_cell_size(text, room - 1) + ELLIPSIS
            out.append((text if cell_len(text) == room else set_cell_size(text, room), key))
            return tuple(out)
        if n:
            out.append((text, key))
            room -= n
    if room > 0:
        out.append((" " * room, style))
    return tuple(out)


def based(line: Line, base: str) -> Line:
    """``line`` with the style ``base`` under each of its spans (a cursor row, a selected tab)."""
    return tuple((t, f"{base} {k}" if k else base) for t, k in line)


def linked(line: Line, link: str, base: str = "") -> Line:
    """``line`` of which each span stands for an action at a click (``labtui.tui.pane``), on ``base``."""
    return tuple((t, " ".join(filter(None, (base, k, f"@{link}")))) for t, k in line)


def cell(text: str, width: int, style: str = "", align: Align = "<") -> Span:
    """A span of exactly ``width`` cells."""
    return fit(text, width, align), style


def ends(left: Line, right: Line, width: int, style: str = "") -> Line:
    """``left`` and ``right`` at the two ends of a line; the left is cut where both do not fit."""
    room = width - size(right)
    if room < 1:
        return crop(left, width, style)
    return (*crop(left, room, style), *right)


def joined(cells: Iterable[Span]) -> list[Span]:
    """Join neighbouring cells of one style: a line that is drawn cell by cell stays a few spans."""
    out: list[Span] = []
    for text, style in cells:
        if out and out[-1][1] == style:
            out[-1] = (out[-1][0] + text, style)
        else:
            out.append((text, style))
    return out


def rule(title: str, width: int, note: str | Line = "", *, hot: bool = False) -> Line:
    """The heading of a panel: its title, a thin line, and a note at the right."""
    head: Line = ((f"{title.rstrip()} ", "title" if hot else "heading"),)
    tail: Line = ((f" {note}", "dim"),) if isinstance(note, str) and note else ()
    if note and not isinstance(note, str):
        tail = ((" ", ""), *note)
    fill = width - size(head) - size(tail)
    if fill < 2 and not tail:
        return crop(head, width)
    if fill < 2:
        return rule(title, width, hot=hot)
    return (*head, ("─" * fill, "accent" if hot else "faint"), *tail)


def stack(lines: Iterable[Line], width: int, height: int) -> list[Line]:
    """``lines`` in a box of exactly ``width`` x ``height`` cells."""
    out = [crop(line, width) for line, _ in zip(lines, range(height), strict=False)]
    blank: Line = ((" " * width, ""),) if width > 0 else ()
    return out + [blank] * (height - len(out))


def beside(*blocks: tuple[Sequence[Line], int], height: int, gap: int = 2) -> list[Line]:
    """Blocks (lines, width) side by side, ``gap`` cells apart."""
    columns = [stack(lines, width, height) for lines, width in blocks]
    space: Line = ((" " * gap, ""),)
    out: list[Line] = []
    for parts in zip(*columns, strict=True):
        line: list[Span] = []
        for i, part in enumerate(parts):
            if i:
                line.extend(space)
            line.extend(part)
        out.append(tuple(line))
    return out


def inset(lines: Iterable[Line], by: int = 1) -> list[Line]:
    """``lines`` moved ``by`` cells to the right: the margin of a screen."""
    return [((" " * by, ""), *line) for line in lines]


def bar(fraction: float, width: int, style: str = "accent", track: str = "track") -> Line:
    """A horizontal bar of ``width`` cells, resolved to an eighth of a cell."""
    fraction = min(1.0, max(0.0, fraction)) if fraction == fraction else 0.0
    eighths = round(fraction * width * 8)
    full, part = divmod(eighths, 8)
    filled = "█" * full + (EIGHTHS[part] if part else "")
    return ((filled, f"{track} {style}"), (" " * (width - len(filled)), track))


def thin_bar(fraction: float, width: int, style: str = "accent") -> Line:
    """A thin bar of ``width`` cells, resolved to half a cell: calm enough for every row of a table."""
    fraction = min(1.0, max(0.0, fraction)) if fraction == fraction else 0.0
    halves = round(fraction * width * 2)
    full, part = divmod(halves, 2)
    done = "━" * full + ("╸" if part else "")
    return ((done, style), ("─" * (width - len(done)), "faint"))


def sparkline(values: Sequence[float], width: int, style: str = "accent", top: float = 1.0) -> Line:
    """The last ``width`` values as columns of one cell's height, ``top`` being a full cell, on a dotted
    track.
    """
    tail = [v for v in values[-width:] if v == v]
    text = (
        "".join(LEVELS[max(1, round(min(1.0, v / top) * 8)) if v > 0 else 1] for v in tail) if top > 0 else ""
    )
    return (("·" * (width - len(text)), "faint"), (text, style))


def changed_spans(old: Line, new: Line, join: int = 10) -> list[tuple[int, int]]:
    """The (first, one past last) cells in which two lines of equal width differ;
    nearer ones than ``join`` are one.
    """
    if old == new:
        return []
    if not all(t.isascii() or cell_len(t) == len(t) for t, _ in (*old, *new)):
        return [(0, max(size(old), size(new)))]
    before = [(c, k) for t, k in old for c in t]
    after = [(c, k) for t, k in new for c in t]
    if len(before) != len(after):
        return [(0, max(len(before), len(after)))]
    out: list[tuple[int, int]] = []
    for i, (a, b) in enumerate(zip(before, after, strict=True)):
        if a != b:
            if out and i - out[-1][1] < join:
                out[-1] = (out[-1][0], i + 1)
            else:
                out.append((i, i + 1))
    return out
