"""The command line's one gate to what changes a lab file, and to the search that checks it.

``store.write`` loads SQLModel and alembic (0.6 s): so each import stands in the function that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from labtui.cli.errors import WorkFailed

if TYPE_CHECKING:
    from runners.search import Evidence
    from runners.search import Progress as Standing
    from runners.spec import Job, NamedJob, Study
    from store.merge import Merged
    from store.write import Submitted as Submitted

Progress = Callable[[float, float], None]
"""So much is done, of so much."""
NO_TORCH = "training needs torch, which is not installed; add it with: pip install 'labtui[train]'"


def require_torch(path: Path | None = None) -> None:
    """Raises WorkFailed where torch is missing and wanted; looks for it without loading it.

    Args:
        path: of a lab: programs need no torch, so one whose jobs to do are all programs wants none.
    """
    if find_spec("torch") is None and not (path is not None and _programs_alone(path)):
        raise WorkFailed(NO_TORCH)


def _programs_alone(path: Path) -> bool:
    from store.read import open_lab

    with open_lab(path) as lab:
        return lab.programs_alone()


def create_or_open(path: Path) -> None:
    """Make the lab, or bring an older one to this schema after a verified backup."""
    from store.write import create_or_open as create

    create(path)


def submit(
    path: Path, spec: Study | NamedJob, *, jobs_only: bool = False, only: frozenset[str] | None = None
) -> Submitted:
    """Queue a study or a job; what the lab already knows is reused."""
    from store.write import submit as queue

    create_or_open(path)
    return queue(path, spec, jobs_only=jobs_only, only=only)


def apply_pending(path: Path) -> None:
    """Carry out the verbs at once where no supervisor runs."""
    from store.write import apply_pending as apply

    apply(path)


def check(path: Path, *, read_only: bool = False, progress: Progress | None = None) -> list[str]:
    """Say what is wrong with the file; every bracket is compared with a replay of its search."""
    from runners.search import Evidence, replay
    from runners.spec import Job
    from store.check import check as examine

    def searched(
        job_json: str, evidence: Sequence[tuple[int, bool, int, int, float | None]]
    ) -> tuple[int, int | None, str]:
        verdicts = [Evidence(*e) for e in evidence]
        progress = replay(Job.from_json(job_json), verdicts)
        return progress.lo, progress.hi, progress.status

    return examine(path, replay=searched, read_only=read_only, progress=progress)


def replay(job: Job, evidence: Sequence[Evidence]) -> Standing:
    """Say where a search stands after the evidence."""
    from runners.search import replay as search

    return search(job, evidence)


def snapshot(path: Path, out: Path, *, read_only: bool = False) -> None:
    """Write one good file of a lab, even while it is live."""
    from store.snapshot import snapshot as copy

    copy(path, out, read_only=read_only)


def backup(path: Path, progress: Progress | None = None) -> Path:
    """Write a verified copy into the lab's own folder."""
    from store.snapshot import backup as copy

    return copy(path, progress=progress)


def restore(path: Path, backup_file: Path) -> tuple[Path, Path]:
    """Put a backup in the lab's place; where the lab as it was, and its checkpoints, went."""
    from store.snapshot import restore as put

    return put(path, backup_file)


def vacuum(path: Path) -> tuple[int, int]:
    """Give unused space back; (bytes before, bytes after)."""
    from store.snapshot import vacuum as shrink

    return shrink(path)


def merge(first: Path, second: Path, out: Path, progress: Progress | None = None) -> Merged:
    """Merge two labs into a new one, and tell what became of the second's searches."""
    from store.merge import merge as join

    return join(first, second, out, progress)
