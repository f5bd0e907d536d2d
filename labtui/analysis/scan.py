"""The success curve that ``labtui scan`` measures: share of seeds that succeed at each N,
and a logistic curve through it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from labtui.analysis.threads import one_blas_thread
from store.rows import ProbeRow

LEVEL = 0.90


@dataclass(frozen=True)
class Rung:
    """One N of the ladder."""

    n: int
    seeds: int
    successes: int
    low: float
    """Of the share of succeeding seeds: the central 90 % of its posterior from a flat prior in
    arcsine (Jeffreys).
    """
    high: float
    in_fit: bool
    """False above the largest N with a success: there the curve falls again (``fails_above``)."""

    @property
    def share(self) -> float:
        return self.successes / self.seeds


@dataclass(frozen=True)
class Logistic:
    """q(N) = guess + (1 - guess - lapse) / (1 + (centre / N)^slope), by maximum likelihood."""

    guess: float
    lapse: float
    centre: float
    """N half-way between guess and 1 - lapse."""
    slope: float

    def __call__(self, n: float) -> float:
        z = min(max(self.slope * math.log(n / self.centre), -500.0), 500.0)
        return self.guess + (1 - self.guess - self.lapse) / (1 + math.exp(-z))


@dataclass(frozen=True)
class SuccessCurve:
    """A measured curve; what to draw of a scan.

    N* and N_50 with their intervals are the job's ``estimate`` and ``n50``.
    """

    points: tuple[Rung, ...]
    """In order of N."""
    fit: Logistic | None
    reason: str
    """Why there is no curve."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        f = self.fit
        return {
            "points": [
                {
                    "n": p.n,
                    "seeds": p.seeds,
                    "successes": p.successes,
                    "low": p.low,
                    "high": p.high,
                    "in_fit": p.in_fit,
                }
                for p in self.points
            ],
            "fit": {"guess": f.guess, "lapse": f.lapse, "centre": f.centre, "slope": f.slope} if f else None,
            "reason": self.reason,
        }


def success_curve(probes: Iterable[ProbeRow]) -> SuccessCurve:
    """Counts of all probes with a verdict, N by N, and the logistic curve below the failures at the top."""
    counts: dict[int, tuple[int, int]] = {}
    for p in probes:
        if p.verdict is not None and not p.speculative and p.seeds:
            seeds, successes = counts.get(p.n, (0, 0))
            counts[p.n] = (seeds + p.seeds, successes + p.successes)
    if not counts:
        return SuccessCurve((), None, "no probe with fresh seeds is done yet")
    top = max((n for n, (_, s) in counts.items() if s), default=0)
    rungs = tuple(Rung(n, k, s, *share_interval(s, k), n <= top) for n, (k, s) in sorted(counts.items()))
    used = [r for r in rungs if r.in_fit]
    if not used:
        return SuccessCurve(rungs, None, f"no seed succeeded at any of {len(rungs)} N")
    if all(r.successes == r.seeds for r in used):
        return SuccessCurve(rungs, None, "every seed succeeded: the curve lies below the smallest N")
    if len(used) < 3:
        return SuccessCurve(rungs, None, f"{len(used)} N below the failures at the top; expected at least 3")
    return SuccessCurve(rungs, _fit(used), "")


def share_interval(successes: int, seeds: int) -> tuple[float, float]:
    """Central 90 % of Beta(s + 1/2, k - s + 1/2); an end is 0 or 1 where no or every seed succeeded."""
    with one_blas_thread():
        from scipy.stats import beta

    tail = (1 - LEVEL) / 2
    a, b = successes + 0.5, seeds - successes + 0.5
    low = 0.0 if successes == 0 else float(beta.ppf(tail, a, b))
    high = 1.0 if successes == seeds else float(beta.ppf(1 - tail, a, b))
    return low, high


def _fit(rungs: list[Rung]) -> Logistic:
    with one_blas_thread():
        import numpy as np
        from scipy.optimize import minimize
        from scipy.special import expit

    x = np.log([r.n for r in rungs])
    s = np.array([r.successes for r in rungs], dtype=np.float64)
    f = np.array([r.seeds - r.successes for r in rungs], dtype=np.float64)

    def minus_log_likelihood(theta: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        centre, log_slope, guess, lapse = theta
        q = np.clip(guess + (1 - guess - lapse) * expit(math.exp(log_slope) * (x - centre)), 1e-9, 1 - 1e-9)
        return -float(s @ np.log(q) + f @ np.log1p(-q))

    span = (float(x[0]) - 1.0, float(x[-1]) + 1.0)
    bounds = [span, (math.log(0.3), math.log(60.0)), (0.0, 0.3), (0.0, 0.45)]
    starts = [(c, k, 0.01, 0.05) for c in np.linspace(*span, 7)[1:-1] for k in (0.5, 2.0)]
    found = [minimize(minus_log_likelihood, start, method="L-BFGS-B", bounds=bounds) for start in starts]
    best = min(found, key=lambda r: float(r.fun)).x
    return Logistic(float(best[2]), float(best[3]), math.exp(best[0]), math.exp(best[1]))
