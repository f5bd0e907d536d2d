"""What a set of searches would cost, before it is submitted: by the estimator that tells the ETA of what
runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labtui.analysis.eta import Eta, Outlook, Work, work_of_spec

if TYPE_CHECKING:
    from runners.spec import Job


@dataclass(frozen=True)
class Cost:
    """Totals over distinct searches."""

    searches: int
    candidates: float
    """Expected ones; of ``adaptive`` grids of fresh seeds."""
    trials: int
    """Expected trials."""
    trials_most: int
    """Trials if every search used all its candidates."""
    member_steps: float
    """Optimiser steps over all trials, if every one trained its whole budget."""
    device: Eta
    """Device-seconds; None where a model's speed is not known."""
    unknown: tuple[str, ...]
    """Labels of models of which nothing can be said before a search of theirs ran."""


def cost(jobs: Iterable[Job], outlook: Outlook) -> Cost:
    """Expected cost of the searches, equal ones counted once."""
    distinct = {job.hash: job for job in jobs}
    candidates = steps = 0.0
    trials = most = 0
    works: list[Work] = []
    for job in distinct.values():
        work = work_of_spec(job)
        candidates += work.candidates
        trials += round(work.trials * work.candidates)
        most += work.trials * _most(job)
        steps += work.trials * work.candidates * work.steps
        works.append(work)
    unknown = tuple(sorted({work.kind.label for work in works if outlook.search(work).seconds is None}))
    return Cost(len(distinct), candidates, trials, most, steps, _total(outlook, works, unknown), unknown)


def _most(job: Job) -> int:
    if job.search.strategy == "scan":
        return min(len(job.search.ladder) or job.n_max.bit_length(), job.search.candidates)
    return min(job.search.candidates, job.n_max)


def _total(outlook: Outlook, works: list[Work], unknown: tuple[str, ...]) -> Eta:
    """The sum with its interval."""
    if unknown or not works:
        why = f"unknown until a search of {', '.join(unknown)} was timed here" if unknown else ""
        return Eta(None if unknown else 0.0, why)
    bases = dict.fromkeys(outlook.search(work).basis for work in works)
    basis = next(iter(bases)) if len(bases) == 1 else "what such searches took in this lab"
    return replace(outlook.total(works), basis=basis)
