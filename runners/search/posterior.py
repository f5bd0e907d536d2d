"""What a set of counts says of N* and N_50: posterior on a grid, refined where its mass is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from runners.search.family import Array, Family
from runners.search.types import Interval

BELOW, ABOVE = 1.0, 2.0
"""How far, in units of log N, N* may lie below 1 and above the largest N:
the mass there says how surely it does.
"""
COARSE, FINE = 0.1, 200
"""Step of the first pass in log N; points of the second."""


@dataclass(frozen=True)
class Posterior:
    """Weights over (t, nuisance)."""

    family: Family
    t: Array
    """[T] locations log N*, evenly spaced."""
    weights: Array
    """[T, K], sum 1."""

    @property
    def marginal(self) -> Array:
        """[T], of t."""
        return np.asarray(self.weights.sum(axis=1))

    def quantiles(self, *levels: float) -> list[float]:
        """Of t; mass is spread evenly over each cell."""
        step = self.t[1] - self.t[0]
        edges = np.append(self.t - step / 2, self.t[-1] + step / 2)
        cdf = np.concatenate(([0.0], np.cumsum(self.marginal)))
        return [float(x) for x in np.interp(levels, cdf / cdf[-1], edges)]

    def n_star(self) -> Interval:
        """N* with its 90 % interval, in sequences, at least 1."""
        low, value, high = (max(1.0, math.exp(x)) for x in self.quantiles(0.05, 0.5, 0.95))
        return Interval(value, low, high)

    def n50(self) -> Interval:
        """N_50 with its 90 % interval."""
        log_n50 = (self.t[:, None] + self.family.n50_shift).ravel()
        order = np.argsort(log_n50, kind="stable")
        w = self.weights.ravel()[order]
        cdf = np.cumsum(w) - w / 2
        low, value, high = (
            max(1.0, math.exp(x)) for x in np.interp((0.05, 0.5, 0.95), cdf / cdf[-1], log_n50[order])
        )
        return Interval(value, low, high)

    def mass_above(self, n: int) -> float:
        """P(N* > n)."""
        return float(self.marginal[self.t > math.log(n)].sum())


def posterior(family: Family, counts: Mapping[int, tuple[int, int]], n_top: int) -> Posterior:
    """Posterior after ``counts``: N -> (seeds, successes),
    for an N* uniform in log N from below 1 to above ``n_top``.
    """
    low, high = -BELOW, math.log(n_top) + ABOVE
    coarse = _on_grid(family, counts, np.linspace(low, high, math.ceil((high - low) / COARSE) + 1))
    marginal = coarse.marginal
    inside = np.flatnonzero(marginal > 1e-6 * marginal.max())
    step = coarse.t[1] - coarse.t[0]
    low = max(low, float(coarse.t[inside[0]] - 2 * step))
    high = min(high, float(coarse.t[inside[-1]] + 2 * step))
    return _on_grid(family, counts, np.linspace(low, high, FINE))


def _on_grid(family: Family, counts: Mapping[int, tuple[int, int]], t: Array) -> Posterior:
    n = np.array(sorted(counts), dtype=np.float64)
    seeds = np.array([counts[int(x)][0] for x in n], dtype=np.float64)
    successes = np.array([counts[int(x)][1] for x in n], dtype=np.float64)
    log_w = family.log_likelihood(np.log(n), t, successes, seeds - successes) + family.log_prior
    w = np.exp(log_w - log_w.max())
    return Posterior(family, t, w / w.sum())
