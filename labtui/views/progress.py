"""How far a set of searches is, and when it will be done:
a fraction of the expected work, from what was seen so far.
"""

from __future__ import annotations

from collections.abc import Sequence

from labtui.analysis.eta import Eta, Outlook
from labtui.text import clean
from labtui.views import numbers
from store.rows import JobRow
from store.states import ENDED_STATES


def fraction(jobs: Sequence[JobRow], outlook: Outlook) -> float:
    """Device-seconds done over all that is expected, 0 to 1."""
    done = left = 0.0
    for job in jobs:
        if job.state in ENDED_STATES:
            done += max(job.device_s, 1e-3)
        else:
            rest = outlook.left(job)
            left += rest.part if rest.seconds is not None else 60.0
            done += job.device_s
    return done / (done + left) if done + left else 1.0


def left(jobs: Sequence[JobRow], outlook: Outlook) -> Eta:
    """When these searches will be done."""
    return outlook.queue(
        [job for job in jobs if job.state == "running"], [job for job in jobs if job.state == "queued"]
    )


def state_line(jobs: Sequence[JobRow], eta: Eta) -> str:
    """``3/11 searches, now Z3 acot n=5 dense_ssm 16: N = 24, 40 %; ~80s left``."""
    over = sum(job.state in ENDED_STATES for job in jobs)
    running = [job for job in jobs if job.state == "running"]
    words = f"{over}/{len(jobs)} searches"
    if running:
        parts = [": ".join(filter(None, (numbers.name(j), numbers.training(j)))) for j in running[:3]]
        words += ", now " + "; ".join(parts) + (f" and {len(running) - 3} more" if len(running) > 3 else "")
    left = f"; {eta.text} left" if eta.seconds is not None and over < len(jobs) else ""
    return words + left


def ended_line(job: JobRow) -> str:
    """What came out of a search."""
    name = numbers.name(job)
    if job.state != "done":
        reason = f" ({clean(job.reason, limit=200)})" if job.reason else ""
        return f"{name}: {job.state}{reason}"
    result = numbers.marked(f"N* {numbers.result(job)}", job.flags)
    return f"{name}: {result}  [{job.candidates} candidates, {numbers.duration(job.wall_s)}]"
