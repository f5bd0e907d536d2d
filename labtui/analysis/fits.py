"""Scaling laws: N* ~ c L^a m^b for each series, by maximum likelihood, with profile-likelihood intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labtui.analysis.likelihood import LOG_SPREAD, Objective, limits, objective
from labtui.analysis.points import Point, Series, points
from labtui.analysis.threads import one_blas_thread
from labtui.text import spelled
from labtui.views import numbers

if TYPE_CHECKING:
    from labtui.analysis.likelihood import Array

__all__ = ["Fit", "Parameter", "Point", "Refusal", "Series", "fit", "fit_all", "points"]

LEVEL = 0.90
"""Of the intervals."""
_FARTHEST = 60.0
"""An interval that reaches this far from the estimate is open: the data do not bound it."""


@dataclass(frozen=True)
class Parameter:
    """An estimate with its 90 % profile-likelihood interval;
    an end is infinite where the data leave it open.
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        return {
            k: v if math.isfinite(v) else None
            for k, v in (("value", self.value), ("low", self.low), ("high", self.high))
        }


@dataclass(frozen=True)
class Fit:
    """ln N* = ln c + a ln L + b ln m + spread z, z standard normal."""

    series: Series
    c: Parameter
    a: Parameter | None
    """Exponent of L; None: left out."""
    b: Parameter | None
    """Exponent of m; None: left out."""
    spread: Parameter
    """Standard deviation of ln N* about the law."""
    n: int
    """Points."""
    censored: int
    """Of these, N* > n_max or N* <= 1."""
    left_out: dict[str, str]
    """Axis -> why the law is offered without it."""
    log_likelihood: float

    def predict(self, L: float, m: float | None = None) -> float:
        """The law's N* (its median)."""
        log_n = math.log(self.c.value)
        if self.a is not None:
            log_n += self.a.value * math.log(L)
        if self.b is not None and m is not None:
            log_n += self.b.value * math.log(m)
        return math.exp(log_n)

    def text(self, ascii: bool = False) -> str:
        """``N* ≈ 12 L^1.9 [1.7, 2.1] m^2.2 [2.0, 2.4], spread 0.2, 12 points``."""
        law = f"N* ≈ {numbers.count(self.c.value)}"
        for name, p in ((self.series.x, self.a), (self.series.z, self.b)):
            if p is not None:
                law += f" {name}^{numbers.exponent(p.value, p.low, p.high)}"
        tail = f", {self.censored} censored" if self.censored else ""
        without = "".join(f"; without {axis}: {why}" for axis, why in self.left_out.items())
        return _told(f"{law}, spread {self.spread.value:.2f}, {self.n} points{tail}{without}", ascii)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return _series_dict(self.series) | {
            "status": "fitted",
            "x": self.series.x,
            "z": self.series.z,
            "c": self.c.to_dict(),
            "a": self.a.to_dict() if self.a else None,
            "b": self.b.to_dict() if self.b else None,
            "spread": self.spread.to_dict(),
            "level": LEVEL,
            "points": self.n,
            "censored": self.censored,
            "left_out": self.left_out,
            "log_likelihood": self.log_likelihood,
            "text": self.text(ascii=True),
        }


@dataclass(frozen=True)
class Refusal:
    """No law, and why."""

    series: Series
    n: int
    reason: str

    def text(self, ascii: bool = False) -> str:
        return _told(f"no fit: {self.reason}", ascii)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return _series_dict(self.series) | {"status": "refused", "points": self.n, "reason": self.reason}


def fit_all(measured: Iterable[Point]) -> tuple[Fit | Refusal, ...]:
    """Fit a law to each series, or give the reason why there is none."""
    groups: dict[Series, list[Point]] = {}
    for p in measured:
        groups.setdefault(p.series, []).append(p)
    return tuple(fit(groups[s]) for s in sorted(groups))


