"""From a job and its evidence to where its search stands.

Pure: the same evidence gives the same answer, on any machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from runners.search.bisection import next_n
from runners.search.evidence import check, job_flags
from runners.search.types import Candidate, Progress
from runners.spec import Job
from runners.verdict import Evidence, best_loss, bracket, collect, ordered, search_status


def replay(job: Job, evidence: Sequence[Evidence]) -> Progress:
    """Where the search of ``job`` stands after ``evidence``,
    in the order in which the verdicts were consumed.

    Args:
        job: its ``search.strategy`` decides; ``job.n_max`` is the largest candidate.
        evidence: every verdict that counts; speculative probes that were not needed are not among them.

    Returns:
        What to train next, or None where the search is over; the bracket and flags so far.

    Raises:
        ValueError: evidence about an N outside 1..n_max.
    """
    check(job, evidence)
    if job.search.strategy == "adaptive":
        from runners.search.adaptive import replay_adaptive  # numpy, 134 ms: only where it is used

        return replay_adaptive(job, evidence)
    if job.search.strategy == "scan":
        from runners.search.scan import replay_scan

        return replay_scan(job, evidence)
    return _replay_bisection(job, evidence)


def _replay_bisection(job: Job, evidence: Sequence[Evidence]) -> Progress:
    verdicts, _ = collect(evidence)
    b = bracket(verdicts)
    n, used_up = next_n(job, verdicts)
    flags = job_flags(job, evidence)
    if used_up:
        flags.add("max_candidates")
    return Progress(
        next=Candidate(n, None) if n is not None else None,
        lo=b.lo,
        hi=b.hi,
        status=search_status(n is None, b.hi),
        flags=ordered(flags),
        best_loss=best_loss(evidence),
    )
