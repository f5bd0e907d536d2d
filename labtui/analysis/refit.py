"""N* at another eps, read off what is stored: no training, and what is missing is said."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from labtui.text import spelled
from labtui.views import numbers
from runners.spec import Job
from runners.strategies import FRESH_SEEDS
from runners.verdict import Evidence, Outcome, Thoroughness
from store.rows import Curve, JobRow, ProbeRow, TrialRow

if TYPE_CHECKING:
    from runners.verdict import Status

Curves = Callable[[int], Curve | None]
STOPPED = "stopped at its first success"
IN_PART = "evaluated in part"
THINNED = "evaluations not stored"


@dataclass(frozen=True)
class Reread:
    """One search at another eps."""

    job: JobRow
    eps: float
    status: Status
    """open: what is decided does not end the search at this eps."""
    lo: int
    hi: int | None
    n_max: int
    flags: tuple[str, ...]
    estimate: tuple[float, float, float] | None
    candidates: int
    """Whose verdict at this eps is known."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Why candidates (fresh seeds: why seeds) are not decided -> how many."""
    next_n: int | None = None
    """The N that the search would train next at this eps; None: it is over."""

    @property
    def text(self) -> str:
        """``1,118 in (940, 1,118]``, ``≈ 28 90 % in [21, 34]``, ``> 2,941``, or what is known so far."""
        if self.candidates == 0:
            return numbers.NONE
        if self.status == "open" and self.estimate is None:
            return numbers.bracket(self)
        told = numbers.nstar_exact(self) if self.status != "open" else f"≈ {numbers.exact(self.known)}"
        return f"{told} {numbers.known(self)}".rstrip()

    @property
    def known(self) -> float | None:
        return self.estimate[0] if self.estimate is not None else self.hi

    @property
    def lacks(self) -> str:
        """What is missing, in words; empty: nothing."""
        told = [f"{n} undecided ({why})" for why, n in self.missing.items()]
        if self.next_n is not None:
            told.append(f"would try N = {numbers.exact(self.next_n)}")
        return ", ".join(told)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "job": self.job.id,
            "stored_eps": self.job.eps,
            "eps": self.eps,
            "status": self.status,
            "lo": self.lo,
            "hi": self.hi,
            "n_max": self.n_max,
            "estimate": list(self.estimate) if self.estimate is not None else None,
            "flags": list(self.flags),
            "candidates": self.candidates,
            "missing": dict(self.missing),
            "next_n": self.next_n,
            "text": spelled(self.text),
        }


class Answer(NamedTuple):
    """Whether a trial gets below another eps; None: it is not known, and why."""

    below: bool | None
    why: str = ""


