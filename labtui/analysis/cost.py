"""What a set of searches would cost, before it is submitted: by the estimator that tells the ETA of what
runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labtui.analysis.eta import Eta, Outlook, work_of_spec

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
    guesses: list[tuple[str, Eta]] = []
    for job in distinct.values():
        work = work_of_spec(job)
        candidates += work.candidates
        trials += round(work.trials * work.candidates)
        most += work.trials * _most(job)
        steps += work.trials * work.candidates * work.steps
        guesses.append((work.kind.label, outlook.search(work)))
    unknown = tuple(sorted({label for label, guess in guesses if guess.seconds is None}))
    return Cost(len(distinct), candidates, trials, most, steps, _total(guesses, unknown), unknown)


def _most(job: Job) -> int:
    if job.search.strategy == "scan":
        return min(len(job.search.ladder) or job.n_max.bit_length(), job.search.candidates)
    return min(job.search.candidates, job.n_max)


def _total(guesses: list[tuple[str, Eta]], unknown: tuple[str, ...]) -> Eta:
    """The sum; what is not known of a model is not known of all its searches at once."""
    if unknown or not guesses:
        why = f"unknown until a search of {', '.join(unknown)} was timed here" if unknown else ""
        return Eta(None if unknown else 0.0, why)
    seconds = sum(guess.seconds or 0.0 for _, guess in guesses)
    slack: dict[str, float] = {}
    for label, guess in guesses:
        slack[label] = slack.get(label, 0.0) + (guess.high or 0.0) - (guess.seconds or 0.0)
    off = math.sqrt(sum(x * x for x in slack.values()))
    bases = dict.fromkeys(guess.basis for _, guess in guesses)
    basis = next(iter(bases)) if len(bases) == 1 else "what such searches took in this lab"
    return Eta(seconds, basis, seconds / (1 + off / max(seconds, 1e-9)), seconds + off)
