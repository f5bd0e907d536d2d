"""Fresh seeds for ``adaptive`` and ``scan``: each is used at one N only,
and a replay gives the same ones again.
"""

from __future__ import annotations

from runners.spec import Job

_BITS = 31
_STRIDE = 0x61C88647
"""Odd, so i -> first + i stride runs through all 2^31 seeds before one comes again;
far from 1, so that jobs whose first seeds are close together (10, 20, ...) share none."""


def fresh(job: Job, used: int, count: int) -> tuple[int, ...]:
    """The next ``count`` seeds after the first ``used`` ones; the very first is the grid's first seed."""
    first = job.grid.seeds[0]
    return tuple((first + i * _STRIDE) % (1 << _BITS) for i in range(used, used + count))
