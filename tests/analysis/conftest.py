"""Rows as the store would give them."""

from __future__ import annotations

from typing import Any

from store.rows import CellRow, NStar


def nstar(n: int | None, lo: int, hi: int | None, **other: Any) -> NStar:
    """An N* that is in: a bracket, or censored at n_max where hi is None."""
    status = other.pop("status", "censored" if hi is None else "bracket")
    fields: dict[str, Any] = {
        "job_id": 100 if n is None else n,
        "state": "done",
        "n_max": 16_000,
        "flags": (),
    }
    return NStar(n=n, lo=lo, hi=hi, status=status, **(fields | other))


def cell(joint: NStar, parts: list[NStar], **other: Any) -> CellRow:
    """A cell over the lengths of its parts."""
    lengths = [p.n for p in parts if p.n is not None] or [2]
    fields: dict[str, Any] = {
        "id": 1,
        "study_id": 1,
        "task": "Z3",
        "m": 3,
        "model": "dense_ssm",
        "model_label": "dense_ssm 16",
        "format": "acot",
        "distribution": "uniform",
        "L": max(lengths),
        "min_length": min(lengths),
    }
    return CellRow(joint=joint, parts=tuple(parts), **(fields | other))
