"""One job as the Job screen reads it, and its losses as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labtui.tui.theme import RATES
from labtui.views import numbers as figures
from labtui.views.jobtext import read_log
from labtui.views.lines import Line, Span
from labtui.views.plot import Axis, Level, Series, plot, span
from store.rows import Curve, EventRow, JobRow, ProbeRow, TrialRow


@dataclass(frozen=True)
class JobData:
    """One job and what belongs to it."""

    job: JobRow
    probes: tuple[ProbeRow, ...]
    probe: int | None
    """The candidate whose grid and losses are here."""
    trials: tuple[TrialRow, ...]
    curves: dict[int, Curve]
    spec: str
    provenance: tuple[tuple[str, str], ...]
    events: tuple[EventRow, ...]
    log: tuple[str, ...]
    studies: tuple[int, ...] = ()


@dataclass(frozen=True)
class JobRequest:
    """What to read."""

    job_id: int | None = None
    probe_id: int | None = None
    """None: the one that tells most (:func:`telling`)."""
    log: bool = False

    def __call__(self, lab: Any) -> JobData | None:
        job_id = self.job_id
        if job_id is None:
            ids = lab.job_ids((), "queue")
            if not len(ids):
                return None
            job_id = ids[0]
        job = lab.job(job_id)
        probes = tuple(lab.probes(job_id))
        probe = next((p for p in probes if p.id == self.probe_id), None)
        if probe is None:
            probe = telling(job, probes)
        trials = tuple(lab.trials(probe_id=probe.id)) if probe else ()
        curves = lab.curves(probe.id) if probe else {}
        told = tuple((str(k), str(v)) for k, v in sorted(lab.provenance(job_id).items()))
        log = tuple(read_log(lab.path, job, probe)) if self.log else ()
        return JobData(
            job, probes, probe.id if probe else None, trials, curves, lab.job_spec(job_id), told,
            tuple(lab.events(job_id=job_id, limit=100)), log,
        )  # fmt: skip


def telling(job: JobRow, probes: Sequence[ProbeRow]) -> ProbeRow | None:
    """The candidate to show where none is chosen: the one in training, else the one that N* rests on,
    else the last judged.
    """
    running = [p for p in probes if p.state == "running"]
    judged = [p for p in probes if p.state == "done" and not p.speculative]
    if running:
        return min(reversed(running), key=lambda p: p.speculative)
    if job.status == "censored" and judged:
        return max(judged, key=lambda p: p.n)
    found = next((p for p in judged if p.verdict and p.n == job.hi), None)
    return found or (judged[-1] if judged else probes[-1] if probes else None)


def loss_plot(
    job: JobRow, trials: Sequence[TrialRow], curves: dict[int, Curve], width: int, height: int
) -> list[Line]:
    """Validation losses over steps, one colour per learning rate, eps marked;
    only what is finite is drawn.
    """
    rates = sorted({t.lr for t in trials}, reverse=True)
    hue = {lr: RATES[i * (len(RATES) - 1) // max(1, len(rates) - 1)] for i, lr in enumerate(rates)}
    series: list[Series] = []
    lows: list[float] = [job.eps]
    last = 1.0
    for trial in trials:
        curve = curves.get(trial.id)
        if curve is None or not curve.steps:
            continue
        points = tuple(zip(map(float, curve.steps), curve.validation, strict=False))
        lows += [v for v in curve.validation if v > 0]
        last = max(last, float(curve.steps[-1]))
        series.append(Series(points, hue[trial.lr]))
    if not series:
        return []
    x = Axis(0.0, max(last, float(job.steps)) if last > job.steps * 0.5 else last * 1.02, False)
    marks: list[Span] = []
    for lr in rates:
        marks += [("━ ", hue[lr]), (f"{figures.rate(lr)}  ", "dim")]
    legend: Line = (("lr  ", "dim"), *marks)
    body = plot(
        series,
        width,
        height - 1,
        x,
        span(lows, log=True),
        levels=[Level(job.eps, f"ε {figures.rate(job.eps)}")],
        x_label="step",
    )
    return [legend, *body] if body else []
