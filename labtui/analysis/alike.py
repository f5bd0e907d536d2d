"""In what searches differ that read alike: the same task, model, format and lengths, other settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from store.filters import Condition

if TYPE_CHECKING:
    from runners.spec import Job
    from store.read import Lab
    from store.rows import JobRow

MOST = 400
"""Searches whose specs are read for one list; of further ones nothing is said."""


class Setting(NamedTuple):
    """A setting in which a search differs from another one."""

    key: str
    """Dotted, as ``labtui submit --set`` takes it."""
    here: str
    there: str


class Differing(NamedTuple):
    """A search beside the first of those that read like it."""

    other: int
    """The id of that first one."""
    settings: tuple[Setting, ...]

    @property
    def text(self) -> str:
        """``search.eps 0.03, steps 500``: what it has, by the last parts of the keys."""
        return ", ".join(f"{setting.key} {setting.here}" for setting in self.settings)


def differing(lab: Lab, rows: Iterable[JobRow]) -> dict[int, Differing]:
    """Of every job among ``rows`` that reads like an older one among them: in what it differs from the first.

    Specs are read only where two rows read alike.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for row in rows:
        groups.setdefault(_reads(row), []).append(row.id)
    found: dict[int, Differing] = {}
    read = 0
    for ids in groups.values():
        if len(ids) < 2 or read + len(ids) > MOST:
            continue
        read += len(ids)
        first, *others = sorted(ids)
        found.update(_from_first(lab, first, others))
    return found


def beside_first(lab: Lab, row: JobRow) -> Differing | None:
    """In what one search differs from the oldest that reads like it; None where there is none."""
    where = [
        Condition("task", "=", row.task),
        Condition("label", "=", row.model_label),
        Condition("format", "=", row.format),
        Condition("distribution", "=", row.distribution),
        Condition("L", "=", row.length),
        Condition("min_length", "=", row.min_length),
    ]
    ids = [i for i in lab.job_ids(where, order="id", archived=None) if i < row.id]
    return _from_first(lab, ids[0], [row.id]).get(row.id) if ids else None


def _reads(row: JobRow) -> tuple[str, str, str, str, int, int]:
    return row.task, row.model_label, row.format, row.distribution, row.length, row.min_length


def _from_first(lab: Lab, first: int, others: Iterable[int]) -> dict[int, Differing]:
    from runners.spec import differences  # loads pydantic, which most lists do without

    found = {}
    start = _job(lab, first)
    for number in others:
        job = _job(lab, number)
        if start is not None and job is not None:
            found[number] = Differing(first, tuple(Setting(*d) for d in differences(job, start)))
    return found


def _job(lab: Lab, number: int) -> Job | None:
    """The stored search; None where its spec is damaged or of a later version."""
    from runners.spec import Job

    try:
        return Job.from_json(lab.job_spec(number))
    except ValueError:
        return None
