"""How a search with fresh seeds closes in: the 90 % interval of its N* after each candidate.

A bisection is told by its bracket, which ``runners.verdict`` has from the verdicts alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

from runners.strategies import FRESH_SEEDS
from store.json import mapping
from store.rows import JobRow, ProbeRow

Estimate: TypeAlias = "tuple[float, float, float]"
"""N* with the ends of its 90 % interval, in sequences."""
MOST = 400
"""Candidates of one search that are drawn at most; a spec allows 200."""


def intervals(job: JobRow, probes: Sequence[ProbeRow], spec: str) -> tuple[Estimate | None, ...]:
    """The estimate of N* after each candidate, None before there is one; empty for a bisection.

    Args:
        job: the search.
        probes: its candidates in order.
        spec: JSON of its spec; a damaged one gives nothing.
    """
    grid = mapping(spec).get("grid")
    seeds = grid.get("seeds") if isinstance(grid, dict) else None
    if job.strategy not in FRESH_SEEDS or not isinstance(seeds, list) or len(probes) > MOST:
        return ()
    counts: dict[int, tuple[int, int]] = {}
    out: list[Estimate | None] = []
    for p in probes:
        if p.verdict is not None and not p.speculative and 0 < p.n <= job.n_max and p.successes <= p.seeds:
            tried, learned = counts.get(p.n, (0, 0))
            counts[p.n] = (tried + p.seeds, learned + p.successes)
        told = tuple((n, *c) for n, c in sorted(counts.items()))
        out.append(_estimate(len(seeds), job.strategy, job.n_max, told))
    return tuple(out)


@lru_cache(maxsize=1024)
def _estimate(
    seeds: int, strategy: str, n_max: int, told: tuple[tuple[int, int, int], ...]
) -> Estimate | None:
    """The same counts are never weighed twice; numpy is loaded by the first."""
    if not any(learned for _, _, learned in told):
        return None
    from runners.search.adaptive import opening_n
    from runners.search.family import Family
    from runners.search.posterior import posterior

    counts = {n: (tried, learned) for n, tried, learned in told}
    top = max(n for n, _, learned in told if learned)
    if strategy == "adaptive":
        opened, _ = opening_n(n_max, counts)
        if opened is None:
            return None
        top = opened
    try:
        below = {n: c for n, c in counts.items() if n <= top}
        return posterior(Family(max(1, seeds)), below, top).n_star().as_tuple()
    except (ArithmeticError, ValueError):  # counts that no search of ours has stored
        return None
