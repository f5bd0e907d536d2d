"""Measured N* as points of a scaling law, grouped into the series that one law is fitted to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from labtui.analysis.floor import floors
from runners.verdict import diverged
from store.rows import CellRow, JobRow
from store.states import GOALS

if TYPE_CHECKING:
    from store.read import Lab

Censoring = Literal["none", "right", "left"]


@dataclass(frozen=True, order=True)
class Series:
    """What one law holds for: everything but L and m is the same."""

    model: str
    """The model's label, its size included."""
    format: str
    distribution: str
    family: str
    """``Z_m`` for modular addition, else the task's label; of a program its other axes."""
    x: str = "L"
    """The axis that a point's ``L`` is of: of a program one of its numeric axes."""
    z: str = "m"
    """The same of ``m``."""

    @property
    def label(self) -> str:
        tail = "" if self.distribution in ("uniform", *GOALS) else f" {self.distribution}"
        task = "" if self.family in ("Z_m", "") else f" {self.family}"
        return f"{self.model} {self.format}{task}{tail}"


@dataclass(frozen=True)
class Point:
    """One N*, with what its search left open."""

    series: Series
    L: float
    m: float | None
    lo: int
    hi: int | None
    """None: N* > n_max."""
    n_max: int
    estimate: tuple[float, float, float] | None = None
    """``adaptive``: N* and its 90 % interval."""
    job_id: int = 0
    flags: tuple[str, ...] = ()
    floor: float | None = None
    """Sequences after which a table of transitions would do (analysis/floor.py); None where that is not
    known."""
    n50: tuple[float, float, float] | None = None

    @property
    def censoring(self) -> Censoring:
        """right: N* > n_max; left: N* <= hi, with nothing known below it (N* = 1)."""
        if self.hi is None:
            return "right"
        return "left" if self.lo == 0 and self.estimate is None else "none"


def with_floors(found: Iterable[Point], lab: Lab) -> tuple[Point, ...]:
    """The same points, each with its coverage floor; reads the specs of the searches with acot."""
    every = tuple(found)
    known = floors(lab, (p.job_id for p in every if p.series.format == "acot"))
    return tuple(replace(p, floor=known.get(p.job_id)) for p in every)


def points(
    rows: Iterable[CellRow] | Iterable[JobRow],
    axes: Mapping[int, Mapping[str, str]] | None = None,
    x: str | None = None,
) -> tuple[Point, ...]:
    """Every N* that is in: of cells their joint tasks, of jobs all;
    a job that serves several cells counts once.

    Args:
        axes: of the jobs that run programs the values of their axes (``Lab.axes``); of those that have no
            number among them there is no point.
        x: of programs the axis that comes first, and then only theirs that have a number on it; None: the
            first that varies in the order of the spec.
    """
    measured: dict[int, Point] = {}
    every: tuple[CellRow | JobRow, ...] = tuple(rows)
    orders = _orders(every, axes)
    for row in every:
        if isinstance(row, CellRow):
            job, job_id, model = row.joint, row.joint.job_id, row.model_label
            L = row.L
        else:
            job, job_id, model = row, row.id, row.model_label  # type: ignore[assignment]
            L = row.length
        if job.state != "done" or job.status == "open" or diverged(job):
            continue
        series = Series(model, row.format, row.distribution, "Z_m" if row.m is not None else row.task)
        m: float | None = row.m
        at: float = L
        if row.program:
            values = _values(row, axes)
            names = [n for n in (x, *orders[_group(row, values)]) if n is not None]
            first, second, *_ = *dict.fromkeys(names), "m", "m"
            number = _number(values.get(first, ""))
            if number is None:
                continue
            at, m = number, _number(values.get(second, ""))
            told = " ".join(
                text if _number(text) is None else f"{name}={text}"
                for name, text in values.items()
                if name not in (first, second)
            )
            series = Series(model, row.format, row.distribution, told, first, second)
        elif x is not None:
            continue
        hi = None if job.status == "censored" else job.hi
        measured[job_id] = Point(
            series, at, m, job.lo, hi, job.n_max, job.estimate, job_id, job.flags, n50=job.n50
        )
    return tuple(measured.values())


def numeric_axes(
    rows: Iterable[CellRow] | Iterable[JobRow], axes: Mapping[int, Mapping[str, str]] | None = None
) -> tuple[str, ...]:
    """The axes of programs on which some search has a number, those that vary first."""
    found: dict[str, set[float]] = {}
    for row in rows:
        for name, text in _values(row, axes).items() if row.program else ():
            if (number := _number(text)) is not None:
                found.setdefault(name, set()).add(number)
    return tuple(sorted(found, key=lambda name: len(found[name]) < 2))


def _orders(
    rows: Sequence[CellRow | JobRow], axes: Mapping[int, Mapping[str, str]] | None
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Of searches of programs that have the same axes: those of numbers alone, what varies first."""
    groups: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
    for row in rows:
        if row.program:
            values = _values(row, axes)
            groups.setdefault(_group(row, values), []).append(values)
    out = {}
    for key, members in groups.items():
        columns = {name: {_number(values[name]) for values in members} for name in members[0]}
        whole = [name for name, found in columns.items() if None not in found]
        out[key] = tuple(sorted(whole, key=lambda name: len(columns[name]) < 2))
    return out


def _group(row: CellRow | JobRow, values: Mapping[str, str]) -> tuple[str, ...]:
    return (row.model_label, row.format, row.distribution, *values)


def _values(row: CellRow | JobRow, axes: Mapping[int, Mapping[str, str]] | None) -> Mapping[str, str]:
    return dict(row.axes) if isinstance(row, CellRow) else (axes or {}).get(row.id, {})


def _number(text: str) -> float | None:
    """The positive number that a value is; None: it is none that a law could be of."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
