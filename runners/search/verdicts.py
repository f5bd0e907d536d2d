"""The bracket that a set of verdicts leaves: the one place that says what lo and hi are (docs/science.md,
N* and the search).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runners.search.types import Evidence
from runners.spec import Job

FLAGS = (
    "capped",
    "fails_above",
    "contradicted",
    "max_candidates",
    "seed_budget",
    "beyond_n_max",
    "tf32",
    "bf16",
)
"""Every flag a search can raise, in the order in which they are reported."""


@dataclass(frozen=True)
class Bracket:
    """lo and hi, and which evidence does not fit one threshold."""

    lo: int
    """Largest failing N below hi (below infinity where nothing succeeded); 0: none."""
    hi: int | None
    """Smallest N that succeeded."""
    fails_above: bool
    """Something above the largest success fails: it is learned with fewer samples only."""
    contradicted: bool
    """A failure lies between two successes, or one N has both verdicts."""


def bracket(verdicts: Mapping[int, bool]) -> Bracket:
    """The bracket of one verdict per N."""
    successes = [n for n, ok in verdicts.items() if ok]
    failures = [n for n, ok in verdicts.items() if not ok]
    hi = min(successes, default=None)
    lo = max((n for n in failures if hi is None or n < hi), default=0)
    if hi is None:
        return Bracket(lo, None, False, False)
    top = max(successes)
    return Bracket(lo, hi, any(n > top for n in failures), any(hi < n < top for n in failures))


def collect(evidence: Iterable[Evidence]) -> tuple[dict[int, bool], bool]:
    """(one verdict per N, whether any N has both): an N that succeeded once has succeeded."""
    verdicts: dict[int, bool] = {}
    mixed = False
    for e in evidence:
        mixed |= verdicts.get(e.n, e.success) != e.success
        verdicts[e.n] = verdicts.get(e.n, False) or e.success
    return verdicts, mixed


def best_loss(evidence: Iterable[Evidence]) -> float | None:
    """The lowest finite loss of all the evidence."""
    losses = [e.best_loss for e in evidence if e.best_loss is not None and math.isfinite(e.best_loss)]
    return min(losses, default=None)


def check(job: Job, evidence: Sequence[Evidence]) -> None:
    """Evidence must be about this job.

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


def job_flags(job: Job) -> set[str]:
    """The flags that the job has before any evidence."""
    flags = {"capped"} if job.capped else set()
    if job.training.precision != "fp32":
        flags.add(job.training.precision)
    return flags


def ordered(flags: Iterable[str]) -> tuple[str, ...]:
    """Flags in the order of :data:`FLAGS`, each once."""
    return tuple(f for f in FLAGS if f in set(flags))
