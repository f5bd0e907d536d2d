"""Which N to train next, and with how many fresh seeds:
what narrows log N* most per unit of training, one step ahead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from runners.search.family import Array
from runners.search.posterior import Posterior

BATCHES = (1, 2, 4, 8)
"""Numbers of fresh seeds that a probe may have."""
SUCCESS_COST = 0.35
"""Training that a succeeding seed needs, of a failing one's:
it stops at its first success (measured: 1/1.8 to 1/3.6).
"""
PROBE_COST = 1.0
"""What each probe costs beside its seeds, in failing seeds:
data, start, and seeds that could have shared its batch.
"""
POINTS = 24
"""Candidates that are weighed."""
LOCATIONS, NEGLIGIBLE = 60, 1e-3
"""Which N is best is decided on a thinner grid than the answer:
points of t, and mass of nuisance parameters left out.
"""


def choose(post: Posterior, n_top: int, most_seeds: int) -> tuple[int, int]:
    """Choose (N, number of fresh seeds), at most ``most_seeds`` and N in 1..n_top."""
    candidates = _candidates(post, n_top)
    batches = [m for m in BATCHES if m <= most_seeds] or [1]
    weights, t = _thin(post)
    log_n = np.log(np.array(candidates, dtype=np.float64))
    kept = np.flatnonzero(weights.sum(axis=0) > NEGLIGIBLE)
    weights, q = weights[:, kept], post.family.q(log_n, t)[:, :, kept]
    score = gain_per_cost(weights[None] / weights.sum(), t, q, batches)[0]
    x, m = np.unravel_index(int(np.argmax(score)), score.shape)
    return candidates[x], batches[m]


def _thin(post: Posterior) -> tuple[Array, Array]:
    """(weights [T', K], t [T']) of the posterior where its mass is, on at most LOCATIONS points."""
    marginal = post.marginal
    inside = np.flatnonzero(marginal > 1e-4 * marginal.max())
    first, last = int(inside[0]), int(inside[-1]) + 1
    starts = np.arange(first, last, max(1, math.ceil((last - first) / LOCATIONS)))
    weights = np.add.reduceat(post.weights[:last], starts, axis=0)
    ends = np.append(starts[1:], last) - 1
    return np.asarray(weights), np.asarray((post.t[starts] + post.t[ends]) / 2)


def _candidates(post: Posterior, n_top: int) -> list[int]:
    low, high = post.quantiles(0.005, 0.995)
    # Seeds are most telling where q is in the middle, which is above t by up to N_50's shift and more.
    high += float(np.quantile(post.family.n50_shift, 0.75)) + 0.5
    top = math.log(n_top)
    low, high = min(max(low - 0.25, 0.0), top), min(max(high, 0.0), top)
    return sorted({min(max(round(math.exp(x)), 1), n_top) for x in np.linspace(low, high, POINTS)})


def gain_per_cost(weights: Array, t: Array, q: Array, batches: Sequence[int]) -> Array:
    """Expected fall of the standard deviation of t per unit of training.

    Args:
        weights: [B, T, K], each of B posteriors sums to 1.
        t: [T].
        q: [X, T, K], P(a seed succeeds) at each of X candidates.
        batches: M numbers of seeds.

    Returns:
        [B, X, M].
    """
    B, X = weights.shape[0], q.shape[0]
    moments = np.stack([np.ones_like(t), t, t * t])  # [3, T]
    mass = weights.sum(axis=2)  # [B, T]
    now = _deviation(np.einsum("bt,rt->br", mass, moments))
    by_location = np.ascontiguousarray(weights.transpose(1, 0, 2))  # [T, B, K]
    success = np.matmul(by_location, q.transpose(1, 2, 0))  # [T, B, X]
    mean_q = success.sum(axis=0)
    gains = np.empty((B, X, len(batches)))
    most = max(batches)
    up, down = [np.ones_like(q)], [np.ones_like(q)]
    for _ in range(most):
        up.append(up[-1] * q)
        down.append(down[-1] * (1 - q))
    for i, m in enumerate(batches):
        expected = np.zeros((B, X))
        for s in range(m + 1):
            joint = math.comb(m, s) * np.matmul(
                by_location, (up[s] * down[m - s]).transpose(1, 2, 0)
            )  # [T, B, X]
            r = np.tensordot(joint, moments, axes=(0, 1))  # [B, X, 3]
            expected += r[..., 0] * _deviation(r)
        gains[:, :, i] = (now[:, None] - expected) / (PROBE_COST + m * (1 - (1 - SUCCESS_COST) * mean_q))
    return gains


def _deviation(moments: Array) -> Array:
    """Standard deviation from (mass, first, second moment) along the last axis."""
    mass = np.maximum(moments[..., 0], 1e-300)
    mean = moments[..., 1] / mass
    return np.asarray(np.sqrt(np.maximum(moments[..., 2] / mass - mean * mean, 0.0)))
