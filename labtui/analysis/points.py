"""Measured N* as points of a scaling law, grouped into the series that one law is fitted to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from labtui.analysis.floor import floors
from runners.verdict import diverged
from store.rows import CellRow, JobRow

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
    """``Z_m`` for modular addition, else the task's label."""

    @property
    def label(self) -> str:
        tail = "" if self.distribution == "uniform" else f" {self.distribution}"
        task = "" if self.family == "Z_m" else f" {self.family}"
        return f"{self.model} {self.format}{task}{tail}"


@dataclass(frozen=True)
class Point:
    """One N*, with what its search left open."""

    series: Series
    L: int
    m: int | None
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


def points(rows: Iterable[CellRow] | Iterable[JobRow]) -> tuple[Point, ...]:
    """Every N* that is in: of cells their joint tasks, of jobs all;
    a job that serves several cells counts once.
    """
    found: dict[int, Point] = {}
    for row in rows:
        if isinstance(row, CellRow):
            job, job_id, model = row.joint, row.joint.job_id, row.model_label
            L = row.L
        else:
            job, job_id, model = row, row.id, row.model_label  # type: ignore[assignment]
            L = row.length
        if job.state != "done" or job.status == "open" or diverged(job):
            continue
        series = Series(model, row.format, row.distribution, "Z_m" if row.m is not None else row.task)
        hi = None if job.status == "censored" else job.hi
        found[job_id] = Point(series, L, row.m, job.lo, hi, job.n_max, job.estimate, job_id, job.flags)
    return tuple(found.values())
