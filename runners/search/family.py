"""The curve q(N) = P(a fresh seed succeeds): logistic in log N with guess and lapse,
on a grid of its parameters.

q(N) = g + (1 - g - l) expit((log N - t) / s + u), with u such that q = q* at log N = t: the location t *is*
log N*. A grid of k seeds has its N* where q* = 1 - 2^(-1/k), the N at which the whole grid succeeds with
probability 1/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"

SCALES = tuple(float(s) for s in np.geomspace(0.025, 1.3, 9))
"""s in units of log N: q goes from 0.1 to 0.9 within a factor of exp(4.4 s), that is 1.1 to 300."""
TILT = 0.25
"""The prior of s is s^TILT, log-uniform but for that: a search stops when its interval is narrow, so curves
that only look sharp stop it too early, and with TILT = 0 the intervals of middling and flat ones held N* 86 %
of the time."""
GUESSES = ((0.0, 0.55), (0.14, 0.2), (0.35, 0.25))
"""(g / q*, prior): luck that needs no data."""
LAPSES = ((0.0, 0.5), (0.08, 0.25), (0.22, 0.25))
"""(l, prior): seeds that fail whatever N is."""
EPS = 1e-9


def q_star(k: int) -> float:
    """P(a seed succeeds) at N* of a grid with k seeds: 0.129 for k = 5."""
    return -math.expm1(-math.log(2) / k)


def _logit(p: Array) -> Array:
    return np.asarray(np.log(p) - np.log1p(-p))


@dataclass(frozen=True)
class Family:
    """The nuisance parameters (s, g, l), flattened to K combinations, for a grid of k seeds."""

    k: int

    @cached_property
    def _columns(self) -> tuple[Array, Array, Array, Array]:
        rows = [
            (s, g * q_star(self.k), lapse, s**TILT * pg * pl)
            for s in SCALES
            for g, pg in GUESSES
            for lapse, pl in LAPSES
        ]
        s, g, lapse, prior = np.array(rows, dtype=np.float64).T
        return s, g, lapse, np.asarray(prior / prior.sum())

    @property
    def log_prior(self) -> Array:
        """[K], of the combinations; t is uniform."""
        return np.asarray(np.log(self._columns[3]))

    @cached_property
    def _offset(self) -> Array:
        _, g, lapse, _ = self._columns
        return _logit((q_star(self.k) - g) / (1 - g - lapse))

    @cached_property
    def n50_shift(self) -> Array:
        """[K], log N_50 - log N*."""
        s, g, lapse, _ = self._columns
        return np.asarray(s * (_logit((0.5 - g) / (1 - g - lapse)) - self._offset))

    def q(self, log_n: Array, t: Array) -> Array:
        """[X, T, K] from log N [X] and locations t [T];
        kept off 0 and 1, so that no outcome is impossible.
        """
        s, g, lapse, _ = self._columns
        z = (log_n[:, None, None] - t[None, :, None]) / s + self._offset
        q = g + (1 - g - lapse) / (1 + np.exp(-np.clip(z, -500, 500)))
        return np.asarray(np.clip(q, EPS, 1 - EPS))

    def log_likelihood(self, log_n: Array, t: Array, successes: Array, failures: Array) -> Array:
        """[T, K] from the counts at each N, [X] each."""
        q = self.q(log_n, t)
        return np.asarray(
            np.einsum("x,xtk->tk", successes, np.log(q)) + np.einsum("x,xtk->tk", failures, np.log1p(-q))
        )
