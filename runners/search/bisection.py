"""The strategies ``paper`` and ``log``: from the verdicts so far to the next N.

Exact integers, the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

from runners.spec import Job
from runners.verdict import WALK_DOWN, bracket


def geometric_middle(lo: int, hi: int) -> int:
    """round(sqrt(lo hi)), at least lo + 1; needs hi - lo >= 2, and so lies below hi: the arithmetic middle,
    which is no smaller, is at most hi - 1.
    """
    product = lo * hi
    root = isqrt(product)
    if product - root * root > root:  # above (root + 1/2)^2, which is no integer, so there are no ties
        root += 1
    return max(root, lo + 1)


def next_paper(job: Job, verdicts: Mapping[int, bool]) -> int | None:
    """The hybrid binary-geometric procedure of Ebrahimi et al. (2026); None: it is over."""
    if job.n_max not in verdicts:
        return job.n_max
    b = bracket(verdicts)
    if b.hi is None or b.hi - b.lo == 1:
        return None
    if b.lo == 0:
        return max(1, b.hi // job.search.multiplier)
    return (b.lo + b.hi) // 2


def next_log(job: Job, verdicts: Mapping[int, bool]) -> int | None:
    """Halve while candidates succeed, then bisect on a log scale until hi/lo <= 1 + rtol;
    None: it is over.
    """
    if job.n_max not in verdicts:
        return job.n_max
    b = bracket(verdicts)
    if b.hi is None:
        below = (job.n_max // d for d in WALK_DOWN)
        return next((n for n in below if n >= 1 and n not in verdicts), None)
    if b.hi - b.lo == 1:
        return None
    if b.lo == 0:
        return max(1, b.hi // 2)
    if b.hi / b.lo <= 1 + job.search.rtol:
        return None
    return geometric_middle(b.lo, b.hi)


RULES = {"log": next_log, "paper": next_paper}
"""The rule of each strategy that goes by verdicts alone: what it does under either verdict, what may be tried
ahead of its turn and when it is over follow from it.

A rule asks for N_max first and for no N twice; while nothing has succeeded, for ever smaller N, at most as
many as :data:`WALK_DOWN` has; and then inside the bracket alone. By this ``speculative.is_reachable`` knows
which verdict each N on the way to another must have: success above it, failure below, but at the top.
"""


def next_n(job: Job, verdicts: Mapping[int, bool]) -> tuple[int | None, bool]:
    """(next N or None, whether the search has had as many candidates as it may have, needed or not)."""
    n = RULES[job.search.strategy](job, verdicts)
    used_up = len(verdicts) >= job.search.candidates
    return None if used_up else n, used_up
