"""Speculative search: what idle slots train ahead, so that the bracket is the sequential one, sooner.

The sequential search is a binary tree: a node asks for an N, its children are what either verdict leads to.
Idle slots take the nodes that are most likely to be reached. The likelihoods order the work and nothing else:
they cannot change a bracket.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from math import log

from runners.search.bisection import next_n
from runners.search.evidence import check
from runners.search.replay import replay
from runners.search.types import Candidate
from runners.spec import Job
from runners.strategies import STRATEGIES
from runners.verdict import WALK_DOWN, Evidence, bracket, collect

TOP_SUCCEEDS = 7 / 8
BELOW_FAILING_TOP_SUCCEEDS = 1 / 4
"""Guesses: most jobs are given an N_max that is enough, and few that fail there are learned with less."""


def speculate(
    job: Job,
    evidence: Sequence[Evidence],
    known: Mapping[int, bool],
    slots: int,
    running: Collection[int] = (),
) -> tuple[Candidate, ...]:
    """The candidates worth having under way now, most useful first.

    The first is the one that the sequential search waits for; then come those of ``running`` that it still
    can reach, then the most likely new ones. So what is running and missing from the answer is not needed,
    whatever the verdicts to come (unless ``slots`` has shrunk).

    Args:
        job: the search; ``adaptive`` chooses each candidate by all that is known,
            so nothing is tried ahead of its turn.
        evidence: the verdicts consumed so far.
        known: verdicts of candidates that finished before their turn; for ``scan`` only the keys count.
        slots: how many candidates there is room for, running ones included.
        running: the N that are training now.

    Returns:
        At most ``slots`` candidates, none of them known; empty where the search is over.

    Raises:
        ValueError: evidence about an N outside 1..n_max.
    """
    check(job, evidence)
    if slots < 1:
        return ()
    if not STRATEGIES[job.search.strategy].ahead:
        following = replay(job, evidence).next
        return (following,) if following is not None else ()
    if job.search.strategy == "scan":
        from runners.search.scan import open_rungs

        return open_rungs(job, evidence, known, running)[:slots]
    verdicts, _ = collect(evidence)
    likely = _most_likely(job, verdicts, known, slots)
    kept = [n for n in running if n not in known and is_reachable(job, verdicts, known, n)]
    kept.sort(key=lambda n: (likely.index(n) if n in likely else slots, n))
    answer = dict.fromkeys([*likely[:1], *kept, *likely])
    return tuple(Candidate(n, None) for n in answer)[:slots]


def is_reachable(job: Job, verdicts: Mapping[int, bool], known: Mapping[int, bool], n: int) -> bool:
    """Whether some verdicts to come make the search ask for ``n``,
    given those consumed and those known ahead.

    To ask for n the search needs a success at what it asks above n and a failure below;
    only at the top, where ``log`` walks down from a failing N_max, may candidates above n fail first.
    """
    for top_failures in range(len(WALK_DOWN) + 1):
        so_far, failures = (
            dict(verdicts),
            sum(not ok for ok in verdicts.values()) if not any(verdicts.values()) else 0,
        )
        while True:
            asked, _ = next_n(job, so_far)
            if asked is None:
                break
            if asked == n:
                return True
            fails_at_top = not any(so_far.values()) and failures < top_failures
            verdict = asked > n and not fails_at_top
            if known.get(asked, verdict) != verdict:
                break
            failures += fails_at_top
            so_far[asked] = verdict
    return False


def _most_likely(job: Job, verdicts: dict[int, bool], known: Mapping[int, bool], slots: int) -> list[int]:
    found: list[int] = []
    heap: list[tuple[float, int, dict[int, bool]]] = [
        (-1.0, 0, verdicts)
    ]  # minus likelihood, order of discovery, path
    discovered = 0
    while heap and len(found) < slots:
        weight, _, so_far = heapq.heappop(heap)
        n, _ = next_n(job, so_far)
        while n is not None and n in known:
            so_far = {**so_far, n: known[n]}
            n, _ = next_n(job, so_far)
        if n is None:
            continue
        if n not in found:
            found.append(n)
        success = _likelihood(job, so_far, n)
        for verdict, share in ((True, success), (False, 1 - success)):
            discovered += 1
            heapq.heappush(heap, (weight * share, discovered, {**so_far, n: verdict}))
    return found


def _likelihood(job: Job, verdicts: Mapping[int, bool], n: int) -> float:
    """Chance that n succeeds, for an N* uniform in log N over what the bracket leaves open."""
    b = bracket(verdicts)
    if b.hi is None:
        return TOP_SUCCEEDS if n == job.n_max else BELOW_FAILING_TOP_SUCCEEDS
    low = max(b.lo, 0.5)
    return min(max(log(n / low) / log(b.hi / low), 0.02), 0.98)
