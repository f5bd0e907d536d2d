"""Rows that stand by themselves, for the Python API and ``labtui export`` alike.

Every row carries its search's axes, N* and both ends of its interval in columns of their own. Times are ISO
8601 in UTC, losses nats per position, N sequences.

``nstar_kind`` says what is known of N*: ``open``, it is still to come; ``bracket``, it lies in [nstar_low,
nstar_high]; ``estimate``, a median with its 90 % interval; ``censored``, N* >= nstar_low, with no upper end;
``diverged``, nothing is known of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from math import isnan
from typing import TYPE_CHECKING, Any, NamedTuple

from labtui.analysis.fits import Fit, Refusal, fit_all
from labtui.analysis.kappa import kappa
from labtui.analysis.points import points
from labtui.cli.output import pages
from labtui.views.metric import grid_settings, metric
from labtui.views.numbers import iso
from runners.verdict import Answer, Result, answer
from store.errors import LabError
from store.json import mapping
from store.rows import JobRow, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labtui.analysis.fits import Parameter
    from store.read import Lab


@dataclass(frozen=True)
class Record:
    """A row of a table that is exported."""


@dataclass(frozen=True)
class JobRecord(Record):
    """One search: what ``labtui export jobs`` writes.

    ``axes`` is JSON: of a program the values of its axes. Its losses are its metric, ``eps`` its threshold.
    """

    id: int
    hash: str
    name: str
    state: str
    priority: int
    attempt: int
    max_attempts: int
    task: str
    m: int | None
    model: str
    model_label: str
    format: str
    distribution: str
    length: int
    min_length: int
    strategy: str
    eps: float
    n_max: int
    trials_per_probe: int
    steps: int
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    nstar_kind: str
    nstar: float | None
    nstar_low: float | None
    nstar_high: float | None
    n50: float | None
    n50_low: float | None
    n50_high: float | None
    lo: int
    hi: int | None
    status: str
    flags: tuple[str, ...]
    best_loss: float | None
    candidates: int
    current_n: int | None
    progress: float
    device: str | None
    created_at: str | None
    started_at: str | None
    finished_at: str | None
    wall_s: float
    device_s: float
    member_steps: int
    failure: str | None
    reason: str | None
    notes: str
    tags: tuple[str, ...]
    archived: bool
    axes: str


@dataclass(frozen=True)
class ProbeRecord(Record):
    """One candidate N of a search: what ``labtui export probes`` writes."""

    id: int
    job_id: int
    job_hash: str
    task: str
    model_label: str
    format: str
    distribution: str
    length: int
    min_length: int
    nstar_kind: str
    nstar: float | None
    nstar_low: float | None
    nstar_high: float | None
    flags: tuple[str, ...]
    learning_rates: tuple[float, ...]
    ordinal: int
    n: int
    state: str
    verdict: bool | None
    speculative: bool
    seeds: int
    successes: int
    trials: int
    trials_ended: int
    best_loss: float | None
    step: int
    attempt: int
    device: str | None
    slot: str | None
    started_at: str | None
    ended_at: str | None
    wall_s: float
    member_steps: int
    plan: str


@dataclass(frozen=True)
class TrialRecord(Record):
    """One training run: what ``labtui export trials`` writes.

    ``setting`` is JSON: of a program the values of its grid, which ``lr`` numbers; ``memory`` and
    ``gpu_memory`` the most bytes that it held, ``gpu_use`` its mean share of the GPU's time, 0..1.
    """

    id: int
    probe_id: int
    job_id: int
    job_hash: str
    task: str
    model_label: str
    format: str
    distribution: str
    length: int
    min_length: int
    nstar_kind: str
    nstar: float | None
    nstar_low: float | None
    nstar_high: float | None
    flags: tuple[str, ...]
    n: int
    lr: float
    seed: int
    outcome: str
    best_loss: float | None
    best_step: int
    last_loss: float | None
    steps: int
    wall_s: float
    generalisation: float | None
    setting: str
    memory: float | None
    gpu_memory: float | None
    gpu_use: float | None


@dataclass(frozen=True)
class CurveRecord(Record):
    """One evaluation of a trial: what ``labtui export curves`` writes.

    ``exact`` False: ``validation`` is that of a first part of the set, enough to show that it is not below
    eps; None: not known, in a lab of an earlier labtui.
    """

    trial_id: int
    job_id: int
    job_hash: str
    task: str
    model_label: str
    format: str
    distribution: str
    length: int
    min_length: int
    nstar_kind: str
    nstar: float | None
    nstar_low: float | None
    nstar_high: float | None
    flags: tuple[str, ...]
    n: int
    lr: float
    seed: int
    outcome: str
    step: int
    train: float | None
    validation: float
    setting: str
    exact: bool | None


@dataclass(frozen=True)
class KappaRecord(Record):
    """kappa of one cell: what ``labtui export kappa`` writes.

    Of a program ``over`` is the axis of the sum and ``axes``, as JSON, the others with their values.
    """

    id: int
    study_id: int
    task: str
    m: int | None
    model: str
    model_label: str
    format: str
    distribution: str
    L: int
    min_length: int
    flags: tuple[str, ...]
    notes: tuple[str, ...]
    kappa_status: str
    kappa_value: float | None
    kappa_low: float | None
    kappa_high: float | None
    kappa_interval: str
    kappa_regime: str | None
    kappa_have: int
    kappa_want: int
    kappa_text: str
    joint_job_id: int
    joint_state: str
    joint_status: str
    joint_lo: int
    joint_hi: int | None
    joint_n_max: int
    joint_flags: tuple[str, ...]
    joint_nstar_kind: str
    joint_nstar: float | None
    joint_nstar_low: float | None
    joint_nstar_high: float | None
    joint_generalisation: float | None
    over: str
    axes: str


@dataclass(frozen=True)
class PartRecord(Record):
    """One N* that a kappa is made of, the joint one with ``n`` None: what ``labtui export cells`` writes.

    Of a program's part ``name`` is its value on the axis ``over``; the joint one has none.
    """

    id: int
    task: str
    m: int | None
    model: str
    model_label: str
    format: str
    distribution: str
    L: int
    n: int | None
    job_id: int
    state: str
    status: str
    lo: int
    hi: int | None
    n_max: int
    nstar_kind: str
    nstar: float | None
    nstar_low: float | None
    nstar_high: float | None
    flags: tuple[str, ...]
    generalisation: float | None
    name: str
    over: str
    axes: str


@dataclass(frozen=True)
class FitRecord(Record):
    """A law N* ~ c L^a m^b of one series, or why there is none: what ``labtui export fits`` writes.

    ``status`` is ``fitted`` or ``refused``; ``reason`` says why there is no law, or why an axis was left out
    of it. ``x`` and ``z`` name the axes: L and m, or those of a program that stand for them.
    """

    model: str
    format: str
    distribution: str
    task: str
    status: str
    points: int
    censored: int | None
    c: float | None
    c_low: float | None
    c_high: float | None
    a: float | None
    a_low: float | None
    a_high: float | None
    b: float | None
    b_low: float | None
    b_high: float | None
    spread: float | None
    spread_low: float | None
    spread_high: float | None
    reason: str
    text: str
    x: str
    z: str


@dataclass(frozen=True)
class EventRecord(Record):
    """Something that happened: what ``labtui export events`` writes."""

    id: int
    at: str | None
    kind: str
    level: str
    job_id: int | None
    probe_id: int | None
    text: str
    data: str


class _Search(NamedTuple):
    """What the rows of one search share."""

    job: JobRow
    found: Answer
    learning_rates: tuple[float, ...]

    def axes(self) -> dict[str, Any]:
        job = self.job
        return {
            "job_id": job.id,
            "task": job.task,
            "model_label": job.model_label,
            "format": job.format,
            "distribution": job.distribution,
            "length": job.length,
            "min_length": job.min_length,
        }

    def known(self) -> dict[str, Any]:
        return self.axes() | nstar(self.found) | {"job_hash": self.job.hash, "flags": self.job.flags}


def nstar(found: Answer) -> dict[str, Any]:
    """N* in its four columns."""
    return {
        "nstar_kind": found.kind,
        "nstar": found.value,
        "nstar_low": found.low,
        "nstar_high": found.high,
    }


def known_answer(row: Result) -> Answer:
    """N* of a row; of one that a damaged lab holds, nothing."""
    try:
        return answer(row)
    except ValueError:
        return Answer("open")


def jobs(lab: Lab, study: int | None = None) -> Iterator[JobRecord]:
    """All searches in order of id, archived ones too."""
    for job in _rows(lab, study):
        grid = _grid(lab, job.id)
        n50 = job.n50 or (None, None, None)
        yield JobRecord(
            **_same(job, JobRecord, "learning_rates", "seeds", "n50", "axes", "best_loss"),
            best_loss=_shown(job, job.best_loss),
            axes=json.dumps(lab.axes([job.id]).get(job.id, {})),
            **nstar(known_answer(job)),
            learning_rates=grid[0],
            seeds=grid[1],
            n50=n50[0],
            n50_low=n50[1],
            n50_high=n50[2],
        )


def probes(lab: Lab, study: int | None = None) -> Iterator[ProbeRecord]:
    """All candidates, search by search, in the order in which they were begun."""
    for search in _searches(lab, study):
        shared = search.known() | {"learning_rates": search.learning_rates}
        for row in lab.probes(search.job.id):
            best = {"best_loss": _shown(search.job, row.best_loss)}
            yield ProbeRecord(**_same(row, ProbeRecord, *shared) | shared | best)


_UNKNOWN = Usage(None, None, None)


def trials(lab: Lab, study: int | None = None) -> Iterator[TrialRecord]:
    """All training runs, search by search."""
    for job in _rows(lab, study):
        shared = _Search(job, known_answer(job), ()).known()
        named = _settings(lab, job)
        for row in lab.trials(job_id=job.id):
            shown = {name: _shown(job, getattr(row, name)) for name in ("best_loss", "last_loss")}
            found = lab.curve(row.id) if job.program else None
            used = vars(found.usage if found is not None and found.usage is not None else _UNKNOWN)
            yield TrialRecord(**vars(row) | shared | shown | used, setting=named.get(row.lr, "{}"))


def curves(lab: Lab, study: int | None = None) -> Iterator[CurveRecord]:
    """The losses of all trials at their evaluations (at most 32 of each are stored)."""
    for job in _rows(lab, study):
        shared = _Search(job, known_answer(job), ()).known()
        named = _settings(lab, job)
        for row in lab.trials(job_id=job.id):
            curve = lab.curve(row.id)
            exact = (curve.exact or (None,) * len(curve.steps)) if curve else ()
            for step, train, loss, whole in (
                zip(curve.steps, curve.train, curve.validation, exact, strict=False) if curve else ()
            ):
                yield CurveRecord(
                    trial_id=row.id,
                    n=row.n,
                    lr=row.lr,
                    seed=row.seed,
                    outcome=row.outcome,
                    step=step,
                    train=None if isnan(train) else train,
                    validation=metric(job).value(loss),
                    setting=named.get(row.lr, "{}"),
                    exact=whole,
                    **shared,
                )


def kappas(lab: Lab, study: int | None = None) -> Iterator[KappaRecord]:
    """kappa of every cell, in the order of submission."""
    for cell in lab.cells(study):
        found = kappa(cell)
        joint = cell.joint
        yield KappaRecord(
            **_axes(found.to_dict(), "study_id", "min_length"),
            flags=found.flags,
            notes=found.notes,
            kappa_status=found.status,
            kappa_value=found.value,
            kappa_low=found.low,
            kappa_high=found.high,
            kappa_interval=found.interval,
            kappa_regime=found.regime,
            kappa_have=found.have,
            kappa_want=found.want,
            kappa_text=found.text(ascii=True),
            joint_job_id=joint.job_id,
            joint_state=joint.state,
            joint_status=joint.status,
            joint_lo=joint.lo,
            joint_hi=joint.hi,
            joint_n_max=joint.n_max,
            joint_flags=joint.flags,
            **{f"joint_{name}": value for name, value in nstar(known_answer(joint)).items()},
            joint_generalisation=joint.generalisation,
            over=cell.over,
            axes=json.dumps(dict(cell.axes)),
        )


def parts(lab: Lab, study: int | None = None) -> Iterator[PartRecord]:
    """Every N* that a kappa is made of, the joint one of each cell first."""
    for cell in lab.cells(study):
        named = _axes(vars(cell))
        for part in (cell.joint, *cell.parts):
            yield PartRecord(
                **named,
                n=part.n,
                job_id=part.job_id,
                state=part.state,
                status=part.status,
                lo=part.lo,
                hi=part.hi,
                n_max=part.n_max,
                **nstar(known_answer(part)),
                flags=part.flags,
                generalisation=part.generalisation,
                name=part.name,
                over=cell.over,
                axes=json.dumps(dict(cell.axes)),
            )


def fits(lab: Lab, study: int | None = None) -> Iterator[FitRecord]:
    """A scaling law, or the reason why there is none, for each series."""
    rows = lab.jobs(lab.job_ids(study=study, archived=None))
    measured = points(rows, lab.axes(job.id for job in rows if job.program))
    for found in fit_all(measured):
        yield _fit(found)


def events(lab: Lab, study: int | None = None) -> Iterator[EventRecord]:  # noqa: ARG001 - as every table
    """What happened, the oldest first; of the whole lab, whatever the study."""
    after = 0
    while batch := lab.events(after=after, limit=lab.last_event_id() - after):
        for row in batch:
            yield EventRecord(**vars(row) | {"at": iso(row.at)})
        after = batch[-1].id


TABLES: dict[str, Callable[[Lab, int | None], Iterator[Record]]] = {
    "jobs": jobs,
    "probes": probes,
    "trials": trials,
    "curves": curves,
    "cells": parts,
    "kappa": kappas,
    "fits": fits,
    "events": events,
}
"""The name of a table -> what reads its rows."""
RECORDS: dict[str, type[Record]] = {
    "jobs": JobRecord,
    "probes": ProbeRecord,
    "trials": TrialRecord,
    "curves": CurveRecord,
    "cells": PartRecord,
    "kappa": KappaRecord,
    "fits": FitRecord,
    "events": EventRecord,
}
"""The name of a table -> what its rows are."""


def _rows(lab: Lab, study: int | None) -> Iterator[JobRow]:
    yield from pages(lab.jobs, lab.job_ids(order="id", study=study, archived=None))


def _searches(lab: Lab, study: int | None) -> Iterator[_Search]:
    for job in _rows(lab, study):
        yield _Search(job, known_answer(job), _grid(lab, job.id)[0])


def _grid(lab: Lab, job_id: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Learning rates and seeds of a job's spec; empty where it cannot be read."""
    try:
        grid = mapping(lab.job_spec(job_id)).get("grid")
    except LabError:
        return (), ()
    found: dict[str, Any] = grid if isinstance(grid, dict) else {}
    rates, seeds = found.get("learning_rates"), found.get("seeds")
    return (
        tuple(x for x in rates if type(x) in (int, float)) if isinstance(rates, list) else (),
        tuple(x for x in seeds if type(x) is int) if isinstance(seeds, list) else (),
    )