def answer_of(trial: TrialRow, job: Job, eps: float, curve: Curve | None) -> Answer:
    """Whether a trial of ``job`` had a validation loss below ``eps`` at some evaluation.

    Of a program ``eps`` is another threshold, and every report was exact. An exact loss below ``eps`` is a
    success. A failure is certain where every evaluation was exact and none
    was below; where a first part of the validation set decided that a loss was not below the job's own eps,
    its rest may have brought the mean down to ``eps``.
    """
    program = job.program
    if program is not None:
        eps = program.model_copy(update={"threshold": eps}).bound
        if program.read and trial.outcome in (Outcome.SUCCESS, Outcome.FAILURE):  # the last match counts
            return Answer(trial.last_loss is not None and trial.last_loss < eps)
    if trial.best_loss is not None and trial.best_loss < eps:
        return Answer(True)
    if trial.outcome in (Outcome.SUCCESS, Outcome.SUPERSEDED):
        return Answer(None, STOPPED)
    if trial.outcome not in (Outcome.FAILURE, Outcome.DIVERGED):
        return Answer(None, "not at its end")
    if program is not None or eps <= job.bound:
        return Answer(False)
    validation = sum(share.validation for share in job.shares)
    policy = Thoroughness.of(validation, min(job.training.batch_size, trial.n), job.training.eval_every)
    if policy.every == 1:
        return Answer(False)
    if curve is None or len(curve.steps) < -(-trial.steps // job.training.eval_every):
        return Answer(None, THINNED)
    shortest = 1.0 if job.format == "outcome" else job.lengths.range[0] / job.lengths.length
    least = policy.first / validation * shortest  # of the whole mean, where the rest has a loss of 0
    whole = curve.exact or tuple(value == trial.best_loss for value in curve.validation)
    sure = all(e or value * least >= eps for value, e in zip(curve.validation, whole, strict=True))
    return Answer(False) if sure else Answer(None, IN_PART)


class Verdict(NamedTuple):
    """What is known of one candidate at another eps."""

    evidence: Evidence
    """Its undecided seeds count as failing."""
    undecided: int
    """Seeds of which it is not known whether they succeed."""
    why: str


def verdict_of(probe: ProbeRow, trials: Sequence[TrialRow], job: Job, eps: float, curves: Curves) -> Verdict:
    """One candidate at ``eps``."""
    seeds: dict[int, list[Answer]] = {}
    for trial in trials:
        seeds.setdefault(trial.seed, []).append(answer_of(trial, job, eps, curves(trial.id)))
    won = {seed for seed, answers in seeds.items() if any(a.below for a in answers)}
    unknown = {
        seed: next(a.why for a in answers if a.below is None)
        for seed, answers in seeds.items()
        if seed not in won and any(a.below is None for a in answers)
    }
    losses = [t.best_loss for t in trials if t.best_loss is not None]
    diverged = {t.outcome for t in trials} == {"diverged"}
    evidence = Evidence(
        probe.n, bool(won), len(seeds), len(won), min(losses, default=None), diverged and not won
    )
    return Verdict(evidence, len(unknown), next(iter(unknown.values()), ""))


def refit(
    row: JobRow,
    job: Job,
    eps: float,
    probes: Sequence[ProbeRow],
    trials: Sequence[TrialRow],
    curves: Curves,
    replay: Callable[[Job, Sequence[Evidence]], Any],
) -> Reread:
    """Search ``job`` anew at ``eps`` from the candidates that were trained.

    A bisection leaves out candidates that are not decided. With fresh seeds that would be no fair sample, so
    those that are not decided count both ways, and the interval holds both.

    Args:
        replay: ``runners.search.replay``, by the one gate to it.
    """
    of_probe: dict[int, list[TrialRow]] = {}
    for trial in trials:
        of_probe.setdefault(trial.probe_id, []).append(trial)
    by_seed = job.search.strategy in FRESH_SEEDS
    least, most, missing = [], [], Counter[str]()
    for probe in probes:
        if probe.verdict is None or probe.speculative:
            continue
        found = verdict_of(probe, of_probe.get(probe.id, []), job, eps, curves)
        e = found.evidence
        if found.undecided and not (e.success and not by_seed):
            missing[found.why] += found.undecided if by_seed else 1
            if not by_seed:
                continue
        least.append(e)
        won = e.successes + (found.undecided if by_seed else 0)
        most.append(replace(e, success=won > 0, successes=won))
    if job.program is not None:
        there = job.model_copy(update={"model": job.program.model_copy(update={"threshold": eps})})
    else:
        there = job.model_copy(update={"search": job.search.model_copy(update={"eps": eps})})
    progress, other = replay(there, least), replay(there, most) if missing else None
    estimate = progress.estimate.as_tuple() if progress.estimate is not None else None
    if other is not None and estimate is not None and other.estimate is not None:
        value, low, _ = other.estimate.as_tuple()
        estimate = (math.sqrt(value * estimate[0]), min(low, estimate[1]), estimate[2])
    following = progress.next.n if progress.next is not None else None
    return Reread(
        row, eps, progress.status, progress.lo, progress.hi, row.n_max, progress.flags, estimate,
        len(least), dict(missing), following,
    )  # fmt: skip
