"""The job of a spec that stands in a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runners.spec import Job
    from store.read import Lab
    from store.rows import CellRow


def stored_job(text: str) -> Job | None:
    """Parse a stored spec; None where it cannot be read."""
    from runners.spec import Job

    try:
        return Job.from_json(text)
    except (ValueError, RecursionError):
        return None


def measured(
    lab: Lab, study: int | None = None, known: dict[int, Job | None] | None = None
) -> tuple[list[CellRow], dict[int, Job], dict[int, tuple[float, ...]]]:
    """The cells of a lab or a study, each once, the specs of their searches that can be read, and by search
    the accuracy at 2L of each seed.

    Args:
        known: specs that were read before (None: cannot be read); those that are read now are added.
    """
    cells = lab.cells(study)
    ids = {part.job_id for cell in cells for part in (cell.joint, *cell.parts)}
    read = {} if known is None else known
    read.update((i, stored_job(lab.job_spec(i))) for i in sorted(ids - read.keys()))
    specs = {i: job for i in sorted(ids) if (job := read[i]) is not None}
    return cells, specs, lab.accuracies()
