"""What the Scaling screen reads: N* as points, grouped into the lines of a plot, each with its law."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from labtui.text import clean
from labtui.views import numbers as figures
from labtui.views.plot import Series
from labtui.views.signs import model_sign, model_style

if TYPE_CHECKING:
    from labtui.analysis.fits import Fit, Refusal
    from labtui.analysis.points import Point

AXES = {"L": "longest length L, joint task", "m": "modulus m, joint task", "n": "one length n alone"}
DASHES = {"acot": (1, 0), "cot": (7, 4), "outcome": (2, 4)}
SAMPLES = {"acot": "━━", "cot": "╍╍", "outcome": "┄┄"}


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


@dataclass(frozen=True)
class ScalingData:
    """Every line."""

    curves: tuple[Curve, ...]
    axes: tuple[str, ...]
    """The axes along which something varies."""
    request: ScalingRequest


@dataclass(frozen=True)
class ScalingRequest:
    """What to read."""

    study: int | None = None
    axis: str = ""
    """L, m or n; empty: the one that shows most."""

    def __call__(self, lab: Any) -> ScalingData:
        from labtui.analysis.points import points

        cells = lab.cells(self.study)
        kinds = {c.model_label: c.model for c in cells}
        joint = points(cells)
        alone = self._alone(lab, kinds)
        curves = {axis: _curves(alone if axis == "n" else joint, axis, kinds) for axis in AXES}
        lines = {a: sum(len({c.x(p, a) for p in c.points}) > 1 for c in found) for a, found in curves.items()}
        axes = tuple(
            a for a, found in curves.items() if len({c.x(p, a) for c in found for p in c.points}) > 1
        ) or ("L",)
        # The joint task is what grows; single lengths are shown first only where nothing else makes a line.
        axis = (
            self.axis
            if self.axis in axes
            else max(axes, key=lambda a: (lines[a] > 0, a != "n", lines[a], a == "L"))
        )
        return ScalingData(curves[axis], axes, replace(self, axis=axis))

    def _alone(self, lab: Any, kinds: dict[str, str]) -> tuple[Point, ...]:
        from labtui.analysis.points import points
        from store.filters import Condition

        where = (Condition("distribution", "=", "fixed"), Condition("state", "=", "done"))
        jobs = lab.jobs(lab.job_ids(where, "L", self.study))
        kinds.update({j.model_label: j.model for j in jobs})
        return points(jobs)


def _curves(found: Sequence[Point], axis: str, kinds: dict[str, str]) -> tuple[Curve, ...]:
    groups: dict[tuple[Any, int | None], list[Point]] = {}
    several = {
        "L": len({p.m for p in found}) > 1,
        "n": len({p.m for p in found}) > 1,
        "m": len({p.L for p in found}) > 1,
    }
    for point in found:
        if axis == "m" and point.m is None:
            continue
        groups.setdefault((point.series, point.L if axis == "m" else point.m), []).append(point)
    out = []
    for (series, other), members in groups.items():
        members.sort(key=lambda p: (p.m or 0) if axis == "m" else p.L)
        tail = f" {'L' if axis == 'm' else 'm'}={other}" if several[axis] and other is not None else ""
        kind = kinds.get(series.model, series.model.split(" ")[0])
        law = _law(tuple(members)) if len(members) > 1 else None
        label = series.label.removesuffix(" fixed") if axis == "n" else series.label
        out.append(
            Curve(f"{series.label}{tail}", clean(f"{label}{tail}"), kind, series.format, tuple(members), law)
        )
    order = {"transformer": 0, "lstm": 1, "dense_ssm": 2}
    return tuple(sorted(out, key=lambda c: (order.get(c.kind, 3), c.label)))


@lru_cache(maxsize=512)
def _law(points: tuple[Point, ...]) -> Fit | Refusal | None:
    """The same points are fitted once."""
    from labtui.analysis.fits import fit as fit_law

    return fit_law(points)


def exponent(curve: Curve, axis: str) -> str:
    """``L^1.9 [1.7, 2.1]``, or nothing where there is no law."""
    law = curve.law
    parameter = getattr(law, "b" if axis == "m" else "a", None)
    if parameter is None:
        return ""

    def end(x: float) -> str:
        return f"{x:.1f}" if math.isfinite(x) else ("∞" if x > 0 else "-∞")

    return f"{axis}^{parameter.value:.2f} [{end(parameter.low)}, {end(parameter.high)}]"


def tail(curve: Curve, axis: str) -> str:
    """What the legend says of a line: its exponent, or why it has none."""
    censored = sum(p.hi is None for p in curve.points)
    return exponent(curve, axis) or (
        f"{censored} censored"
        if censored
        else f"{len(curve.points)} point{'s' if len(curve.points) != 1 else ''}"
    )


def middle(point: Point) -> float:
    """Where the sign stands: the geometric middle of the bracket, or the estimate."""
    if point.estimate is not None:
        return point.estimate[0]
    return math.sqrt((point.lo + 1) * (point.hi or 1)) if point.hi else float(point.n_max)


def known(point: Point) -> tuple[str, str]:
    """N* as a table shows it, and what its search left open."""
    if point.estimate is not None:
        value, low, high = map(figures.count, point.estimate)
        return f"≈ {value}", f"[{low}, {high}]"
    if point.hi is None:
        return f"> {figures.count(point.n_max)}", "censored"
    return figures.count(point.hi), f"({figures.exact(point.lo)}, {figures.exact(point.hi)}]"


def series_of(curve: Curve, axis: str) -> Series:
    """A line as the plot takes it."""
    from labtui.analysis.fits import Fit

    good = [p for p in curve.points if p.hi is not None]
    bars = tuple(
        (
            curve.x(p, axis),
            *(
                (p.estimate[1], p.estimate[2])
                if p.estimate
                else (max(0.7, float(p.lo + 1)), float(p.hi or 1))
            ),
        )
        for p in good
    )
    band: tuple[tuple[float, float], ...] = ()
    if isinstance(curve.law, Fit) and len(good) > 1:
        xs = [curve.x(p, axis) for p in curve.points]
        low, high = min(xs) / 1.15, max(xs) * 1.15
        fixed = curve.points[0]
        band = tuple(
            (x, curve.law.predict(x, fixed.m) if axis != "m" else curve.law.predict(fixed.L, x))
            for x in (low, high)
        )
    return Series(
        tuple((curve.x(p, axis), middle(p)) for p in good),
        model_style(curve.kind),
        model_sign(curve.kind),
        not band,
        bars,
        tuple((curve.x(p, axis), float(p.n_max)) for p in curve.points if p.hi is None),
        band,
        DASHES.get(curve.format, (1, 0)),
    )
