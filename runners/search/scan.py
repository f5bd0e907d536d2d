"""``scan``: every N of a ladder with as many fresh seeds as the grid has, and the whole curve fitted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from runners.search.adaptive import totals
from runners.search.evidence import job_flags
from runners.search.family import Family
from runners.search.posterior import posterior
from runners.search.seeds import fresh
from runners.search.types import Candidate, Progress
from runners.spec import Job
from runners.verdict import Evidence, best_loss, bracket, collect, ordered, search_status


def ladder(job: Job) -> tuple[int, ...]:
    """The N that are measured, largest first; rungs above N_max are measured at N_max; none given: N_max
    halved to 1. Length generalisation is measured at N_max, which is then a rung, with the last seeds.
    """
    rungs = job.search.ladder or tuple(job.n_max >> i for i in range(job.n_max.bit_length()))
    found = sorted({min(n, job.n_max) for n in rungs}, reverse=True)
    if job.generalisation and job.n_max not in found:
        return (*found[: max(1, job.search.candidates - 1)], job.n_max)
    return tuple(found[: job.search.candidates])


def open_rungs(
    job: Job,
    evidence: Sequence[Evidence],
    known: Collection[int] | Mapping[int, bool] = (),
    running: Collection[int] = (),
) -> tuple[Candidate, ...]:
    """What is still to be measured; each rung has its own seeds, so any order gives the same counts.

    Running ones first.
    """
    seen = {e.n for e in evidence} | set(known)
    k = len(job.grid.seeds)
    rungs = [Candidate(n, fresh(job, i * k, k)) for i, n in enumerate(ladder(job)) if n not in seen]
    return tuple(rungs[:1] + sorted(rungs[1:], key=lambda c: c.n not in running))


def replay_scan(job: Job, evidence: Sequence[Evidence]) -> Progress:
    """Where the ladder stands; N* and N_50 of the curve below the failures at its top (``fails_above``)."""
    rungs = open_rungs(job, evidence)
    counts = totals(evidence)
    b = bracket(collect(evidence)[0])
    flags = job_flags(job, evidence) - {
        "contradicted"
    }  # a share of seeds is no verdict: it may fall and rise
    if len(ladder(job)) >= job.search.candidates:
        flags.add("max_candidates")
    estimate = n50 = None
    if b.hi is not None:
        top = max(
            n for n, (_, successes) in counts.items() if successes
        )  # above it all fail: not part of the curve
        post = posterior(Family(len(job.grid.seeds)), {n: c for n, c in counts.items() if n <= top}, top)
        estimate, n50 = post.n_star(), post.n50()
        if estimate.high > job.n_max:
            flags.add("beyond_n_max")
    return Progress(
        next=rungs[0] if rungs else None,
        lo=b.lo,
        hi=b.hi,
        status=search_status(not rungs, b.hi),
        flags=ordered(flags),
        estimate=estimate,
        n50=n50,
        best_loss=best_loss(evidence),
    )
