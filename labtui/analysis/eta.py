"""When a search will be done, and what that guess rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labtui.views import numbers as figures

if TYPE_CHECKING:
    from store.rows import JobRow


RTOL = 0.10


@dataclass(frozen=True)
class Eta:
    """A guess: seconds from now and its basis in words; None where nothing is known."""

    seconds: float | None
    basis: str = ""


def candidates_left(job: JobRow) -> int | None:
    """How many more candidates the search will need, the running one included;
    None while the first failure is out.
    """
    if job.status != "open":
        return 0
    if job.hi is None:
        return None
    if job.lo == 0:
        return None if job.hi > 1 else 0
    if job.hi - job.lo <= 1:
        return 0
    if job.strategy == "paper":
        return math.ceil(math.log2(job.hi - job.lo))
    width = math.log(job.hi / job.lo) / math.log1p(RTOL)
    return max(1, math.ceil(math.log2(width))) if width > 1 else 1


def job_eta(job: JobRow, pace: float | None = None) -> Eta:
    """The time that a job still needs.

    By its own pace (seconds per finished candidate) once it has one;
    else by ``pace``, the mean seconds of a finished job.
    """
    if job.state not in ("running", "queued", "paused"):
        return Eta(None)
    left = candidates_left(job)
    if job.candidates and job.wall_s > 0 and left is not None:
        each = job.wall_s / job.candidates
        return Eta(
            max(0.0, (left - job.progress) * each),
            f"{left} more candidates at {figures.duration(each)}, its own pace",
        )
    if pace is not None:
        return Eta(max(0.0, pace - job.wall_s), "the mean of the last finished jobs")
    return Eta(None, "nothing finished yet to judge by")


@dataclass(frozen=True)
class Pace:
    """How long searches take here: seconds per unit of expected work, measured for each model on finished
    ones.
    """

    seconds: dict[str, float]
    """By model label: per unit of :func:`work`."""
    ended: dict[str, int]
    """By model label: how many finished searches that rests on."""

    def expected(self, job: JobRow) -> float | None:
        """Seconds of a whole search; by the mean of all models where its own has none; None before any
        ended.
        """
        own = self.seconds.get(job.model_label)
        if own is None and self.seconds:
            own = sum(self.seconds.values()) / len(self.seconds)
        return None if own is None else own * work(job)

    def sure(self, job: JobRow) -> bool:
        """Whether three searches of its model have ended: before that the guess is a range."""
        return self.ended.get(job.model_label, 0) >= 3


def work(job: JobRow) -> float:
    """What a search is expected to cost beside others of its model: trials, steps, lengths, candidates of
    its range.
    """
    return job.trials_per_probe * job.steps * max(1, job.length) * math.log2(job.n_max + 2)


def measured(jobs: Sequence[JobRow]) -> Pace:
    """The pace of finished searches."""
    spent: dict[str, list[tuple[float, float]]] = {}
    for job in jobs:
        if job.state == "done" and job.wall_s > 0:
            spent.setdefault(job.model_label, []).append((job.wall_s, work(job)))
    seconds = {label: sum(s for s, _ in rows) / sum(w for _, w in rows) for label, rows in spent.items()}
    return Pace(seconds, {label: len(rows) for label, rows in spent.items()})


@dataclass(frozen=True)
class Backlog:
    """Queued searches: how many, and a sample of them that stands for all."""

    total: int
    sample: tuple[JobRow, ...] = ()


def queue_eta(running: Sequence[JobRow], queued: Backlog, pace: Pace) -> tuple[float, float, str] | None:
    """(low, high, basis) of the seconds until nothing runs or waits, as many searches at once as now;
    None: not known.

    Both ends are equal where three searches of each model that waits have ended; before that the range is
    a factor
    of three to both sides: a slot that running jobs share is no longer there once they end, and models
    differ.
    """
    left = [job_eta(job, pace.expected(job)).seconds for job in running]
    waits = [pace.expected(job) for job in queued.sample]
    if not running or None in left or None in waits or (queued.total and not waits):
        return None
    each = sum(s for s in waits if s is not None) / len(waits) if waits else 0.0
    seconds = [s for s in left if s is not None]
    guess = max(max(seconds), (sum(seconds) + queued.total * each) / len(running))
    told = f"{queued.total:,} queued at {figures.duration(each)}, " if queued.total else ""
    wide = 1.0 if all(map(pace.sure, queued.sample)) else 3.0
    return guess / wide, guess * wide, f"{told}{len(running)} at once"
