"""How often the 90 % intervals of a scaling law hold the truth, on designs like those of the tests.

Nothing is trained: a latent threshold tau = c L^a m^b exp(spread z) for each (L, m), N* = ceil(tau), and the
bracket that a search with rtol 0.1 leaves of it.

    python -m benchmarks.fits [--studies 400] [--first 1000]
"""

from __future__ import annotations

import argparse
import math
import random
from statistics import mean, stdev

from labtui.analysis.fits import Fit, fit
from labtui.analysis.points import Point, Series

SERIES = Series("lstm 32", "outcome", "uniform", "Z_m")
TRUTH = {"a": 1.7, "b": 2.2, "spread": 0.25}
DESIGNS = {
    "brackets": (3.0, 10**9, 10),
    "right-censored": (3.0, 10_000, 14),
    "left-censored": (3e-3, 10**9, 14),
    "small N*": (0.02, 10**9, 12),
    "36 points": (3.0, 10**9, 36),
}
"""name -> (c, N_max, points)."""
AXES = [(L, m) for L in (5, 7, 10, 14, 20, 30) for m in (2, 3, 5, 7, 10, 20)]


def left_by_search(L: int, m: int, tau: float, n_max: int, rtol: float = 0.1) -> Point:
    """The point that a log search leaves of a threshold."""
    if tau > n_max:
        return Point(SERIES, L, m, n_max, None, n_max)
    if tau <= 1:
        return Point(SERIES, L, m, 0, 1, n_max)
    n = math.ceil(tau)
    lo, hi = 1, 2
    while hi < n:
        lo, hi = hi, 2 * hi
    while hi - lo > 1 and hi / lo > 1 + rtol:
        middle = min(max(round(math.sqrt(lo * hi)), lo + 1), hi - 1)
        lo, hi = (lo, middle) if middle >= n else (middle, hi)
    return Point(SERIES, L, m, lo, hi, n_max)


def study(name: str, seed: int) -> list[Point]:
    """One draw of a design."""
    c, n_max, points = DESIGNS[name]
    rng = random.Random(seed)
    return [
        left_by_search(
            L, m, c * L ** TRUTH["a"] * m ** TRUTH["b"] * math.exp(rng.gauss(0, TRUTH["spread"])), n_max
        )
        for L, m in rng.sample(AXES, points)
    ]


def coverage(name: str, studies: int, first: int = 0) -> dict[str, float]:
    """Share of studies whose interval holds the truth, bias of the exponents with its standard error, and the
    share fitted.

    ``control`` is the share that the exact interval of the spread holds, of a normal regression on the very
    thresholds, which no search sees: by how much the draws themselves are off.
    """
    truth = TRUTH | {"c": DESIGNS[name][0]}
    hits = dict.fromkeys(truth, 0)
    off: dict[str, list[float]] = {"a": [], "b": []}
    fitted = control = 0
    for seed in range(first, first + studies):
        control += exact_spread_holds(name, seed)
        law = fit(study(name, seed))
        if not isinstance(law, Fit):
            continue
        fitted += 1
        for key, value in truth.items():
            found = getattr(law, key)
            hits[key] += found.low <= value <= found.high
            if key in off:
                off[key].append(found.value - value)
    out = {key: hits[key] / max(1, fitted) for key in truth}
    out |= {f"bias of {key}": mean(errors) for key, errors in off.items()}
    out |= {f"error of {key}": stdev(errors) / math.sqrt(fitted) for key, errors in off.items()}
    return out | {"fitted": fitted / studies, "control": control / studies}


def exact_spread_holds(name: str, seed: int) -> bool:
    """Whether the chi-squared interval of the spread holds it, where the thresholds themselves are known."""
    import numpy as np
    from scipy.special import gammaincinv

    _, _, points = DESIGNS[name]
    rng = random.Random(seed)
    axes = rng.sample(AXES, points)
    z = np.array([rng.gauss(0, TRUTH["spread"]) for _ in axes])
    design = np.array([[1.0, math.log(L), math.log(m)] for L, m in axes])
    left = z - design @ np.linalg.lstsq(design, z, rcond=None)[0]
    nu, squares = points - 3, float(left @ left) / TRUTH["spread"] ** 2
    low, high = (2 * float(gammaincinv(nu / 2, level)) for level in (0.05, 0.95))
    return low <= squares <= high


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first study")
    args = parser.parse_args()
    studies = args.studies
    columns = ("c", "a", "b", "spread")
    print(
        f"share of {studies} studies whose 90 % interval holds the truth "
        f"(noise +- {math.sqrt(0.09 / studies):.3f})"
    )
    print(
        f"{'design':<16}"
        + "".join(f"{c:>8}" for c in columns)
        + f"{'bias a':>9}{'bias b':>9}{'fitted':>8}{'control':>9}"
    )
    for name in DESIGNS:
        row = coverage(name, studies, args.first)
        print(
            f"{name:<16}"
            + "".join(f"{row[c]:>8.3f}" for c in columns)
            + f"{row['bias of a']:>+9.3f}{row['bias of b']:>+9.3f}{row['fitted']:>8.2f}"
            f"{row['control']:>9.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
