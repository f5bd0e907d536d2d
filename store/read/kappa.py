"""The cells of the kappa table, each with its joint N* and the N*_n of its sum."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from store import decode as d
from store.read.base import Connected
from store.rows import CellRow, NStar

_STATE = d.one_of("queued", "running", "paused", "done", "cancelled", "failed")
_STATUS = d.one_of("bracket", "censored", "open")
_STATES = frozenset({"queued", "running", "paused", "done", "cancelled", "failed"})
_STATUSES = frozenset({"bracket", "censored", "open"})
_JOB = ("state", "status", "lo", "hi", "n_max", "flags", "estimate", "generalisation")
_LENGTH = attrgetter("n")


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
            parts = self._rows(f"SELECT cell_id, group_concat(job_id) FROM cell_part{among} GROUP BY cell_id", values)
            have = self._columns["job"]
            columns = ", ".join(c if c in have else "NULL" for c in _JOB)
            columns = f"id, CASE WHEN distribution = 'fixed' THEN length END, {columns}"
            # through the study's own jobs: two sub-queries over its cells would cost more than the scan
            within = " WHERE id IN (SELECT job_id FROM study_job WHERE study_id = ?)" if only else ""
            jobs = self._rows(f"SELECT {columns} FROM job{within}", values)
        return _assemble(cells, parts, jobs)


def _assemble(cells: list[Any], parts: list[Any], jobs: list[Any]) -> list[CellRow]:
    # Frozen dataclasses are filled through __dict__, as in store/read/mapping.py, and here item by item: dictionaries that
    # grow with the same keys share them, which halves the time and the memory of tens of thousands.
    rows = {job[0]: job for job in jobs}
    terms = {job[0]: _n_star(job, d.integer(job[1])) for job in jobs if job[1] is not None}
    listed = dict(parts)
    sums: dict[object, tuple[NStar, ...]] = {}
    out: list[CellRow] = []
    for cell_id, study_id, joint_id, task, m, model, label, form, distribution, length, least in cells:
        joint = rows.get(joint_id)
        if joint is None:
            continue
        ids = listed.get(cell_id)
        if ids not in sums:  # the cells of two distributions have the same sum
            sums[ids] = _sum(ids, terms)
        made = object.__new__(CellRow)
        fields = made.__dict__
        fields["id"] = d.integer(cell_id)
        fields["study_id"] = d.integer(study_id)
        fields["joint"] = _n_star(joint, None)
        fields["parts"] = sums[ids]
        fields["task"] = d.text(task)
        fields["m"] = d.maybe_integer(m)
        fields["model"] = d.text(model)
        fields["model_label"] = d.text(label)
        fields["format"] = d.word(form)
        fields["distribution"] = d.word(distribution)
        fields["L"] = d.integer(length)
        fields["min_length"] = d.integer(least)
        out.append(made)
    return out


def _sum(ids: object, terms: dict[Any, NStar]) -> tuple[NStar, ...]:
    """The N*_n, by length, of the jobs whose ids stand in a text; those that are not there, or of no one length, left out."""
    if not isinstance(ids, str):
        return ()
    try:
        found = list(filter(None, map(terms.get, map(int, ids.split(",")))))
    except ValueError:
        return ()
    found.sort(key=_LENGTH)
    return tuple(found)


def _n_star(row: Sequence[Any], n: int | None) -> NStar:
    """One job's N*. A row with sound values, as nearly all are, takes a short way."""
    job_id, _, state, status, lo, hi, n_max, flags, estimate, generalisation = row
    if state not in _STATES or status not in _STATUSES:
        state, status = _STATE(state), _STATUS(status)
    if type(lo) is not int or type(n_max) is not int or (hi is not None and type(hi) is not int):
        lo, hi, n_max = d.integer(lo), d.maybe_integer(hi), d.integer(n_max)
    if hi is None and status == "bracket":
        status = "open"
    made = object.__new__(NStar)
    fields = made.__dict__
    fields["job_id"] = job_id
    fields["n"] = n
    fields["state"] = state
    fields["status"] = status
    fields["lo"] = lo
    fields["hi"] = hi
    fields["n_max"] = n_max
    fields["flags"] = () if flags == "[]" else d.texts(flags)
    fields["estimate"] = None if estimate is None else d.interval(estimate)
    fields["generalisation"] = None if generalisation is None else d.maybe_real(generalisation)
    return made
