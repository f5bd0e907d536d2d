"""The Scaling screen as text: N* against L, m or n on log axes through plotext, bars for brackets,
arrows for censored points.

plotext 6.1's own log scale collapses the plot when ticks are set:
so it is given log10 of the data on linear rulers, with tick labels of our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, floor, log10
from string import ascii_lowercase
from types import MappingProxyType
from typing import Any

from labtui.analysis.fits import Fit, Refusal
from labtui.analysis.points import Point, Series
from labtui.text import clean, to_ascii
from labtui.views import numbers
from labtui.views.plot import Series as Drawn
from labtui.views.signs import model_sign, model_style

_OWN = 0xE000
"""A character that no text of a lab has: the first line's mark while plotext draws."""


AXES = {"L": "longest length L, joint task", "m": "modulus m, joint task", "n": "one length n alone"}
DASHES = {"acot": (1, 0), "cot": (7, 4), "icot": (11, 4), "outcome": (2, 4)}
FILLS = {
    "▲": {"outcome": "▲", "cot": "◭", "icot": "◮", "acot": "△"},
    "■": {"outcome": "■", "cot": "◧", "icot": "◨", "acot": "□"},
    "●": {"outcome": "●", "cot": "◐", "icot": "◑", "acot": "○"},
}
SAMPLES = {"acot": "━━", "cot": "╍╍", "icot": "╌╌", "outcome": "┄┄"}


FLOOR = "coverage floor: a table would do"


@dataclass(frozen=True)
class Curve:
    """One line of the plot."""

    key: str
    label: str
    kind: str
    """The model's kind: its colour and sign."""
    format: str
    points: tuple[Point, ...]
    law: Fit | Refusal | None

    def x(self, point: Point, axis: str) -> float:
        return float(point.m or 0) if axis == "m" else float(point.L)

    def axis_name(self, axis: str) -> str:
        """What an axis is called: of a program as its spec calls it."""
        first = self.points[0].series if self.points else None
        return axis if first is None or axis == "n" else first.z if axis == "m" else first.x


def axis_of(points: Sequence[Point]) -> str:
    """The axis along which the joint task varies, L before m; where it does not, the single lengths n."""
    for x in ("L", "m", "n"):
        groups = series_of([p for p in points if (p.series.distribution == "fixed") == (x == "n")], x)
        if any(len({at(p, x) for p in group}) > 1 for group in groups.values()):
            return x
    return "L"


def axis_name(points: Iterable[Point], x: str) -> str:
    """What an axis is called: where all points are of programs as their specs call it."""
    names = {p.series.z if x == "m" else p.series.x for p in points}
    return names.pop() if x != "n" and len(names) == 1 else x


def other_value(x: str, value: float | None, groups: Mapping[tuple[Series, float | None], Any]) -> str:
    """``, m = 2``: what tells lines apart that have several values on the axis that is not drawn."""
    if value is None or len({other for _, other in groups}) < 2:
        return ""
    name = axis_name((p for group in groups.values() for p in group), "L" if x == "m" else "m")
    return f", {name} = {value:g}"


def at(point: Point, x: str) -> float | None:
    """Where a point stands on the axis."""
    return point.m if x == "m" else point.L


def standing(points: Iterable[Point], x: str) -> list[Point]:
    """The points that stand against an axis: against n the lengths alone, against L and m the joint tasks
    (or, in a lab that has none, the lengths).
    """
    every = list(points)
    return [p for p in every if (p.series.distribution == "fixed") == (x == "n")] or every


def series_of(points: Iterable[Point], x: str) -> dict[tuple[Series, float | None], list[Point]]:
    """Points that belong on one line: of one series, and with one value of the axis that is not drawn."""
    groups: dict[tuple[Series, float | None], list[Point]] = {}
    for p in standing(points, x):
        if at(p, x) is not None:
            groups.setdefault((p.series, p.L if x == "m" else p.m), []).append(p)
    return dict(sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] or 0)))


def scaling_lines(
    points: Sequence[Point],
    kinds: Mapping[str, str] = MappingProxyType({}),
    *,
    x: str | None = None,
    width: int = 96,
    height: int = 26,
    ascii: bool = False,
) -> list[str]:
    """Draw the screen's lines through plotext, with a legend of one row for each: its sign and name, its law
    in words, or why it has none.

    Args:
        points: of every search that has ended, the archive too; the screen has those of the cells.
        kinds: the kind of model of each label.
        x: L, m or n; None: the one along which something varies.
        width: cells in a line.
        height: lines of the drawing.
        ascii: the output can show ASCII alone, in which signs become alike that are not.
    """
    x = x or axis_of(points)
    curves = with_laws(curves_of(standing(points, x), x, kinds))
    if not curves:
        return ["nothing to plot yet: no search has ended, or none has a number to stand at"]
    letters = tags(curves, coloured=False, ascii=ascii)
    lines = _through_plotext(curves, letters, x, max(40, min(width, 300)), max(10, min(height, 100)))
    room = max(map(len, letters.values()), default=0)
    lines += [clean(_row(c, letters.get(c.key, "").ljust(room), x), limit=400) for c in curves]
    if any(p.hi is None for c in curves for p in c.points):
        lines.append("↑ N* beyond N_max")
    if floor_series(curves, x):
        lines.append(f"- {FLOOR}")
    return lines


