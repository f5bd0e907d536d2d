"""The cells of the kappa table, each with its joint N* and the N*_n of its sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, get_args

from store import decode as d
from store.json import mapping
from store.rows import CellRow, NStar, Status
from store.states import JobState

_STATE, _STATUS = d.decoder("JobState"), d.decoder("Status")
_STATES, _STATUSES = frozenset(get_args(JobState)), frozenset(get_args(Status))
_JOB = ("state", "status", "lo", "hi", "n_max", "flags", "estimate", "generalisation", "n50")
_CHUNK = 500
_ID = itemgetter(0)
_LENGTH = itemgetter(1)


class _Asked(NamedTuple):
    """What the cells of a lab, or of a study, were made of when they were submitted."""

    mark: tuple[Any, ...]
    """The study, and how many cells there were in the lab."""
    cells: list[tuple[CellRow, Any, tuple[int, ...], tuple[str, ...]]]
    """A cell without its results, joint job, jobs of the sum, and of a program their names."""


class KappaCells:
    """The cells of an open lab; what was submitted is read once.

    Args:
        rows: all rows of a statement on the lab's connection.
    """

    def __init__(self, rows: Callable[[str, Sequence[Any]], list[Any]]) -> None:
        self._rows = rows
        self._asked: _Asked | None = None

    def read(self, study_id: int | None, have: frozenset[str]) -> list[CellRow]:
        """Read the cells of one study, or of all, in the order of submission; within one transaction.

        Args:
            have: the columns that the lab's table of jobs has.
        """
        asked = self._what_was_asked(study_id)
        columns = ", ".join(c if c in have else "NULL" for c in _JOB)
        columns = f"id, CASE WHEN distribution = 'fixed' THEN length END, {columns}"
        # through the study's own jobs: two sub-queries over its cells would cost more than the scan
        within = "" if study_id is None else " WHERE id IN (SELECT job_id FROM study_job WHERE study_id = ?)"
        jobs = self._rows(f"SELECT {columns} FROM job{within}", () if study_id is None else (study_id,))
        return _assemble(asked, dict(zip(map(_ID, jobs), _n_stars(jobs), strict=True)))

    def _what_was_asked(self, study_id: int | None) -> _Asked:
        """Cells and their parts: submitted once and never changed,
        so they are read again only where some were added.
        """
        mark = (study_id, *self._rows("SELECT count(*), max(id) FROM cell", ())[0])
        if self._asked is None or self._asked.mark != mark:
            only, values = ("", ()) if study_id is None else (" WHERE cell.study_id = ?", (study_id,))
            cells = self._rows(
                f"SELECT joint_job_id, {', '.join(d.CELLS.columns)} "
                f"FROM cell{only} ORDER BY study_id, ordinal",
                values,
            )
            among = f" WHERE cell_id IN (SELECT id FROM cell{only})" if only else ""
            parts = dict(
                self._rows(
                    f"SELECT cell_id, group_concat(job_id) FROM cell_part{among} GROUP BY cell_id", values
                )
            )
            known: dict[object, tuple[int, ...]] = {}  # the cells of two distributions have the same sum
            for ids in parts.values():
                if ids not in known:
                    known[ids] = _numbers(ids)
            bare = d.CELLS.make(cell[1:] for cell in cells)
            asked: list[tuple[CellRow, Any, tuple[int, ...], tuple[str, ...]]] = [
                (made, cell[0], known.get(parts.get(made.id), ()), ())
                for made, cell in zip(bare, cells, strict=True)
            ]
            self._asked = _Asked(mark, self._with_axes(asked))
        return self._asked

    def _with_axes(
        self, cells: list[tuple[CellRow, Any, tuple[int, ...], tuple[str, ...]]]
    ) -> list[tuple[CellRow, Any, tuple[int, ...], tuple[str, ...]]]:
        """Of programs the axes and the names of the parts, which their searches' specs tell."""
        wanted = {i for made, joint, ids, _ in cells if made.program for i in (joint, *ids)}
        if not wanted:
            return cells
        values = axes_of(self._rows, wanted)
        out = []
        for made, joint, ids, names in cells:
            if made.program:
                mine = values.get(joint, {})
                first = values.get(ids[0], {}) if ids else {}
                over = next((k for k in mine if first and first.get(k) != mine[k]), "")
                names = tuple(values.get(i, {}).get(over, "?") for i in ids)
                made.__dict__.update(over=over, axes=tuple((k, v) for k, v in mine.items() if k != over))
            out.append((made, joint, ids, names))
        return out


