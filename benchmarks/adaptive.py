"""Does the 90 % interval of ``adaptive`` hold N* 90 % of the time,
and what does it cost beside repeated bisections?

Simulated oracles with a known curve q(N); nothing is trained. The posterior and the design are the ones of
``runners.search``, run on many oracles at once on one fixed grid (a replay refines its grid per job,
which changes nothing that is visible here: tests/search runs the real ``replay``).

    python benchmarks/adaptive.py [--oracles 2000] [--seed 0]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from runners.search.adaptive import MIN_OPENING_SEEDS
from runners.search.design import BATCHES, PROBE_COST, SUCCESS_COST, gain_per_cost
from runners.search.family import Array, Family, q_star
from runners.search.posterior import ABOVE, BELOW

K_SEEDS = 5
N_MAX = 16_384
RELATIVE_WIDTH = 0.5
SEED_BUDGET = 200
CHUNK = 250
REPEATS = 100

Index: TypeAlias = np.ndarray[tuple[Any, ...], np.dtype[np.int64]]
Curve = Callable[[Array], Array]
"""log N [..., B] -> q [..., B] of B oracles."""


@dataclass(frozen=True)
class Oracles:
    """B curves with their true log N*."""

    name: str
    q: Curve
    log_nstar: Array
    labels: dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]
    """Strata that are reported apart."""

    @property
    def count(self) -> int:
        return len(self.log_nstar)


def family_oracles(count: int, rng: np.random.Generator, k: int = K_SEEDS) -> Oracles:
    """Curves of the model's own family with continuous parameters, not those of the grid."""
    t = rng.uniform(math.log(4), math.log(N_MAX / 8), count)
    s = np.exp(rng.uniform(math.log(0.025), math.log(1.3), count))
    g = np.where(rng.random(count) < 0.6, 0.0, rng.uniform(0, 0.4, count)) * q_star(k)
    lapse = np.where(rng.random(count) < 0.5, 0.0, rng.uniform(0, 0.3, count))
    top = (q_star(k) - g) / (1 - g - lapse)
    u = np.log(top / (1 - top))

    def q(x: Array) -> Array:
        return np.asarray(g + (1 - g - lapse) / (1 + np.exp(-np.clip((x - t) / s + u, -500, 500))))

    labels = {
        "sharp (q 0.1..0.9 within x2)": s < 0.16,
        "middle (x2 to x10)": (s >= 0.16) & (s < 0.52),
        "flat (beyond x10)": s >= 0.52,
        "no lapse": lapse == 0,
        "lapse > 0.1": lapse > 0.1,
        "no guess": g == 0,
        "guess > 0": g > 0,
    }
    return Oracles("own family", q, t, labels)


def other_shapes(count: int, rng: np.random.Generator, k: int = K_SEEDS) -> list[Oracles]:
    """Curves that the model cannot represent, with N* where q = q*."""
    t = rng.uniform(math.log(4), math.log(N_MAX / 8), count)
    s = np.exp(rng.uniform(math.log(0.08), math.log(0.8), count))
    target = q_star(k)

    def gompertz(x: Array) -> Array:
        return np.asarray(-np.expm1(-np.exp(np.clip((x - t) / s, -50, 50)) * -math.log1p(-target)))

    def late(x: Array) -> Array:  # a long foot and an abrupt end: the mirror of the above
        return np.asarray(np.exp(-np.exp(-np.clip((x - t) / s, -50, 50)) * -math.log(target)))

    def step(x: Array) -> Array:
        return np.where(x >= t - 1e-9, 0.95, 0.0)

    def plateau(x: Array) -> Array:  # 30 % of the seeds early, the rest a factor of exp(1.5) later
        a = 0.3 / (1 + np.exp(-np.clip((x - t) / 0.1 + math.log(target / (0.3 - target)), -500, 500)))
        return np.asarray(a + 0.7 / (1 + np.exp(-np.clip((x - t - 1.5) / 0.1, -500, 500))))

    def dip(x: Array) -> Array:  # q falls again far above: short lengths are exhausted there
        rise = 1 / (1 + np.exp(-np.clip((x - t) / s + math.log(target / (1 - target)), -500, 500)))
        return np.asarray(rise * (1 - 0.6 / (1 + np.exp(-np.clip((x - t - 5 * s - 1.5) / 0.3, -500, 500)))))

    shapes = [
        ("Gompertz", gompertz),
        ("mirrored Gompertz", late),
        ("step to 0.95", step),
        ("plateau at 0.3", plateau),
        ("falls to 0.4 far above", dip),
    ]
    return [Oracles(name, q, _root(q, t, target), {}) for name, q in shapes]


def _root(q: Curve, near: Array, target: float) -> Array:
    low, high = near - 3.0, near + 0.7
    for _ in range(60):
        middle = (low + high) / 2
        above = q(middle) >= target
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray(high)