def _row(curve: Curve, letter: str, x: str) -> str:
    """A row of the legend; what the law tells anyhow is not told twice."""
    law = "" if curve.law is None else law_text(curve, x)
    told = [] if trend(curve, x) else [tail(curve, x)]
    count = f"{len(curve.points)} point{'s' if len(curve.points) > 1 else ''}"
    told += [law] if law else []
    told += [f"({count})"] if count not in f"{law} {told[0]}" else []
    return "   ".join((f"{curve_sign(curve)}{letter} {curve.label}", *told))


def _through_plotext(
    curves: Sequence[Curve], letters: Mapping[str, str], x: str, width: int, height: int
) -> list[str]:
    """The drawing. Each line has a mark of its own in it, which then gives way to sign and letter."""
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, height)
    every = [p for c in curves for p in c.points]
    floors = sorted({point for line in floor_series(curves, x) for point in line.points})
    drawn = [drawn_series(c, x) for c in curves]
    values = [v for d in drawn for _, *ends in (*d.points, *d.bars, *d.arrows) for v in ends]
    low = floor(log10(max(1.0, min(values + [v for _, v in floors if v < min(values)]))))
    high = max(ceil(log10(max(values)) + 1e-9), low + 1)
    for at_x, value in floors:
        if low <= log10(max(1.0, value)) <= high:
            figure.draw(figure.signal([log10(at_x)], [log10(max(1.0, value))], marker="-"))
    for line in drawn:
        for at_x, first, last in line.bars:
            if last > first:
                ends = (log10(max(1.0, first)), log10(max(1.0, last)))
                figure.draw(figure.segment((log10(at_x), log10(at_x)), ends, marker="│"))
    for i, line in enumerate(drawn):
        for marker, found in ((chr(_OWN + i), line.points), ("↑", line.arrows)):
            for at_x, value in found:
                figure.draw(figure.signal([log10(at_x)], [log10(max(1.0, value))], marker=marker))
    decades = list(range(low, high + 1))
    figure.ruler("y").ticks([float(d) for d in decades], [numbers.count(10.0**d) for d in decades])
    figure.ruler("y").lim(float(low), float(high))
    figure.ruler("y").grid(True)
    places = sorted({c.x(p, x) for c in curves for p in c.points})
    while len(places) > width // 8:
        places = places[::2]
    air = 0.03 * (log10(places[-1] / places[0]) or 1.0)  # room for a letter at the right of the last sign
    figure.ruler("x").lim(log10(places[0]) - air, log10(places[-1]) + air)
    figure.ruler("x").ticks([log10(v) for v in places], [f"{v:g}" for v in places])
    name = axis_name(every, x)
    figure.title(f"N* against {clean(AXES.get(name, name))}")
    text = figure.build().string(colorless=True)
    figure.clear()
    for i, curve in enumerate(curves):
        letter = letters.get(curve.key, "")
        if letter:
            text = re.sub(f"{chr(_OWN + i)}[ ─]", curve_sign(curve) + letter, text)
        text = text.replace(chr(_OWN + i), curve_sign(curve))
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def curves_of(found: Sequence[Point], axis: str, kinds: Mapping[str, str]) -> tuple[Curve, ...]:
    groups: dict[tuple[Any, float | None], list[Point]] = {}
    several = len({p.L if axis == "m" else p.m for p in found}) > 1
    for point in found:
        if axis == "m" and point.m is None:
            continue
        groups.setdefault((point.series, point.L if axis == "m" else point.m), []).append(point)
    out = []
    for (series, other), members in groups.items():
        members.sort(key=lambda p: (p.m or 0) if axis == "m" else p.L)
        which = series.x if axis == "m" else series.z
        tail = f" {which}={other:g}" if several and other is not None else ""
        kind = kinds.get(series.model, series.model.split(" ")[0])
        label = series.label.removesuffix(" fixed") if axis == "n" else series.label
        out.append(
            Curve(f"{series.label}{tail}", clean(f"{label}{tail}"), kind, series.format, tuple(members), None)
        )
    order = {"transformer": 0, "lstm": 1, "dense_ssm": 2}
    return tuple(sorted(out, key=lambda c: (order.get(c.kind, 3), c.label)))


def with_laws(curves: Sequence[Curve]) -> tuple[Curve, ...]:
    """The same lines, each with its law; the first fit of a process loads scipy (1 s)."""
    return tuple(replace(c, law=_law(c.points)) if len(c.points) > 1 else c for c in curves)