def fit(measured: Sequence[Point]) -> Fit | Refusal:
    """Fit the law of one series; an axis with a single value is left out, and said.

    Raises:
        ValueError: no points, or points of several series.
    """
    if not measured or len({p.series for p in measured}) > 1:
        raise ValueError(
            f"{len(measured)} points of {len({p.series for p in measured})} series; expected points of one"
        )
    series, n = measured[0].series, len(measured)
    columns, left_out = _axes(measured)
    parameters = len(columns) + 2
    names = ", ".join(["c", *({"L": "a", "m": "b"}[axis] for axis in columns), "spread"])
    if n <= parameters:
        return Refusal(
            series,
            n,
            f"{n} points for {parameters} parameters ({names}); expected more points than parameters",
        )
    censored = sum(p.censoring != "none" for p in measured)
    if n - censored < parameters:
        return Refusal(
            series,
            n,
            f"{n - censored} of {n} points have a bracket and the others are bounds; "
            f"expected at least as many brackets as parameters, {parameters} ({names})",
        )
    return _fit(series, measured, columns, left_out, censored)


def _axes(measured: Sequence[Point]) -> tuple[list[str], dict[str, str]]:
    columns, left_out = [], {}
    for axis in ("L", "m"):
        values = {getattr(p, axis) for p in measured}
        if len(values) > 1:
            columns.append(axis)
        elif values != {None}:
            name = measured[0].series.x if axis == "L" else measured[0].series.z
            left_out[name] = f"one value, {name} = {values.pop():g}"
    return columns, left_out


def _fit(
    series: Series, measured: Sequence[Point], columns: list[str], left_out: dict[str, str], censored: int
) -> Fit | Refusal:
    with one_blas_thread():
        import numpy as np
        import scipy.optimize  # noqa: F401 - its own BLAS is loaded with it

    logs = [[math.log(getattr(p, axis)) for axis in columns] for p in measured]
    x = np.array(logs, dtype=np.float64).reshape(len(measured), len(columns))
    centre = x.mean(axis=0)
    design = np.column_stack([np.ones(len(measured)), x - centre])
    if np.linalg.matrix_rank(design, tol=1e-9) < design.shape[1]:
        return Refusal(
            series,
            len(measured),
            f"{series.x} and {series.z} vary together, so their exponents cannot be told apart",
        )
    middle = np.array([_middle(p) for p in measured])
    start, *_ = np.linalg.lstsq(design, middle, rcond=None)
    residual = float(np.sqrt(np.mean((middle - design @ start) ** 2)))
    f = objective(measured, design)
    best, value = _minimise(f, np.append(start, math.log(max(residual, 0.02))), {})
    drop = _drop(len(measured) - censored, design.shape[1])
    bounds = [_profile(f, best, value, i, drop) for i in range(1, len(best) - 1)]
    bounds.append(_spread_interval(f, best, value))
    # ln c is the intercept at L = m = 1: in a design without the centring it is a coefficient of its own
    plain = np.column_stack([np.ones(len(measured)), x])
    at_one = best.copy()
    at_one[0] -= float(centre @ best[1 : 1 + len(columns)])
    c_low, c_high = _profile(objective(measured, plain), at_one, value, 0, drop)
    exponents = {axis: Parameter(float(best[1 + i]), *bounds[i]) for i, axis in enumerate(columns)}
    s_low, s_high = bounds[-1]
    return Fit(
        series=series,
        c=Parameter(
            math.exp(at_one[0]),
            math.exp(c_low),
            math.exp(min(c_high, 700.0)) if c_high < math.inf else math.inf,
        ),
        a=exponents.get("L"),
        b=exponents.get("m"),
        spread=Parameter(math.exp(best[-1]), 0.0 if math.isinf(s_low) else math.exp(s_low), math.exp(s_high)),
        n=len(measured),
        censored=censored,
        left_out=left_out,
        log_likelihood=-value,
    )


def _middle(p: Point) -> float:
    if p.estimate is not None and p.hi is not None:
        return math.log(p.estimate[0])
    low, high = limits(p)
    if math.isinf(high):
        return low
    return high if math.isinf(low) else (low + high) / 2


