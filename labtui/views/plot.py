"""Plots as lines of cells: braille dots for curves, one sign per point,
log or linear axes with ticks a person would choose.

Our own and not plotext's, because each cell keeps the name of its style (themes, NO_COLOR), because only
cells that change may be sent, and because plotext 6.1 collapses log rulers with ticks (docs/dependencies.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from labtui.text import fit
from labtui.views import numbers as figures
from labtui.views.lines import Line, Span

_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


@dataclass(frozen=True)
class Axis:
    """A range of values, log or linear."""

    low: float
    high: float
    log: bool = True
    whole: bool = False
    """Ticks at whole numbers only."""

    def place(self, value: float) -> float:
        """0 at ``low``, 1 at ``high``; values that a log axis cannot show stand at its low end."""
        if self.log:
            if value <= 0:
                return 0.0
            low, high, value = math.log(self.low), math.log(self.high), math.log(value)
        else:
            low, high = self.low, self.high
        return (value - low) / (high - low) if high > low else 0.5

    def value(self, place: float) -> float:
        """The inverse of :meth:`place`."""
        if self.log:
            return math.exp(math.log(self.low) + place * (math.log(self.high) - math.log(self.low)))
        return self.low + place * (self.high - self.low)


def span(values: Sequence[float], *, log: bool, pad: float = 0.08) -> Axis:
    """An axis around the finite values (the positive ones, for a log axis), with some air at both ends."""
    good = [max(-_FAR, min(_FAR, v)) for v in values if math.isfinite(v) and (v > 0 or not log)]
    good = [max(1 / _FAR, v) for v in good] if log else good
    if not good:
        return Axis(1.0, 10.0, True) if log else Axis(0.0, 1.0, False)
    low, high = min(good), max(good)
    if log:
        room = max(math.log(high / low) * pad, math.log(1.25 if high <= low * 1.02 else 1.07))
        return Axis(low / math.exp(room), high * math.exp(room), True)
    room = (high - low) * pad or max(abs(high) * 0.1, 0.5)
    return Axis(low - room, high + room, False)


def steps_axis(last: float, budget: float) -> Axis:
    """Steps from 0 to where a training of ``budget`` steps has come, in halves of the budget: the axis
    stands while the curve grows and turns a few times in all, since a turn sends every cell again.
    """
    end = max(float(budget), last, 1.0)
    while end / 2 >= max(last, 1.0):
        end /= 2
    return Axis(0.0, end, False)


_FAR = 1e30
"""No axis reaches farther, or nearer to 0 on a log one: a diverged trial must not take the plot with it."""
_FINE = (1, 1.5, 2, 3, 4, 5, 7)


def ticks(axis: Axis, most: int) -> list[float]:
    """At most about ``most`` round values: 1 and 3 times powers of ten on a log axis where there is room,
    else 1, 10, 100.
    """
    if axis.whole and axis.high - axis.low <= max(2, most):
        return [float(i) for i in range(math.ceil(axis.low), math.floor(axis.high) + 1)]
    if axis.log:
        first, last = math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high))
        best: list[float] = []
        for factors, stride in (
            (_FINE, 1),
            ((1, 2, 5), 1),
            ((1, 3), 1),
            ((1,), 1),
            ((1,), 2),
            ((1,), 3),
            ((1,), 5),
        ):
            found = [f * 10.0**e for e in range(first, last + 1) if e % stride == 0 for f in factors]
            found = [
                v for v in found if axis.low * 0.999 <= v <= axis.high * 1.001 and not (axis.whole and v % 1)
            ]
            if 2 <= len(found) <= max(2, most):
                return found
            if found and (not best or len(found) <= max(2, most)):
                best = found
        return best  # one tick, or more than were asked for: an axis without any says nothing
    width = (axis.high - axis.low) / max(1, most)
    size = 10.0 ** math.floor(math.log10(width)) if width > 0 else 1.0
    step = next(s * size for s in (1, 2, 5, 10) if s * size >= width * 0.999)
    step = max(1.0, step) if axis.whole else step
    start = math.ceil(axis.low / step - 1e-9)
    return [round(i * step, 12) for i in range(start, math.floor(axis.high / step + 1e-9) + 1)]


@dataclass
class Canvas:
    """Cells that take braille dots and signs, each with the name of a style."""

    width: int
    height: int
    dots: dict[tuple[int, int], int] = field(default_factory=dict)
    inks: dict[tuple[int, int], str] = field(default_factory=dict)
    bars: dict[tuple[int, int], Span] = field(default_factory=dict)
    signs: dict[tuple[int, int], Span] = field(default_factory=dict)
    tags: set[tuple[int, int]] = field(default_factory=set)
    """Cells with the letter of the sign at their left."""

    def dot(self, x: float, y: float, style: str) -> None:
        """Draw a dot at (x, y) in 0..1 from the bottom left."""
        x, y = max(-9.0, min(9.0, x)), max(-9.0, min(9.0, y))
        px, py = round(x * (self.width * 2 - 1)), round((1 - y) * (self.height * 4 - 1))
        cell = (px // 2, py // 4)
        if 0 <= cell[0] < self.width and 0 <= cell[1] < self.height:
            self.dots[cell] = self.dots.get(cell, 0) | _BITS[py % 4][px % 2]
            self.inks[cell] = style

    def line(
        self, x0: float, y0: float, x1: float, y1: float, style: str, dash: tuple[int, int] = (1, 0)
    ) -> None:
        """Draw a line, ``dash`` dots on and off."""
        steps = max(1, round(max(abs(x1 - x0) * self.width * 2, abs(y1 - y0) * self.height * 4)))
        for i in range(min(steps, 4000) + 1):
            if dash[1] and i % sum(dash) >= dash[0]:
                continue
            t = i / min(steps, 4000)
            self.dot(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t, style)

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """The cell of a place in 0..1: the one in which a dot there would lie."""
        column, row = round(x * (self.width * 2 - 1)) // 2, round((1 - y) * (self.height * 4 - 1)) // 4
        return min(self.width - 1, max(0, column)), min(self.height - 1, max(0, row))

    def bar(self, x: float, low: float, high: float, style: str) -> None:
        """Draw an upright bar through the middle of a column, resolved to half a cell, under the signs."""
        column, halves = self.cell(x, 0.0)[0], self.height * 2
        first, last = (min(halves - 1, max(0, int((1 - y) * halves))) for y in (high, low))
        for row in range(first // 2, last // 2 + 1):
            sign = "┃" if first <= 2 * row and 2 * row + 1 <= last else "╹" if first <= 2 * row else "╻"
            self.bars[column, row] = (sign, style)

    def put(self, x: float, y: float, sign: str, style: str, tag: str = "") -> None:
        """Put a sign into its cell, and its letter into the next one; the letter of a sign below it goes."""
        if not (-0.001 <= x <= 1.001 and -0.001 <= y <= 1.001):
            return
        column, row = self.cell(x, y)
        beside = (column + 1, row)
        if beside in self.tags:
            self.tags.discard(beside)
            del self.signs[beside]
        self.tags.discard((column, row))
        self.signs[column, row] = (sign, style)
        if tag and column + 1 < self.width and beside not in self.signs:
            self.signs[beside] = (tag, style.partition(" @")[0])
            self.tags.add(beside)

    def row(self, y: int, under: dict[int, Span] | None = None) -> Line:
        """A row of cells over ``under`` (grid and levels): signs over bars over dots."""
        spans: list[Span] = []
        for x in range(self.width):
            where = (x, y)
            if where in self.signs:
                one = self.signs[where]
            elif where in self.bars:
                one = self.bars[where]
            elif where in self.dots:
                one = (chr(0x2800 + self.dots[where]), self.inks[where])
            else:
                one = (under or {}).get(x, (" ", ""))
            if spans and spans[-1][1] == one[1]:
                spans[-1] = (spans[-1][0] + one[0], one[1])
            else:
                spans.append(one)
        return tuple(spans)


@dataclass(frozen=True)
class Series:
    """Points to draw."""

    points: tuple[tuple[float, float], ...]
    style: str
    sign: str = ""
    """Drawn at each point; empty: none."""
    joined: bool = True
    bars: tuple[tuple[float, float, float], ...] = ()
    """(x, low, high): what a bracket leaves open."""
    arrows: tuple[tuple[float, float], ...] = ()
    """Censored: N* lies above this."""
    band: tuple[tuple[float, float], ...] = ()
    """A fitted line."""
    dash: tuple[int, int] = (1, 0)
    """Dots on and off along the joined or the fitted line."""
    tag: str = ""
    """A letter at the right of each point, where two series share sign and style."""
    link: str = ""
    """What a click on a point does, the point's number behind it; empty: nothing."""