@lru_cache(maxsize=512)
def _law(points: tuple[Point, ...]) -> Fit | Refusal | None:
    """The same points are fitted once."""
    from labtui.analysis.fits import fit as fit_law

    return fit_law(points)


def trend(curve: Curve, axis: str) -> bool:
    """Whether a law says anything: its exponent's interval neither holds 0 nor is wider than 2."""
    parameter = getattr(curve.law, "b" if axis == "m" else "a", None)
    if parameter is None:
        return False
    return not (parameter.low <= 0 <= parameter.high) and parameter.high - parameter.low <= 2


def exponent(curve: Curve, axis: str) -> str:
    """``L^1.9 [1.7, 2.1]``, or nothing where there is no law."""
    law = curve.law
    parameter = getattr(law, "b" if axis == "m" else "a", None)
    if parameter is None:
        return ""
    if not trend(curve, axis):
        return "no trend yet"
    # One decimal less than in the law's sentence: the legend shares its line with the name of the series.
    told = numbers.exponent(parameter.value, parameter.low, parameter.high, places=1)
    return f"{curve.axis_name(axis)}^{told}"


def law_text(curve: Curve, axis: str) -> str:
    """A line's law in words, or why there is none, over the axis that is drawn."""
    text = "" if curve.law is None else curve.law.text()
    return text.replace(" L^", " n^") if axis == "n" else text


def tail(curve: Curve, axis: str) -> str:
    """What the legend says of a line: its exponent, or why it has none."""
    censored = sum(p.hi is None for p in curve.points)
    found = len(curve.points) - censored
    if not found and censored:
        return exponent(curve, axis) or f"{censored} censored"
    told = f"{found} point{'s' * (found != 1)}" + (f", {censored} ↑" if censored else "")
    return exponent(curve, axis) or told


def stands_at(point: Point) -> float:
    """Where the sign stands: at the N* that is told; at N_max where it lies beyond."""
    found = numbers.drawn(point) if point.hi is not None else None
    return float(point.n_max) if found is None else found[0]


def known(point: Point) -> tuple[str, str]:
    """N* as a table shows it, and what its search left open."""
    if point.hi is None:
        return f"> {numbers.count(point.n_max)}", "censored"
    if point.estimate is not None:
        value = numbers.count_interval(point.estimate).partition(" ")[0]
        return f"≈ {value}", numbers.count_ends(point.estimate)
    return numbers.count(point.hi), f"({numbers.exact(point.lo)}, {numbers.exact(point.hi)}]"


def curve_sign(curve: Curve) -> str:
    """A model's sign, filled for outcome, half for cot, hollow for acot: no two lines have one sign and
    one hue.
    """
    fill = FILLS.get(model_sign(curve.kind))
    return fill.get(curve.format, fill["outcome"]) if fill else model_sign(curve.kind)


def tags(curves: Sequence[Curve], *, coloured: bool = True, ascii: bool = False) -> dict[str, str]:
    """A letter for each line whose sign and hue another one has too, by key: distributions and moduli of one
    model and format.

    Args:
        coloured: False: hues are not seen, so lines of one sign are alike.
        ascii: signs are those that ASCII has for them.
    """
    signs = [
        (to_ascii(curve_sign(c)) if ascii else curve_sign(c), model_style(c.kind) if coloured else "")
        for c in curves
    ]
    twins = [c.key for c, sign in zip(curves, signs, strict=True) if signs.count(sign) > 1]
    return dict(zip(twins, ascii_lowercase, strict=False))


def floor_series(curves: Sequence[Curve], axis: str) -> tuple[Drawn, ...]:
    """The coverage floors of the lines as dashed lines, each once: it is the task's, whatever the model."""
    found = {tuple((c.x(p, axis), p.floor) for p in c.points if p.floor is not None) for c in curves}
    return tuple(Drawn(line, "dim", dash=(3, 3)) for line in sorted(found) if line)


def drawn_series(curve: Curve, axis: str) -> Drawn:
    """A line as the plot takes it."""
    from labtui.analysis.fits import Fit

    good = [p for p in curve.points if p.hi is not None]
    bars = tuple((curve.x(p, axis), *found[1:]) for p in good if (found := numbers.drawn(p)) is not None)
    band: tuple[tuple[float, float], ...] = ()
    if isinstance(curve.law, Fit) and len(good) > 1 and trend(curve, axis):
        xs = [curve.x(p, axis) for p in curve.points]
        low, high = min(xs), max(xs)
        fixed = curve.points[0]
        band = tuple(
            (x, curve.law.predict(x, fixed.m) if axis != "m" else curve.law.predict(fixed.L, x))
            for x in (low, high)
        )
    return Drawn(
        tuple((curve.x(p, axis), stands_at(p)) for p in good),
        model_style(curve.kind),
        curve_sign(curve),
        False,  # a line says that there is a law
        bars,
        tuple((curve.x(p, axis), float(p.n_max)) for p in curve.points if p.hi is None),
        band,
        DASHES.get(curve.format, (1, 0)),
    )