def _minimise(f: Objective, start: Array, fixed: dict[int, float]) -> tuple[Array, float]:
    """(theta, value) of the minimum with some elements held; ln spread stays within its limits."""
    import numpy as np
    from scipy.optimize import minimize

    free = np.array([i for i in range(len(start)) if i not in fixed])
    full = start.copy()
    for i, v in fixed.items():
        full[i] = v

    def inner(part: Array) -> tuple[float, Array]:
        theta = full.copy()
        theta[free] = part
        value, gradient = f(theta)
        return value, gradient[free]

    spread = len(start) - 1
    limits_of = [LOG_SPREAD if i == spread else (None, None) for i in free]
    found = minimize(
        inner,
        full[free],
        jac=True,
        method="L-BFGS-B",
        bounds=limits_of,
        options={"maxiter": 500, "ftol": 1e-13},
    )
    full[free] = found.x
    return full, float(found.fun)


def _drop(n: int | None, p: int) -> float:
    """By how much the profile log-likelihood falls at the end of the interval.

    Half of the chi-squared point for many points (``n`` None). For p coefficients from n points with a
    bracket the likelihood ratio is n ln(1 + t^2 / (n - p)) with Student's t, exactly so for a normal
    regression without censoring: with few points an interval from chi-squared is much too narrow.
    """
    from scipy.special import chdtri, stdtrit  # scipy.stats, which has them too, loads for 0.7 s

    many = float(chdtri(1, 1 - LEVEL)) / 2
    if n is None:
        return many
    nu = max(1, n - p)
    return max(many, n / 2 * math.log1p(float(stdtrit(nu, (1 + LEVEL) / 2)) ** 2 / nu))


def _spread_interval(f: Objective, best: Array, value: float) -> tuple[float, float]:
    """Ends of ln spread, from the profile likelihood times spread^p for p coefficients (Cox and Reid 1987).

    The coefficients follow the points and leave them too little scatter: without that factor, which for a
    normal regression makes it the residual likelihood, the interval of 10 points holds the spread two times
    in three. Where brackets that one law passes through allow no spread at all, it reaches down to 0.
    """
    none_at_all = math.isinf(_profile(f, best, value, len(best) - 1, _drop(None, 0))[0])

    def adjusted(theta: Array) -> tuple[float, Array]:
        value, gradient = f(theta)
        shifted = gradient.copy()
        shifted[-1] -= p
        return value - p * float(theta[-1]), shifted

    p = len(best) - 1
    low, high = _profile(adjusted, *_minimise(adjusted, best, {}), p, _drop(None, 0))
    return (-math.inf if none_at_all else min(low, float(best[-1]))), max(high, float(best[-1]))


def _profile(f: Objective, best: Array, value: float, i: int, drop: float) -> tuple[float, float]:
    """Where the profile of element ``i`` has fallen by ``drop`` on either side;
    infinite where it never does.
    """
    from scipy.optimize import brentq

    is_spread = i == len(best) - 1

    def search(sign: int) -> float:
        limit = LOG_SPREAD[sign > 0] if is_spread else float(best[i]) + sign * _FARTHEST
        theta = best
        inside, step = float(best[i]), 0.05
        seen = {inside: -math.sqrt(drop)}

        def excess(v: float) -> float:
            # of the root, which is nearly linear where the profile is nearly a parabola:
            # half the steps to its zero
            nonlocal theta
            if v not in seen:
                theta, at = _minimise(f, theta, {i: v})
                seen[v] = math.sqrt(max(at - value, 0.0)) - math.sqrt(drop)
            return seen[v]

        while True:
            outside = inside + sign * step
            if sign * (outside - limit) >= 0:
                if excess(limit) < 0:
                    return sign * math.inf
                outside = limit
            if excess(outside) > 0:
                return float(brentq(excess, inside, outside, xtol=1e-4))
            inside, step = outside, step * 2

    return search(-1), search(1)


def _told(text: str, ascii: bool) -> str:
    return spelled(text) if ascii else text


def _series_dict(series: Series) -> dict[str, str]:
    return {
        "model": series.model,
        "format": series.format,
        "distribution": series.distribution,
        "task": series.family,
    }