def axes_of(rows: Callable[[str, Sequence[Any]], list[Any]], ids: Iterable[int]) -> dict[int, dict[str, str]]:
    """The values of programs' axes as texts, by job; a spec that cannot be read has none."""
    out: dict[int, dict[str, str]] = {}
    wanted = sorted(i for i in set(ids) if isinstance(i, int))
    for start in range(0, len(wanted), _CHUNK):
        part = wanted[start : start + _CHUNK]
        marks = ",".join("?" * len(part))
        for job_id, spec in rows(f"SELECT job_id, spec FROM job_text WHERE job_id IN ({marks})", part):
            task = mapping(d.spec(spec)).get("task")
            values = task.get("values") if isinstance(task, dict) else None
            if isinstance(values, dict):
                out[job_id] = {str(k): _word(v) for k, v in values.items()}
    return out


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _assemble(asked: _Asked, stars: dict[int, NStar]) -> list[CellRow]:
    sums: dict[tuple[int, ...], tuple[NStar, ...]] = {}
    out: list[CellRow] = []
    for bare, joint_id, ids, names in asked.cells:
        joint = stars.get(joint_id)
        if joint is None:
            continue
        if names:
            parts = _parts(ids, names, stars)
        elif ids not in sums:
            parts = sums[ids] = _sum(ids, stars)
        else:
            parts = sums[ids]
        # a frozen dataclass is filled through __dict__, as in store/decode.py
        made = object.__new__(CellRow)
        made.__dict__.update(
            bare.__dict__, joint=joint if joint.n is None else joint._replace(n=None), parts=parts
        )
        out.append(made)
    return out


def _numbers(ids: object) -> tuple[int, ...]:
    """The ids in a text; none where a damaged file has something else."""
    try:
        return tuple(map(int, ids.split(","))) if isinstance(ids, str) else ()
    except ValueError:
        return ()


def _sum(ids: tuple[int, ...], stars: dict[int, NStar]) -> tuple[NStar, ...]:
    """The N*_n of these jobs, by length; those that are not there, or of no one length, left out."""
    found = [star for star in map(stars.get, ids) if star is not None and star.n is not None]
    found.sort(key=_LENGTH)
    return tuple(found)


def _parts(ids: tuple[int, ...], names: tuple[str, ...], stars: dict[int, NStar]) -> tuple[NStar, ...]:
    """A program's parts, numbered in the order of the spec."""
    found = enumerate(zip(ids, names, strict=True), 1)
    return tuple(stars[i]._replace(n=n, name=name) for n, (i, name) in found if i in stars)


def _n_stars(jobs: list[Any]) -> list[NStar]:
    """Each job's N*, with its length where it has but one.

    Rows with sound values, as nearly all are, take a short way.
    """
    new, whole = tuple.__new__, int
    out: list[NStar] = []
    for row in jobs:
        job_id, n, state, status, lo, hi, n_max, flags, estimate, generalisation, n50 = row
        if (
            flags == "[]"
            and estimate is generalisation is n50 is None
            and state in _STATES
            and status in _STATUSES
            and type(lo) is type(n_max) is whole
            and (type(hi) is whole or (hi is None and status != "bracket"))
            and (n is None or type(n) is whole)
        ):
            out.append(new(NStar, (job_id, n, state, status, lo, hi, n_max, (), None, None, "", None)))
        else:
            out.append(_n_star(*row))
    return out


def _n_star(
    job_id: int,
    n: object,
    state: object,
    status: object,
    lo: object,
    hi: object,
    n_max: object,
    *others: object,
) -> NStar:
    flags, estimate, generalisation, n50 = others
    known, most = _STATUS(status), d.maybe_integer(hi)
    return NStar(
        job_id,
        None if n is None else d.integer(n),
        _STATE(state),
        "open" if most is None and known == "bracket" else known,
        d.integer(lo),
        most,
        d.integer(n_max),
        d.texts(flags),
        d.interval(estimate),
        d.maybe_real(generalisation),
        n50=d.interval(n50),
    )
