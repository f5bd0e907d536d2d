"""Log-normal likelihood of N* = c L^a m^b with a spread, interval-censored;
numpy and scipy load when it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from labtui.analysis.points import Point

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

LOG_SPREAD = (math.log(1e-3), math.log(20.0))
"""Where ln(spread) may lie: brackets that one line passes through all would drive it to minus infinity."""
_Z90 = 1.6448536269514722
_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)

Objective: TypeAlias = "Callable[[Array], tuple[float, Array]]"
"""theta [p + 1] = (coefficients [p], ln spread) -> (minus log-likelihood, its gradient)."""


def limits(point: Point) -> tuple[float, float]:
    """(lower, upper) end of ln tau, the threshold with N* = ceil(tau): tau in (lo, hi], or tau > n_max."""
    if point.hi is None:
        return math.log(point.n_max), math.inf
    return (math.log(point.lo) if point.lo else -math.inf), math.log(point.hi)


def objective(points: Sequence[Point], design: Array) -> Objective:
    """Minus the log-likelihood of coefficients and ln spread.

    A bracket is Phi((ln hi - mu) / s) - Phi((ln lo - mu) / s), one side of it where censored;
    an adaptive estimate is a normal with its own width added to the spread.

    Args:
        points: n of them.
        design: [n, p], so that mu = design @ coefficients.
    """
    import numpy as np
    from scipy.special import log_ndtr

    measured = np.array([p.estimate is not None and p.hi is not None for p in points])
    values = np.array([math.log(p.estimate[0]) if p.estimate else 0.0 for p in points])
    widths = np.array(
        [math.log(p.estimate[2] / p.estimate[1]) / (2 * _Z90) if p.estimate else 0.0 for p in points]
    )
    rest = ~measured
    ends = np.array([limits(p) for p in points], dtype=np.float64).reshape(-1, 2)[rest]
    values, squares = values[measured], widths[measured] ** 2
    below, above = np.isinf(ends[:, 0]), np.isinf(ends[:, 1])

    def bracketed(mu: Array, s: float) -> tuple[Array, Array, Array]:
        """(log-likelihood, its derivatives by mu and by ln s) of each bracket."""
        a, b = (ends[:, 0] - mu) / s, (ends[:, 1] - mu) / s
        flip = a > 0  # in the upper tail both terms round to 1: mirror it
        x, y = np.where(flip, -b, a), np.where(flip, -a, b)
        log_x, log_y = log_ndtr(x), log_ndtr(y)
        log_mass = log_y + np.log(np.maximum(-np.expm1(np.minimum(log_x - log_y, 0.0)), 1e-300))
        at_a = np.exp(np.clip(_log_pdf(a) - log_mass, -700, 700))
        at_b = np.exp(np.clip(_log_pdf(b) - log_mass, -700, 700))
        a[below] = b[above] = at_a[below] = at_b[above] = 0.0
        return log_mass, (at_a - at_b) / s, a * at_a - b * at_b

    def minus_log_likelihood(theta: Array) -> tuple[float, Array]:
        mu, s = design @ theta[:-1], math.exp(theta[-1])
        value, by_mu, by_log_s = np.zeros(len(mu)), np.zeros(len(mu)), np.zeros(len(mu))
        value[rest], by_mu[rest], by_log_s[rest] = bracketed(mu[rest], s)
        variance = s * s + squares
        r = values - mu[measured]
        value[measured] = -0.5 * (r * r / variance + np.log(2 * math.pi * variance))
        by_mu[measured] = r / variance
        by_log_s[measured] = (r * r / variance - 1) * s * s / variance
        return -float(value.sum()), -np.append(design.T @ by_mu, by_log_s.sum())

    return minus_log_likelihood


def _log_pdf(z: Array) -> Array:
    return -0.5 * z * z - _LOG_ROOT_2PI
