"""Decide what trials, candidates and searches have shown. Standard library only.

The one answer to "where is it decided?": :func:`trial_outcome` (how a trial ended), :func:`probe_verdict`
(whether a candidate N succeeds), :func:`bracket` (lo and hi), :func:`search_status` (where a search stands),
:func:`flags` (what needs a second look) and :func:`answer` (what a job says of N*). What a strategy alone
decides, when its search is over and which flags speak of its own rule, stands beside that rule in
``runners/search``. Engine, store, search, screens and commands ask here; the rules are
those of docs/science.md, "N* and the search".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol

WALK_DOWN = (2, 4, 8)
"""``log``, ``adaptive``: divisors of N_max that are tried when N_max itself fails."""
Status = Literal["open", "bracket", "censored"]
"""Of a search. open: not over yet; bracket: N* in (lo, hi]; censored: nothing succeeded, N* > n_max."""

FLAGS = {
    "diverged": "every trial diverged at an N on which the answer rests: that says nothing of N",
    "coarse": "a length has fewer than 20 sequences to train on, or N_max is below 10",
    "capped": "the task has fewer sequences than N_max asks for",
    "fails_above": "it fails at its N_max and is learned with fewer samples",
    "contradicted": "a failing N lies between two that succeed",
    "max_candidates": "the search used up its candidates",
    "seed_budget": "the search used up its seeds before its interval was as narrow as asked for",
    "beyond_n_max": "the interval reaches above N_max",
    "tf32": "trained with tf32 products",
    "bf16": "trained with bf16 products",
    "accuracy": "judged by the accuracy of whole sequences; its losses are the share that is wrong",
}
"""Every flag of a job and what it means, in the order in which flags are reported."""


class Outcome(StrEnum):
    """How a trial ended."""

    SUCCESS = "success"
    """A validation loss below eps at some evaluation."""
    FAILURE = "failure"
    """The whole budget was trained and no evaluation was below eps."""
    DIVERGED = "diverged"
    """A parameter became non-finite, or the whole budget left the training loss :data:`FAR` above chance."""
    SUPERSEDED = "superseded"
    """A sibling decided the verdict first; stored with the steps that it did."""


FAR = 100
"""A trial has diverged whose training loss is so many times that of a guess when its budget is over. Of the
training loss, not the validation loss: a small recurrent model that fits its few sequences well may have a
validation loss of 1e18 and lack nothing but data. Training that works ends below the loss of a guess, and
where it goes astray with finite parameters at 1e4 times that and more."""


def astray(train: float, classes: int | None) -> bool:
    """Whether a trial whose budget is over has diverged with finite parameters.

    Args:
        train: its last training loss, nats per position.
        classes: among which it tells one, so that a guess has the loss log(classes); None: not known.
    """
    return classes is not None and not train < FAR * math.log(max(2, classes))


def trial_outcome(
    loss: float,
    eps: float,
    *,
    exact: bool,
    non_finite: bool,
    steps: int,
    budget: int,
    train: float = 0.0,
    classes: int | None = None,
) -> Outcome | None:
    """How a trial ends at this evaluation; None: it goes on.

    Args:
        loss: validation loss, nats per position; one that is not finite is no success.
        exact: False: a partial sum already proved that the loss is not below ``eps``.
        non_finite: a parameter is no longer finite.
        steps: optimiser steps done.
        budget: steps that a trial has.
        train, classes: see :func:`astray`.
    """
    if exact and loss < eps:
        return Outcome.SUCCESS
    if non_finite:
        return Outcome.DIVERGED
    if steps < budget:
        return None
    return Outcome.DIVERGED if astray(train, classes) else Outcome.FAILURE


FULL_SHARE = 0.03
"""Up to this share of the training's arithmetic every evaluation is exact."""
EXACT_SHARE = 0.02
"""Above it, whole evaluations are made so seldom that they cost about this much."""


