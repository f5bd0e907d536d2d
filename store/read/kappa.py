"""The cells of the kappa table, each with its joint N* and the N*_n of its sum."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, TypeVar

from store import decode as d
from store.read.base import Connected
from store.rows import CellRow, NStar

_Row = TypeVar("_Row")
_STATES = ("queued", "running", "paused", "done", "cancelled", "failed")
_STATUSES = ("bracket", "censored", "open")
_STATE = d.one_of(*_STATES)
_STATUS = d.one_of(*_STATUSES)
_N_STAR = ("distribution", "length", "state", "status", "lo", "hi", "n_max", "flags", "estimate", "generalisation")
_LENGTH = attrgetter("n")
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
            parts = self._rows(f"SELECT cell_id, group_concat(job_id) FROM cell_part{among} GROUP BY cell_id", values)
            have = self._columns["job"]
            columns = ", ".join(c if c in have else "NULL" for c in _N_STAR)
            # through the study's own jobs: two sub-queries over its cells would cost more than the scan
            within = " WHERE id IN (SELECT job_id FROM study_job WHERE study_id = ?)" if only else ""
            jobs = self._rows(f"SELECT id, {columns} FROM job{within}", values)
        return _assemble(cells, parts, jobs)


_Fields = dict[str, object]


def _assemble(cells: list[Any], parts: list[Any], jobs: list[Any]) -> list[CellRow]:
    # Frozen dataclasses are filled through __dict__, as in store/read/mapping.py: there are tens of thousands of them.
    known, terms = _n_stars(jobs)
    sums: dict[object, tuple[NStar, ...]] = {}
    for cell_id, job_ids in parts:
        try:
            found = [terms[i] for i in map(int, job_ids.split(",")) if i in terms]
        except (ValueError, AttributeError):
            continue
        found.sort(key=_LENGTH)
        sums[cell_id] = tuple(found)
    out: list[CellRow] = []
    for cell_id, study_id, joint_id, *values in cells:
        joint = known.get(joint_id)
        if joint is None:
            continue
        fields: _Fields = {
            "id": d.integer(cell_id),
            "study_id": d.integer(study_id),
            "joint": _filled(NStar, joint),
            "parts": sums.get(cell_id, ()),
        }
        fields.update(zip(_CELL, [f(v) for f, v in zip(_CELL_DECODERS, values, strict=True)], strict=True))
        out.append(_filled(CellRow, fields))
    return out


def _n_stars(jobs: list[Any]) -> tuple[dict[object, _Fields], dict[object, NStar]]:
    """The fields of every job's N*, and its object where it is an N*_n (its job has one length).

    Rows with sound values, which are nearly all, take a short way.
    """
    known: dict[object, _Fields] = {}
    terms: dict[object, NStar] = {}
    states, statuses = frozenset(_STATES), frozenset(_STATUSES)
    for job_id, distribution, length, state, status, lo, hi, n_max, flags, estimate, generalisation in jobs:
        sound = type(lo) is int and type(n_max) is int and (hi is None or type(hi) is int)
        fields: _Fields = {
            "job_id": job_id,
            "n": None,
            "state": state if state in states else _STATE(state),
            "status": status if status in statuses else _STATUS(status),
            "lo": lo if sound else d.integer(lo),
            "hi": hi if sound else d.maybe_integer(hi),
            "n_max": n_max if sound else d.integer(n_max),
            "flags": () if flags == "[]" else d.texts(flags),
            "estimate": None if estimate is None else d.interval(estimate),
            "generalisation": None if generalisation is None else d.maybe_real(generalisation),
        }
        known[job_id] = fields
        if distribution == "fixed":
            terms[job_id] = _filled(NStar, {**fields, "n": d.integer(length)})
    return known, terms


def _filled(row: type[_Row], fields: _Fields) -> _Row:
    made = object.__new__(row)
    object.__setattr__(made, "__dict__", fields)
    return made
