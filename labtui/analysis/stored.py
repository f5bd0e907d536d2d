"""The job of a spec that stands in a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runners.spec import Job


def stored_job(text: str) -> Job | None:
    """Parse a stored spec; None where it cannot be read."""
    from runners.spec import Job

    try:
        return Job.from_json(text)
    except (ValueError, RecursionError):
        return None
