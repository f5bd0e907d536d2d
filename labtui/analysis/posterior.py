"""Monte Carlo over what is known of each N*: kappa's interval where searches were adaptive."""

from __future__ import annotations

import math
from collections.abc import Sequence

from labtui.analysis.threads import one_blas_thread

Spread = tuple[tuple[float, float, float], bool]
"""((value, low, high), whether low..high is a 90 % interval;
else a bracket, all of it equally likely in log N).
"""

DRAWS = 20_000
_Z90 = 1.6448536269514722  # 5 % lie above it in a standard normal


def ratio_interval(
    parts: Sequence[Spread], joint: Spread, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """5 % and 95 % points of (sum of the parts) / joint, all independent.

    A 90 % interval is read as a normal in log N with its own width on either side of the median,
    which is what the posterior of an adaptive search looks like; the draws are the same at every call.
    """
    with one_blas_thread():
        import numpy as np

    rng = np.random.default_rng(seed)

    def draw(spread: Spread) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        (value, low, high), is_interval = spread
        if not is_interval:
            return (
                np.exp(rng.uniform(np.log(low), np.log(high), draws))
                if high > low
                else np.full(draws, float(low))
            )
        z = rng.standard_normal(draws)
        scale = np.where(z > 0, math.log(high / value), math.log(value / low)) / _Z90
        return np.asarray(np.exp(np.log(value) + z * scale))

    total = np.zeros(draws)
    for part in parts:
        total += draw(part)
    low, high = np.quantile(total / draw(joint), (0.05, 0.95))
    return float(low), float(high)
