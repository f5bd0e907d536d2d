"""The Scaling screen as text: N* against L, m or n on log axes through plotext, bars for brackets,
arrows for censored points.

plotext 6.1's own log scale collapses the plot when ticks are set:
so it is given log10 of the data on linear rulers, with tick labels of our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, floor, log10

from labtui.analysis.fits import Fit, Refusal
from labtui.analysis.points import Point, Series
from labtui.text import clean
from labtui.views import numbers

MARKERS = {"transformer": "▲△▴", "lstm": "■□▪", "dense_ssm": "●○◌"}
"""The signs that the models have on the screens, filled and hollow: one for each line of a model."""
_SPARE = "◆◇★✚"
_ASCII = "toxdabcefghijklmnpqrsuvwyz"


def axis_of(points: Sequence[Point]) -> str:
    """The axis along which the joint task varies, L before m; where it does not, the single lengths n."""
    for x in ("L", "m", "n"):
        groups = series_of([p for p in points if (p.series.distribution == "fixed") == (x == "n")], x)
        if any(len({at(p, x) for p in group}) > 1 for group in groups.values()):
            return x
    return "L"


def at(point: Point, x: str) -> int | None:
    """Where a point stands on the axis."""
    return point.m if x == "m" else point.L


def series_of(points: Iterable[Point], x: str) -> dict[tuple[Series, int | None], list[Point]]:
    """Points that belong on one line: of one series, and with one value of the axis that is not drawn.

    Against n stand the lengths alone, against L and m the joint tasks (or, in a lab that has none,
    the lengths).
    """
    found = [p for p in points if (p.series.distribution == "fixed") == (x == "n")] or list(points)
    groups: dict[tuple[Series, int | None], list[Point]] = {}
    for p in found:
        if at(p, x) is not None:
            groups.setdefault((p.series, p.L if x == "m" else p.m), []).append(p)
    return dict(sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] or 0)))


def scaling_lines(
    points: Sequence[Point],
    fits: Sequence[Fit | Refusal] = (),
    *,
    x: str | None = None,
    width: int = 96,
    height: int = 26,
    ascii: bool = False,
) -> list[str]:
    """The plot, a legend with one line per series, and its fit or why there is none."""
    x = x or axis_of(points)
    groups = series_of(list(points), x)
    if not groups:
        return ["nothing to plot yet: no search has ended"]
    markers = _markers(list(groups), ascii)
    lines = _plot(groups, markers, x, max(40, min(width, 300)), max(10, min(height, 100)), ascii)
    by_series = {fit.series: fit for fit in fits}
    other = "L" if x == "m" else "m"
    several = len({value for _, value in groups}) > 1
    for key, group in groups.items():
        series, value = key
        label = series.label.removesuffix(" fixed") if x == "n" else series.label
        words = f"{markers[key]} {label}" + (f", {other} = {value}" if several and value is not None else "")
        fit = by_series.get(series)
        if fit is not None:
            text = fit.text(ascii)
            words += "   " + (text.replace(" L^", " n^") if x == "n" else text)
        lines.append(clean(f"{words}   ({len(group)} point{'s' if len(group) > 1 else ''})", limit=400))
    if any(p.hi is None for g in groups.values() for p in g):
        lines.append(f"{'^' if ascii else '↑'} N* is larger: nothing succeeded up to N_max")
    return lines


def _markers(keys: Sequence[tuple[Series, int | None]], ascii: bool) -> dict[tuple[Series, int | None], str]:
    """One marker per line, those of one model alike."""
    if ascii:
        return {key: _ASCII[i % len(_ASCII)] for i, key in enumerate(keys)}
    out: dict[tuple[Series, int | None], str] = {}
    spare = iter(_SPARE * (len(keys) // len(_SPARE) + 1))
    for key in keys:
        own = MARKERS.get(key[0].model.split(" ")[0], "")
        out[key] = next((sign for sign in own if sign not in out.values()), None) or next(spare)
    return out


def _plot(
    groups: dict[tuple[Series, int | None], list[Point]],
    markers: dict[tuple[Series, int | None], str],
    x: str,
    width: int,
    height: int,
    ascii: bool,
) -> list[str]:
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, height)
    every = [p for g in groups.values() for p in g]
    low = floor(min(log10(max(1, p.lo + 1)) for p in every))
    high = ceil(max(log10(p.hi or p.n_max) for p in every) + 1e-9)
    high = max(high, low + 1)
    for key, group in groups.items():
        for p in group:
            column = log10(at(p, x) or 1)
            if p.hi is not None and p.hi > p.lo + 1:
                ends = (log10(max(1, p.lo + 1)), log10(p.hi))
                figure.draw(figure.segment((column, column), ends, marker="|" if ascii else "│"))
        for p in group:
            column, top = log10(at(p, x) or 1), log10(p.hi or p.n_max)
            marker = markers[key] if p.hi is not None else ("^" if ascii else "↑")
            figure.draw(figure.signal([column], [top], marker=marker))
    decades = list(range(low, high + 1))
    figure.ruler("y").ticks([float(d) for d in decades], [numbers.count(10.0**d) for d in decades])
    figure.ruler("y").lim(float(low), float(high))
    figure.ruler("y").grid(True)
    values = sorted({at(p, x) or 1 for p in every})
    while len(values) > width // 8:
        values = values[::2]
    figure.ruler("x").ticks([log10(v) for v in values], [str(v) for v in values])
    figure.title(f"N* against {'a single length n' if x == 'n' else x}")
    text = figure.build().string(colorless=True)
    figure.clear()
    return [line.rstrip() for line in text.splitlines() if line.strip()]
