"""``adaptive``: N* of a grid of k seeds as a property of the curve q(N),
measured with fresh seeds where they tell most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runners.search.design import choose
from runners.search.evidence import job_flags
from runners.search.family import Family
from runners.search.posterior import Posterior, posterior
from runners.search.seeds import fresh
from runners.search.types import Candidate, Progress
from runners.spec import Job
from runners.verdict import WALK_DOWN, Evidence, best_loss, bracket, collect, ordered, search_status

MIN_OPENING_SEEDS = 3
"""Seeds at N_max at least, whatever k is: one that fails there by chance must not start the walk down."""


def replay_adaptive(job: Job, evidence: Sequence[Evidence]) -> Progress:
    """The opening (is it learned at N_max, or else at N_max / 2, / 4, / 8?),
    then seeds where they narrow N* most.
    """
    used = sum(e.seeds for e in evidence)
    counts = totals(evidence)
    flags = job_flags(job, evidence) - {
        "contradicted",
        "fails_above",
    }  # the strategy has its own rule for these
    used_up = len(evidence) >= job.search.candidates
    if used_up:
        flags.add("max_candidates")
    left = job.search.seed_budget - used
    top, opening = opening_n(job.n_max, counts)
    if top is None:
        if opening is not None and left > 0:
            count = min(max(MIN_OPENING_SEEDS, len(job.grid.seeds)), left)
            return _progress(job, evidence, flags, Candidate(opening, fresh(job, used, count)))
        if opening is not None:
            flags.add("seed_budget")
        return _progress(job, evidence, flags, None)
    if top < job.n_max:
        flags.add("fails_above")
    post = posterior(Family(len(job.grid.seeds)), {n: c for n, c in counts.items() if n <= top}, top)
    if post.n_star().relative_width <= job.search.relative_width:
        return _progress(job, evidence, flags, None, post)
    if left <= 0 or used_up:
        if left <= 0:
            flags.add("seed_budget")
        return _progress(job, evidence, flags, None, post)
    n, count = choose(post, top, left)
    return _progress(job, evidence, flags, Candidate(n, fresh(job, used, count)), post)


def totals(evidence: Iterable[Evidence]) -> dict[int, tuple[int, int]]:
    """N -> (seeds, successes) of all probes at that N."""
    counts: dict[int, tuple[int, int]] = {}
    for e in evidence:
        seeds, successes = counts.get(e.n, (0, 0))
        counts[e.n] = (seeds + e.seeds, successes + e.successes)
    return counts


def opening_n(n_max: int, counts: dict[int, tuple[int, int]]) -> tuple[int | None, int | None]:
    """(the largest of N_max, N_max/2, /4, /8 where a seed succeeded, or None;
    the next of them to try, if none has yet).
    """
    tops = dict.fromkeys(n for d in (1, *WALK_DOWN) if (n := n_max // d) >= 1)
    for n in tops:
        if n not in counts:
            return None, n
        if counts[n][1]:
            return n, None
    return None, None


def _progress(
    job: Job,
    evidence: Sequence[Evidence],
    flags: set[str],
    following: Candidate | None,
    post: Posterior | None = None,
) -> Progress:
    verdicts, _ = collect(evidence)
    b = bracket(verdicts)
    estimate = post.n_star() if post is not None else None
    n50 = post.n50() if post is not None else None
    beyond = post is not None and post.mass_above(job.n_max) > 0.5
    if estimate is not None and estimate.high > job.n_max:
        flags.add("beyond_n_max")
    status = search_status(following is None, b.hi, beyond=beyond)
    censored = status == "censored"
    return Progress(
        next=following,
        lo=job.n_max if censored else b.lo,
        hi=None if censored else b.hi,
        status=status,
        flags=ordered(flags),
        estimate=estimate,
        n50=n50,
        best_loss=best_loss(evidence),
    )
