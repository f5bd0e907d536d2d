"""What a strategy asks of a job and of its evidence, before the rules of ``runners.verdict``."""

from __future__ import annotations

from collections.abc import Sequence

from runners.spec import Job
from runners.verdict import Evidence, flags


def check(job: Job, evidence: Sequence[Evidence]) -> None:
    """Refuse evidence that is not about this job.

    Raises:
        ValueError: an N outside 1..n_max, or counts that make no sense; one sentence.
    """
    n_max = job.n_max
    for i, e in enumerate(evidence):
        if not 1 <= e.n <= n_max:
            raise ValueError(f"evidence {i} has n = {e.n}; expected 1..{n_max}")
        if not 0 <= e.successes <= e.seeds:
            raise ValueError(
                f"evidence {i} has {e.successes} successes of {e.seeds} seeds; "
                "expected at most as many as seeds"
            )


def job_flags(job: Job, evidence: Sequence[Evidence]) -> set[str]:
    """The flags of the job itself and those of its evidence."""
    own = {name for name, so in (("capped", job.capped), ("coarse", job.coarse)) if so}
    if job.training.precision != "fp32":
        own.add(job.training.precision)
    if job.search.criterion == "accuracy":
        own.add("accuracy")
    return flags(evidence, own)