def _shown(job: JobRow, loss: float | None) -> float | None:
    """What is stored of a loss as it is told: of a program its metric."""
    return None if loss is None else metric(job).value(loss)


def _settings(lab: Lab, job: JobRow) -> dict[float, str]:
    """The settings of a program's grid by their numbers, as JSON."""
    if not job.program:
        return {}
    return {number: json.dumps(values) for number, values in grid_settings(lab.job_spec(job.id)).items()}


def _same(row: Any, record: type[Record], *but: str) -> dict[str, Any]:
    """The columns that a stored row and a record share, times as ISO 8601."""
    names = record.__dataclass_fields__.keys() - set(but)
    return {
        name: iso(value) if name.endswith("_at") else value
        for name, value in vars(row).items()
        if name in names
    }


def _axes(values: dict[str, Any], *more: str) -> dict[str, Any]:
    names = ("id", "task", "m", "model", "model_label", "format", "distribution", "L", *more)
    return {name: values[name] for name in names}


def _fit(found: Fit | Refusal) -> FitRecord:
    series = found.series
    law = found if isinstance(found, Fit) else None
    without = law.left_out if law else {}
    reason = (
        found.reason
        if isinstance(found, Refusal)
        else "; ".join(f"without {k}: {v}" for k, v in without.items())
    )
    return FitRecord(
        model=series.model,
        format=series.format,
        distribution=series.distribution,
        task=series.family,
        status="fitted" if law else "refused",
        points=found.n,
        censored=law.censored if law else None,
        **_ends("c", law.c if law else None),
        **_ends("a", law.a if law else None),
        **_ends("b", law.b if law else None),
        **_ends("spread", law.spread if law else None),
        reason=reason,
        text=found.text(ascii=True),
        x=series.x,
        z=series.z,
    )


def _ends(name: str, p: Parameter | None) -> dict[str, Any]:
    """An estimate and both ends; an end that the data leave open is None."""
    ends = p.to_dict() if p is not None else {"value": None, "low": None, "high": None}
    return {name: ends["value"], f"{name}_low": ends["low"], f"{name}_high": ends["high"]}


def cell_value(value: Any) -> Any:
    """A column's value in a frame or a file without lists: lists as JSON."""
    return json.dumps(list(value)) if isinstance(value, tuple | list) else value


def columns_of(records: Sequence[Record], record: type[Record]) -> dict[str, list[Any]]:
    """Rows turned into columns, lists as JSON; without rows the columns are there, empty."""
    return {f.name: [cell_value(getattr(row, f.name)) for row in records] for f in fields(record)}
