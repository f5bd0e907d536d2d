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
            max(0.0, (left - job.progress) * each), f"{left} more candidates at {each:.1f} s, its own pace"
        )
    if pace is not None:
        return Eta(max(0.0, pace - job.wall_s), "the mean of the last finished jobs")
    return Eta(None, "nothing finished yet to judge by")


def queue_eta(running: Sequence[JobRow], queued: int, pace: float | None) -> Eta:
    """The time until nothing runs or waits, as many searches at once as now.

    Args:
        running: the jobs in training; a slot that they share is no longer there once they end,
            so that this is a guess.
        queued: how many wait.
        pace: mean seconds of a finished job; without it only what runs can be told.
    """
    left = [job_eta(job, pace).seconds for job in running]
    if not running or (queued and pace is None) or None in left:
        return Eta(None)
    total = sum(s for s in left if s is not None) + queued * (pace or 0.0)
    longest = max(s for s in left if s is not None)
    each = f"{queued:,} queued at {figures.duration(pace)}, " if queued else ""
    return Eta(max(longest, total / len(running)), f"{each}{len(running)} at once")
