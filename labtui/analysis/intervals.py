"""90 % intervals of N*, kappa and an accuracy, where there are any, and else why not.

What a bisection leaves open is none: its brackets say nothing of how N* scatters over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from labtui.analysis.kappa import Kappa
from labtui.views import numbers
from runners.spec import Job
from runners.strategies import STRATEGIES
from runners.verdict import WALK_DOWN, diverged
from store.rows import NStar

Z90 = 1.6448536269514722
"""5 % of a standard normal lie above it."""
LEVEL = 0.90
WALK = 1 + len(WALK_DOWN)
"""Candidates that a search which walks down fails at: N_max, / 2, / 4 and / 8 (docs/science.md, N* and the
search).
"""
OPENING_SEEDS = 3
"""The least that ``adaptive`` tries at each of these."""
ONE_BISECTION = f"one bisection, {numbers.SCATTER}"


@dataclass(frozen=True)
class Interval:
    """A 90 % interval; where ``why`` is told there is none."""

    low: float = 0.0
    high: float = math.inf
    why: str = ""

    def inside(self, low: float, high: float) -> bool | None:
        """Whether all of it lies in [low, high]: True; none of it: False; else None."""
        if self.why:
            return None
        if low <= self.low and self.high <= high:
            return True
        return False if self.high < low or self.low > high else None


def below(a: Interval, b: Interval) -> bool | None:
    """Whether ``a`` lies wholly below ``b``; None where they touch or one of them is none."""
    if a.why or b.why:
        return None
    return True if a.high < b.low else False if b.high < a.low else None


def of_nstar(part: NStar, job: Job | None) -> Interval:
    """The posterior's of an adaptive search; a lower end of one that failed on its whole walk down.

    Args:
        job: its spec; None where it cannot be read.
    """
    if part.state != "done" or part.status == "open":
        return Interval(why=f"job {part.job_id} is {'not decided' if part.state == 'done' else part.state}")
    if diverged(part):
        return Interval(why=f"job {part.job_id}: all trials diverged")
    censored = part.status == "censored"
    if part.estimate is not None:
        return Interval(part.estimate[1], math.inf if censored else part.estimate[2])
    if censored and job is not None and (least := least_nstar(job)):
        return Interval(least)
    if censored:
        return Interval(why=f"job {part.job_id} failed at N_max = {part.n_max} with one grid alone")
    return Interval(why=ONE_BISECTION)


def least_nstar(job: Job) -> float:
    """What N* of a search without any success is above, at 90 %; 0: nothing is known of it.

    A grid of k seeds fails at its N* and above at most every second time, so s seeds with 0.5^(s / k). The
    walk down has failed at N_max, / 2, / 4 and / 8; N* lies above the first of these at and above which
    enough seeds have failed.
    """
    strategy = STRATEGIES[job.search.strategy]
    if not strategy.walks_down:
        return 0.0
    seeds = len(job.grid.seeds)
    each = max(seeds, OPENING_SEEDS) if strategy.fresh_seeds else seeds
    rungs = math.ceil(math.log2(1 / (1 - LEVEL)) * seeds / each)
    least = job.n_max / 2 ** (rungs - 1)
    return least if rungs <= WALK and least >= 1 else 0.0


def of_kappa(k: Kappa, specs: Mapping[int, Job]) -> Interval:
    """Monte Carlo over the posteriors of its parts; where some are censored the widest that their
    intervals allow.
    """
    if k.status in ("pending", "incomplete") or not k.terms:
        return Interval(why=f"kappa is {k.text()}")
    parts = [(f"N*_{p.n}", of_nstar(p, specs.get(p.job_id))) for p in k.cell.parts]
    joint = of_nstar(k.cell.joint, specs.get(k.cell.joint.job_id))
    without = [(name, i.why) for name, i in (*parts, ("N*_joint", joint)) if i.why]
    if without:
        return Interval(why=f"{_names(name for name, _ in without)}: {without[0][1]}")
    if k.status == "complete" and k.low is not None and k.high is not None:
        return Interval(k.low, k.high)
    total = Interval(sum(i.low for _, i in parts), sum(i.high for _, i in parts))
    return Interval(total.low / joint.high, total.high / joint.low if joint.low > 0 else math.inf)


def of_accuracy(accuracy: float, chance: float, sequences: int) -> Interval:
    """Wilson's score interval of an accuracy over ``sequences``, rescaled so that ``chance`` is 0."""
    p = min(1.0, max(0.0, accuracy * (1 - chance) + chance))
    z2 = Z90 * Z90 / sequences
    middle, scale = (p + z2 / 2) / (1 + z2), 1 + z2
    half = Z90 * math.sqrt(p * (1 - p) / sequences + z2 / 4 / sequences) / scale
    return Interval((middle - half - chance) / (1 - chance), (middle + half - chance) / (1 - chance))


def _names(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