@dataclass(frozen=True)
class Thoroughness:
    """How often the whole set is evaluated although its first part has decided;
    a function of the job and of B alone.

    A training step costs about three times a forward pass,
    so a full evaluation of V sequences costs V / (3 B interval) of the training between two evaluations.
    """

    first: int
    """Sequences in the first part; the whole set where every evaluation is exact."""
    every: int
    """Every how many evaluations of a trial the whole set is evaluated in any case."""

    @classmethod
    def of(cls, validation: int, batch: int, interval: int) -> Thoroughness:
        share = validation / (3 * batch * interval)
        if share <= FULL_SHARE:
            return cls(validation, 1)
        return cls(min(validation, max(32, min(64, validation // 16))), math.ceil(share / EXACT_SHARE))

    def wanted(self, evaluations: int, last: bool) -> bool:
        """Whether the evaluation after ``evaluations`` others has to be exact; the last one always is."""
        return last or (evaluations + 1) % self.every == 0


class Undecided(ValueError):  # noqa: N818 - it is no fault, but a candidate whose verdict is still to come
    """The trials of a candidate do not say whether it succeeds; ``str(error)`` goes on from "it has"."""


@dataclass(frozen=True)
class ProbeVerdict:
    """What the trials of one candidate N say."""

    success: bool
    """At least one trial succeeded."""
    seeds: int
    successes: int
    """Seeds with at least one success."""
    diverged: bool
    """Every trial diverged: the failure says nothing of N."""


def probe_verdict(trials: Sequence[tuple[int, str]]) -> ProbeVerdict:
    """The verdict on a candidate, from (seed, stored outcome) of all its trials.

    Raises:
        Undecided: a trial still runs, or none succeeded and some were cut short.
    """
    outcomes = {outcome for _, outcome in trials}
    if "running" in outcomes:
        left = sum(outcome == "running" for _, outcome in trials)
        raise Undecided(f"{left} running trials; expected all of them to have ended")
    if Outcome.SUCCESS not in outcomes and outcomes & {Outcome.SUPERSEDED, "lost"}:
        raise Undecided("no success, yet trials that were cut short; expected a whole grid")
    won = {seed for seed, outcome in trials if outcome == Outcome.SUCCESS}
    return ProbeVerdict(bool(won), len({seed for seed, _ in trials}), len(won), all_diverged(outcomes))


def all_diverged(outcomes: Iterable[str]) -> bool:
    """Whether every trial of a candidate diverged, so that its failure says nothing of N."""
    return set(outcomes) == {Outcome.DIVERGED}


@dataclass(frozen=True)
class Evidence:
    """The verdict on one candidate, as a search reads it."""

    n: int
    """Training set size N, in sequences."""
    success: bool
    """At least one trial reached a validation loss below eps."""
    seeds: int = 0
    """``adaptive`` and ``scan``: fresh seeds that were trained, each with every learning rate."""
    successes: int = 0
    """``adaptive`` and ``scan``: seeds with at least one success."""
    best_loss: float | None = None
    """Lowest validation loss of any trial, nats per position; None where there was no finite one."""
    diverged: bool = False
    """Every trial diverged."""


@dataclass(frozen=True)
class Bracket:
    """lo and hi, and which evidence does not fit one threshold."""

    lo: int
    """Largest failing N below hi (below infinity where nothing succeeded); 0: none."""
    hi: int | None
    """Smallest N that succeeded; None: none yet."""
    fails_above: bool
    """Something above the largest success fails: it is learned with fewer samples only."""
    contradicted: bool
    """A failure lies between two successes, or one N has both verdicts."""


def bracket(verdicts: Mapping[int, bool]) -> Bracket:
    """The bracket of one verdict per N."""
    successes = [n for n, ok in verdicts.items() if ok]
    failures = [n for n, ok in verdicts.items() if not ok]
    hi = min(successes, default=None)
    lo = max((n for n in failures if hi is None or n < hi), default=0)
    if hi is None:
        return Bracket(lo, None, False, False)
    top = max(successes)
    return Bracket(lo, hi, any(n > top for n in failures), any(hi < n < top for n in failures))


def brackets(verdicts: Iterable[tuple[int, bool | None]]) -> Iterator[Bracket]:
    """The bracket after each (N, verdict), in order; None (running, ahead of its turn) adds nothing."""
    so_far: dict[int, bool] = {}
    for n, ok in verdicts:
        if ok is not None:
            so_far[n] = so_far.get(n, False) or ok
        yield bracket(so_far)


def search_status(over: bool, hi: int | None, *, beyond: bool = False) -> Status:
    """Tell where a search stands.

    Args:
        over: its strategy asks for no further candidate.
        hi: the smallest N that succeeded.
        beyond: ``adaptive``: N* is more likely above N_max than below, though something succeeded.
    """
    if not over:
        return "open"
    return "censored" if hi is None or beyond else "bracket"


def collect(evidence: Iterable[Evidence]) -> tuple[dict[int, bool], bool]:
    """Collect (one verdict per N, whether any N has both): an N that succeeded once has succeeded."""
    verdicts: dict[int, bool] = {}
    mixed = False
    for e in evidence:
        mixed |= verdicts.get(e.n, e.success) != e.success
        verdicts[e.n] = verdicts.get(e.n, False) or e.success
    return verdicts, mixed


def best_loss(evidence: Iterable[Evidence]) -> float | None:
    """The lowest finite loss of all the evidence."""
    losses = [e.best_loss for e in evidence if e.best_loss is not None and math.isfinite(e.best_loss)]
    return min(losses, default=None)


def flags(evidence: Sequence[Evidence], own: Iterable[str]) -> set[str]:
    """The flags that the evidence gives, beside the job's ``own``."""
    found = set(own)
    verdicts, mixed = collect(evidence)
    b = bracket(verdicts)
    if b.fails_above:
        found.add("fails_above")
    if b.contradicted or mixed:
        found.add("contradicted")
    if b.lo and all(e.diverged for e in evidence if e.n == b.lo):
        found.add("diverged")
    return found


def ordered(found: Iterable[str]) -> tuple[str, ...]:
    """Flags in the order of :data:`FLAGS`, each once."""
    return tuple(f for f in FLAGS if f in set(found))


class Result(Protocol):
    """What :func:`answer` reads of a stored job: a JobRow, or an NStar of a kappa cell."""

    @property
    def status(self) -> Status: ...
    @property
    def lo(self) -> int: ...
    @property
    def hi(self) -> int | None: ...
    @property
    def n_max(self) -> int: ...
    @property
    def flags(self) -> tuple[str, ...]: ...
    @property
    def estimate(self) -> tuple[float, float, float] | None: ...


class Answer(NamedTuple):
    """N* as a job gives it."""

    kind: Literal["open", "bracket", "estimate", "censored", "diverged"]
    """open: still to come. bracket: N* in [low, high]. estimate: a median with its central 90 % interval.
    censored: N* > n_max. diverged: every trial diverged, so nothing is known of N*."""
    value: float | None = None
    """The reported N*, in sequences."""
    low: float | None = None
    """The smallest N* that is left open; n_max + 1 of a censored one."""
    high: float | None = None


def diverged(job: Result) -> bool:
    """Nothing is known of N*: the job is at its end and every trial that the end rests on diverged."""
    return job.status == "censored" and "diverged" in job.flags


def beyond(job: Result) -> bool:
    """N* > n_max: nothing succeeded, and what failed says something of N."""
    return job.status == "censored" and not diverged(job)


def answer(job: Result) -> Answer:
    """What a job says of N*: its estimate wherever its strategy makes one, else its bracket.

    Raises:
        ValueError: the status is bracket and there is no hi; the lab file is damaged.
    """
    if job.status == "open":
        return Answer("open")
    if job.status == "censored":
        return Answer("diverged") if diverged(job) else Answer("censored", None, job.n_max + 1, None)
    if job.estimate is not None:
        return Answer("estimate", *job.estimate)
    if job.hi is None:
        raise ValueError("a job has the status bracket and no hi; the lab file is damaged")
    return Answer("bracket", job.hi, job.lo + 1, job.hi)
