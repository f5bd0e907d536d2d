"""The cells of the kappa table, each with its joint N* and the N*_n of its sum."""

from __future__ import annotations

from store import decode as d
from store.read.base import Connected
from store.rows import CellRow, NStar

_STATE = d.one_of("queued", "running", "paused", "done", "cancelled", "failed")
_STATUS = d.one_of("bracket", "censored", "open")
_N_STAR = ("state", "status", "lo", "hi", "n_max", "flags", "estimate", "generalisation")
_N_STAR_DECODERS = (_STATE, _STATUS, d.integer, d.maybe_integer, d.integer, d.texts, d.interval, d.maybe_real)
_CELL = ("task", "m", "model", "model_label", "format", "distribution", "L", "min_length")
_CELL_DECODERS = (d.text, d.maybe_integer, d.text, d.text, d.text, d.text, d.integer, d.integer)


class KappaReads(Connected):
    """Part of :class:`store.read.Lab`."""

    def cells(self, study_id: int | None = None) -> list[CellRow]:
        """The kappa cells of one study, or of all, in the order of submission.

        An N*_n that several cells share is one object. A cell whose job is missing from a damaged file is left out.
        """
        only, values = ("", []) if study_id is None else (" WHERE cell.study_id = ?", [study_id])
        with self.consistent():
            cells = self._rows(
                "SELECT id, study_id, joint_job_id, task, m, model, model_label, format, distribution, length, min_length "
                f"FROM cell{only} ORDER BY study_id, ordinal",
                values,
            )
            among = f" WHERE cell_id IN (SELECT id FROM cell{only})" if only else ""
            inner = f"SELECT cell_id, n, job_id FROM cell_part{among}"
            parts = self._rows(
                f"SELECT cell_id, group_concat(n), group_concat(job_id) FROM ({inner} ORDER BY cell_id, n) GROUP BY cell_id",
                values,
            )
            within = (
                " WHERE id IN (SELECT joint_job_id FROM cell WHERE study_id = ?1 "
                "UNION SELECT job_id FROM cell_part WHERE cell_id IN (SELECT id FROM cell WHERE study_id = ?1))"
            )
            have = self._columns["job"]
            columns = ", ".join(c if c in have else "NULL" for c in _N_STAR)
            jobs = self._rows(f"SELECT id, {columns} FROM job{within if only else ''}", values)
        return _assemble(cells, parts, jobs)


def _assemble(
    cells: list[tuple[object, ...]], parts: list[tuple[object, ...]], jobs: list[tuple[object, ...]]
) -> list[CellRow]:
    # objects are filled through __dict__ for speed, as in store/read/mapping.py
    new = object.__new__
    known: dict[object, dict[str, object]] = {}
    for job_id, *values in jobs:
        fields: dict[str, object] = {"job_id": job_id, "n": None}
        fields.update(zip(_N_STAR, [f(v) for f, v in zip(_N_STAR_DECODERS, values, strict=True)], strict=True))
        known[job_id] = fields
    made: dict[tuple[str, str], NStar | None] = {}
    sums: dict[object, tuple[NStar, ...]] = {}
    for cell_id, lengths, job_ids in parts:
        terms: list[NStar] = []
        for key in zip(d.text(lengths).split(","), d.text(job_ids).split(","), strict=False):
            if key in made:
                term = made[key]
            else:
                term = made[key] = _term(key, known)
            if term is not None:
                terms.append(term)
        sums[cell_id] = tuple(terms)
    out: list[CellRow] = []
    for cell_id, study_id, joint_id, *values in cells:
        fields_of_joint = known.get(joint_id)
        if fields_of_joint is None:
            continue
        joint = new(NStar)
        joint.__dict__.update(fields_of_joint)
        cell = new(CellRow)
        cell.__dict__.update(id=d.integer(cell_id), study_id=d.integer(study_id), joint=joint, parts=sums.get(cell_id, ()))
        cell.__dict__.update(zip(_CELL, [f(v) for f, v in zip(_CELL_DECODERS, values, strict=True)], strict=True))
        out.append(cell)
    return out


def _term(key: tuple[str, str], known: dict[object, dict[str, object]]) -> NStar | None:
    try:
        n, job_id = int(key[0]), int(key[1])
    except ValueError:
        return None
    fields = known.get(job_id)
    if fields is None:
        return None
    term = object.__new__(NStar)
    term.__dict__.update(fields)
    term.__dict__["n"] = n
    return term
