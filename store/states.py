"""Which change of a job's state is allowed. Standard library only."""

from __future__ import annotations

from store.errors import Illegal
from store.rows import JobState

LEGAL: dict[JobState, frozenset[JobState]] = {
    "queued": frozenset({"running", "paused", "cancelled"}),
    "running": frozenset({"queued", "paused", "done", "failed", "cancelled"}),
    "paused": frozenset({"queued", "cancelled"}),
    "failed": frozenset({"queued"}),
    "cancelled": frozenset({"queued", "paused"}),
    "done": frozenset(),
}
"""From a cancelled job only its undo leads to ``paused``; nothing leads out of ``done``."""


def require_legal(job_id: int, old: str, new: str) -> None:
    """Raises Illegal unless a job may go from ``old`` to ``new``."""
    allowed = LEGAL.get(old, frozenset())  # type: ignore[call-overload]
    if new not in allowed:
        expected = ", ".join(sorted(allowed)) or "no change at all"
        raise Illegal(f"job {job_id} is {old} and cannot become {new}; expected {expected}")