@dataclass(frozen=True)
class Level:
    """A horizontal line with a name, such as eps."""

    y: float
    label: str
    style: str = "warn"


def plot(
    series: Sequence[Series],
    width: int,
    height: int,
    x: Axis,
    y: Axis,
    *,
    levels: Sequence[Level] = (),
    x_label: str = "",
    y_format: str = "loss",
    cursor: tuple[float, float] | None = None,
) -> list[Line]:
    """The plot in exactly ``width`` x ``height`` cells;
    two lines at the foot and a gutter at the left are its axes.
    """
    show = figures.count if y_format == "count" else figures.loss
    y_ticks = [
        (v, show(v) if y_format == "count" or v < 0.001 else f"{v:g}") for v in ticks(y, max(2, height // 3))
    ]
    if len(y_ticks) < 2:  # one point: at least two numbers, or the height says nothing
        y_ticks = [(v, show(v)) for v in (y.value(0.08), y.value(0.92))]
    gutter = max([len(t) for _, t in y_ticks] + [len(level.label) for level in levels] + [3]) + 1
    inner, rows = width - gutter - 1, height - 2
    if inner < 8 or rows < 2:
        return []
    canvas = Canvas(inner, rows)
    labels: dict[int, Span] = {}
    grid_rows: set[int] = set()
    level_rows: dict[int, Span] = {}
    for value, text in y_ticks:
        place = y.place(value)
        if -0.001 <= place <= 1.001:
            at = canvas.cell(0, place)[1]
            grid_rows.add(at)
            labels.setdefault(at, (text, "dim"))
    for level in levels:
        place = y.place(level.y)
        if 0 <= place <= 1:
            at = canvas.cell(0, place)[1]
            labels[at] = (level.label, level.style)
            level_rows[at] = ("╌", level.style)
    for one in series:
        _draw(canvas, one, x, y)
    if cursor is not None:
        cx, cy = canvas.cell(x.place(cursor[0]), y.place(cursor[1]))
        for row in range(rows):
            if (cx, row) not in canvas.bars:
                canvas.signs.setdefault((cx, row), ("│", "faint"))
        sign, style = canvas.signs.get((cx, cy), ("◆", "accent"))
        canvas.signs[cx, cy] = (sign if sign != "│" else "◆", f"{style} reverse")
    lines: list[Line] = []
    for row in range(rows):
        text, style = labels.get(row, ("", "dim"))
        under = dict.fromkeys(range(1, inner, 4), ("·", "faint")) if row in grid_rows else {}
        if row in level_rows:
            under = dict.fromkeys(range(inner), level_rows[row])
        lines.append(
            (
                (fit(text, gutter - 1, ">"), style),
                (" ", ""),
                ("┤" if row in grid_rows else "│", "faint"),
                *canvas.row(row, under),
            )
        )
    return [*lines, *_foot(x, inner, gutter, x_label)]


def _draw(canvas: Canvas, one: Series, x: Axis, y: Axis) -> None:
    for (ax, ay), (bx, by) in pairwise(one.band):
        canvas.line(x.place(ax), y.place(ay), x.place(bx), y.place(by), one.style, one.dash)
    for at, low, high in one.bars:
        if -0.001 <= x.place(at) <= 1.001 and y.place(high) >= 0 and y.place(low) <= 1:
            canvas.bar(x.place(at), _inside(y.place(low)), _inside(y.place(high)), one.style)
    runs = [
        [(x.place(a), y.place(b)) for a, b in points]
        for finite, points in groupby(one.points, lambda p: math.isfinite(p[0]) and math.isfinite(p[1]))
        if finite
    ]
    good = [point for run in runs for point in run]
    if one.joined:
        for run in runs:  # what is no number is a gap, not a line across it
            for (ax, ay), (bx, by) in pairwise(run):
                canvas.line(ax, ay, bx, by, one.style, one.dash)
            if len(run) == 1:
                canvas.dot(*run[0], one.style)
    if one.sign:
        for i, (px, py) in enumerate(good):
            style = f"{one.style} @{one.link}{i}" if one.link else one.style
            canvas.put(px, py, one.sign, style, one.tag)
    for px, py in one.arrows:
        canvas.put(x.place(px), _inside(y.place(py)), "↑", one.style)


def _inside(place: float) -> float:
    return min(1.0, max(0.0, place))


def _foot(x: Axis, inner: int, gutter: int, label: str) -> list[Line]:
    marks = ["─"] * inner
    text = [" "] * inner
    free = 0
    room = inner - len(label) - 1 if label else inner
    most = inner // 3 if x.whole and x.high < 100 else inner // 9
    for value in ticks(x, max(2, most)):
        place = x.place(value)
        if not -0.001 <= place <= 1.001:
            continue
        at = min(inner - 1, max(0, round(place * (inner * 2 - 1)) // 2))
        name = figures.count(value) if value >= 1 or value == 0 else f"{value:g}"
        start = min(max(0, at - len(name) // 2), inner - len(name))
        marks[at] = "┴"
        if start >= free and start + len(name) <= room:
            text[start : start + len(name)] = list(name)
            free = start + len(name) + 1
    if label:
        text[inner - len(label) :] = list(label)
    return [
        ((" " * gutter, ""), ("└" + "".join(marks), "faint")),
        ((" " * (gutter + 1), ""), ("".join(text), "dim")),
    ]
