"""Jobs for the search's tests: nothing is trained, only N_max and the options matter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from runners.search import Evidence, Progress, replay
from runners.spec import DenseSSM, Grid, Job, Lengths, ModularAddition, Search

Oracle = Callable[[int], bool]


def make_job(strategy: str = "log", n_max: int = 16_000_000, seeds: int = 5, **search: Any) -> Job:
    """A job with room for any N_max asked for."""
    return Job(
        task=ModularAddition(m=10),
        format="acot",
        lengths=Lengths(distribution="fixed", length=20),
        model=DenseSSM(hidden=8),
        grid=Grid(seeds=tuple(range(10, 10 + 10 * seeds, 10))),
        search=Search.model_validate({"strategy": strategy, "n_max": n_max, **search}),
    )


def run(job: Job, oracle: Oracle, limit: int = 1000) -> tuple[list[Evidence], Progress]:
    """The sequential search against an oracle: its evidence and its end."""
    evidence: list[Evidence] = []
    for _ in range(limit):
        progress = replay(job, evidence)
        if progress.next is None:
            return evidence, progress
        evidence.append(Evidence(progress.next.n, oracle(progress.next.n)))
    raise AssertionError(f"no end after {limit} candidates")


def asked(evidence: Iterable[Evidence]) -> list[int]:
    """The sequence of N."""
    return [e.n for e in evidence]
