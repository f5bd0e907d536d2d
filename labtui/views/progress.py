"""How far a set of searches is, and when it will be done:
a fraction of the expected work, from what was seen so far.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from labtui.analysis.eta import candidates_left
from labtui.analysis.stored import stored_job
from labtui.text import clean
from labtui.views import numbers
from store.rows import JobRow

OVER = ("done", "failed", "cancelled")


class Pace:
    """The expected work of each job, and the time it took to do a part of it."""

    def __init__(self, expected: Mapping[int, tuple[float, int]], now: float | None = None) -> None:
        """``expected``: by job, (work in any one unit, candidates)."""
        self._expected = expected
        self._began = time.monotonic() if now is None else now
        self._first: float | None = None

    def fraction(self, jobs: Iterable[JobRow]) -> float:
        """Work done over work expected, 0 to 1."""
        total = done = 0.0
        for job in jobs:
            work, candidates = self._expected.get(job.id, (1.0, 10))
            total += work
            done_here = job.candidates + job.progress * (job.current_n is not None)
            left = candidates_left(job)  # better than the guess made before the search began
            share = done_here / max(1, candidates if left is None else job.candidates + left)
            done += work * (1.0 if job.state in OVER else min(0.95, share))
        return done / total if total else 1.0

    def eta(self, jobs: Sequence[JobRow], now: float | None = None) -> float | None:
        """Seconds left; None while there is too little to go by."""
        fraction = self.fraction(jobs)
        if self._first is None:
            self._first = fraction
        passed = (time.monotonic() if now is None else now) - self._began
        gained = fraction - self._first
        if gained < 0.02 or passed < 3:
            return None
        return passed * (1 - fraction) / gained


def expected_work(spec_json: str) -> tuple[float, int]:
    """(floating-point operations, candidates) of a stored job; (0, 0) where its spec cannot be read."""
    from runners.spec.cost import SUCCESS_SHARE, expected_candidates, step_flops

    job = stored_job(spec_json)
    if job is None:
        return 0.0, 0
    failing, succeeding = expected_candidates(job)
    each = len(job.grid.members) * job.training.steps * (step_flops(job) + 2e5)
    return each * (failing + SUCCESS_SHARE * succeeding), failing + succeeding


def state_line(jobs: Sequence[JobRow], eta: float | None) -> str:
    """``3/11 searches, now Z3 acot n=5 dense_ssm 16: N = 24, 40 %; about 1 m 20 s left``."""
    over = sum(job.state in OVER for job in jobs)
    running = [job for job in jobs if job.state == "running"]
    words = f"{over}/{len(jobs)} searches"
    if running:
        parts = []
        for job in running[:3]:
            at = f": N = {job.current_n:,}, {job.progress:.0%}" if job.current_n is not None else ""
            parts.append(numbers.name(job) + at)
        words += ", now " + "; ".join(parts) + (f" and {len(running) - 3} more" if len(running) > 3 else "")
    left = f"; about {numbers.duration(eta)} left" if eta is not None and over < len(jobs) else ""
    return words + left


def ended_line(job: JobRow) -> str:
    """What came out of a search."""
    name = numbers.name(job)
    if job.state != "done":
        reason = f" ({clean(job.reason, limit=200)})" if job.reason else ""
        return f"{name}: {job.state}{reason}"
    result = f"N* {numbers.nstar_exact(job)} {numbers.left_open(job)}".rstrip()
    flags = "".join(f" !{flag}" for flag in job.flags if flag != "capped")
    return f"{name}: {result}{flags}  [{job.candidates} candidates, {numbers.duration(job.wall_s)}]"