@dataclass(frozen=True)
class Answers:
    """What ``adaptive`` found, [B] each."""

    value: Array
    low: Array
    high: Array
    seeds: Array
    probes: Array
    cost: Array
    """Training in units of a failing seed, probes' own cost left out."""
    valid: np.ndarray[tuple[int], np.dtype[np.bool_]]
    """The opening succeeded at N_max."""


def simulate(oracles: Oracles, rng: np.random.Generator, relative_width: float = RELATIVE_WIDTH) -> Answers:
    """The strategy on all oracles at once."""
    parts = [
        _simulate(oracles, np.arange(i, min(i + CHUNK, oracles.count)), rng, relative_width)
        for i in range(0, oracles.count, CHUNK)
    ]
    return Answers(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _simulate(
    oracles: Oracles, which: Index, rng: np.random.Generator, relative_width: float
) -> tuple[Any, ...]:
    family = Family(K_SEEDS)
    step = 0.06
    t = np.arange(-BELOW, math.log(N_MAX) + ABOVE, step)
    n = np.unique(np.round(np.exp(np.arange(0, math.log(N_MAX) + 1e-9, 0.12))).clip(1, N_MAX))
    log_n = np.log(np.append(n[:-1], N_MAX))
    table = family.q(log_n, t)
    log_up, log_down = np.log(table), np.log1p(-table)
    B, X = len(which), len(log_n)
    truth = oracles.q(np.repeat(log_n[:, None], oracles.count, axis=1))[:, which].T  # [B, X]
    log_w = np.broadcast_to(family.log_prior, (B, len(t), len(family.log_prior))).copy()
    seeds, probes, cost = np.zeros(B), np.zeros(B), np.zeros(B)
    result = np.ones((B, 3))

    def observe(rows: Index, x: Index, m: Index) -> Index:
        s = rng.binomial(m, truth[rows, x])
        log_w[rows] += s[:, None, None] * log_up[x] + (m - s)[:, None, None] * log_down[x]
        seeds[rows] += m
        probes[rows] += 1
        cost[rows] += (m - s) + SUCCESS_COST * s
        return np.asarray(s)

    rows = np.arange(B)
    opening = max(MIN_OPENING_SEEDS, K_SEEDS)
    valid = observe(rows, np.full(B, X - 1), np.full(B, opening)) > 0
    active = rows[valid]
    edges = np.append(t - step / 2, t[-1] + step / 2)
    while len(active):
        w = np.exp(log_w[active] - log_w[active].max(axis=(1, 2), keepdims=True))
        w /= w.sum(axis=(1, 2), keepdims=True)
        cdf = np.concatenate((np.zeros((len(active), 1)), np.cumsum(w.sum(axis=2), axis=1)), axis=1)
        q05, q50, q95 = (np.exp(np.array([np.interp(p, c, edges) for c in cdf])) for p in (0.05, 0.5, 0.95))
        result[active] = np.stack([q50, q05, q95], axis=1).clip(1)
        width = (result[active, 2] - result[active, 1]) / result[active, 0]
        on = (width > relative_width) & (seeds[active] < SEED_BUDGET)
        active, w = active[on], w[on]
        if not len(active):
            break
        score = gain_per_cost(w, t, table, BATCHES).reshape(len(active), -1)
        best = score.argmax(axis=1)
        x, m = best // len(BATCHES), np.array(BATCHES)[best % len(BATCHES)]
        observe(active, x, np.minimum(m, SEED_BUDGET - seeds[active]).astype(np.int64))
    return result[:, 0], result[:, 1], result[:, 2], seeds, probes, cost, valid


def bisect(
    oracles: Oracles, rng: np.random.Generator, repeats: int = REPEATS, rtol: float = 0.1
) -> tuple[Array, Array, Array]:
    """``log`` with fresh seeds, ``repeats`` times on every oracle:
    (log hi, training, probes), [repeats, B] each.
    """
    shape = (repeats, oracles.count)
    lo, hi = np.zeros(shape), np.full(shape, float(N_MAX))
    cost, probes = np.zeros(shape), np.zeros(shape)
    n = hi.copy()
    active = np.ones(shape, dtype=bool)
    while active.any():
        q = oracles.q(np.log(n))
        success = rng.random(shape) < 1 - (1 - q) ** K_SEEDS
        cost += active * K_SEEDS * np.where(success, SUCCESS_COST, 1.0)
        probes += active
        hi = np.where(active & success, n, hi)
        lo = np.where(active & ~success & (n < hi), n, lo)
        active &= ~((hi - lo <= 1) | ((lo > 0) & (hi <= lo * (1 + rtol))))
        middle = np.clip(np.round(np.sqrt(lo * hi)), lo + 1, np.maximum(hi - 1, lo + 1))
        n = np.where(lo == 0, np.maximum(1, hi // 2), middle)
    return np.log(hi), cost, probes


def strata(oracles: Oracles, a: Answers) -> dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Which oracles each row is over; those whose opening failed at N_max are left out
    (the walk down is not simulated).
    """
    rows = {"all": np.ones(oracles.count, dtype=bool)} | oracles.labels
    return {name: mask & a.valid for name, mask in rows.items()}


COLUMNS = ("bias", 7), ("spread", 8), ("width", 7), ("seeds", 7), ("probes", 8), ("training", 10)
HEAD = f"  {'curves':<46}{'count':>6}  {'90 % holds':<13}" + "".join(
    f"{name:>{wide}}" for name, wide in COLUMNS
)


def coverage(oracles: Oracles, a: Answers) -> str:
    """Share of intervals that hold N*, bias and spread of the estimate, median width and seeds,
    mean probes and training.
    """
    inside = (np.log(a.low) <= oracles.log_nstar) & (oracles.log_nstar <= np.log(a.high))
    error = np.log(a.value) - oracles.log_nstar
    width = np.log(a.high / a.low)
    out = []
    for name, m in strata(oracles, a).items():
        c = inside[m].mean()
        noise = math.sqrt(c * (1 - c) / m.sum())
        out.append(
            f"  {oracles.name + ': ' + name:<46}{m.sum():>6}  {100 * c:5.1f} +- {100 * noise:3.1f}"
            f"{error[m].mean():>+8.3f}{error[m].std():>8.3f}{np.median(width[m]):>7.2f}"
            f"{np.median(a.seeds[m]):>7.0f}{a.probes[m].mean():>8.1f}{a.cost[m].mean():>10.1f}"
        )
    return "\n".join(out)


def against_bisection(oracles: Oracles, a: Answers, rng: np.random.Generator) -> str:
    """Bias and spread of one bisection, and what repeating it costs until its mean is as narrow as
    adaptive's interval.
    """
    log_hi, cost, probes = bisect(oracles, rng)
    spread = log_hi.std(axis=0)
    bias = log_hi.mean(axis=0) - oracles.log_nstar
    width = np.where(a.valid, np.log(a.high / a.low), 1.0)
    needed = np.maximum(1, np.ceil((2 * 1.645 * spread / width) ** 2))
    theirs = needed * cost.mean(axis=0), needed * (cost + PROBE_COST * probes).mean(axis=0)
    mine = a.cost, a.cost + PROBE_COST * a.probes
    lines = [
        f"  {'':<31}{'one bisection':>16}{'repeated':>27}{'adaptive':>19}{'adaptive/repeated':>20}",
        f"  {'':<31}{'bias':>8}{'spread':>8}{'times':>9}{'training':>9}{'+probes':>9}"
        f"{'training':>10}{'+probes':>9}{'training':>11}{'+probes':>9}",
    ]
    for name, m in strata(oracles, a).items():
        r, r_all, x, x_all = (v[m].mean() for v in (*theirs, *mine))
        lines.append(
            f"  {name:<31}{bias[m].mean():>+8.3f}{spread[m].mean():>8.3f}{needed[m].mean():>9.1f}"
            f"{r:>9.1f}{r_all:>9.1f}{x:>10.1f}{x_all:>9.1f}{x / r:>11.2f}{x_all / r_all:>9.2f}"
        )
    m = a.valid
    error = np.log(a.value[m]) - oracles.log_nstar[m]
    b, s = bias[m], spread[m]
    lines.append(
        f"  one answer of adaptive : bias {error.mean():+.3f}, root mean square error {_rms(error):.3f}"
    )
    lines.append(
        f"  one bisection          : bias {b.mean():+.3f}, root mean square error "
        f"{np.sqrt(_rms(b) ** 2 + _rms(s) ** 2):.3f}"
    )
    lines.append(f"  bisections without end : root mean square of the bias that stays {_rms(b):.3f}")
    return "\n".join(lines)


def _rms(x: Array) -> float:
    return float(np.sqrt(np.mean(x * x)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--oracles", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    start = time.perf_counter()
    print(
        f"k = {K_SEEDS} seeds, N_max = {N_MAX}, relative width {RELATIVE_WIDTH}, seed budget {SEED_BUDGET}\n"
        "errors and widths in log N; training in units of a failing seed "
        f"(a succeeding one: {SUCCESS_COST}), +probes: {PROBE_COST} more for each probe"
    )
    print(HEAD)
    own = family_oracles(args.oracles, rng)
    answers = simulate(own, rng)
    print(coverage(own, answers), flush=True)
    for shape in other_shapes(max(100, args.oracles // 5), rng):
        print(coverage(shape, simulate(shape, rng)), flush=True)
    print(
        "\nlog bisection with fresh seeds on the same curves, "
        "and as many as make their mean as narrow as adaptive's interval"
    )
    print(against_bisection(own, answers, rng))
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
