"""Trials: as rows of a table, on the screen and as text, and one trial's curve."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from labtui.text import clean
from labtui.views import numbers as figures
from labtui.views.bracket import moves, outcome_of
from labtui.views.grid import grid
from labtui.views.heat import falling
from labtui.views.lines import Line
from labtui.views.metric import metric, setting, settings, usage
from labtui.views.plot import Axis, Level, Series, plot, span
from labtui.views.signs import OUTCOME_SIGN, model_sign, model_style, state_style
from labtui.views.table import Column
from store.rows import Curve, JobRow, TrialRow

COLUMNS = (
    Column("id", "trial", 7, ">", sort="id"),
    Column("outcome", "outcome", 12, sort="outcome"),
    Column("job", "job", 6, ">", sort="job"),
    Column("model", "model", 18, rank=3),
    Column("format", "format", 7, rank=4),
    Column("lengths", "lengths", 9, rank=6),
    Column("n", "N", 11, ">", sort="n"),
    Column("lr", "lr", 7, ">", rank=1, sort="lr"),
    Column("seed", "seed", 6, ">", rank=1, sort="seed"),
    Column("best", "best loss", 9, ">", sort="best_loss"),
    Column("loss", "loss", 6, rank=2, grow=1),
    Column("steps", "steps", 9, ">", rank=5, sort="steps"),
    Column("at", "at step", 9, ">", rank=7),
    Column("wall", "time", 7, ">", rank=8, sort="wall_s"),
    Column("gen", "acc 2L", 6, ">", rank=9),
)


class TrialRowPlus(NamedTuple):
    """A trial and its job; a tuple, because a list of all trials needs 190,000."""

    trial: TrialRow
    job: JobRow | None
    curve: Curve | None = None
    """Read for the rows in sight, and for SIGHT of them above and below."""
    setting: str = ""
    """Its learning rate, or of a program the values of its grid."""

    @property
    def program(self) -> bool:
        return self.job is not None and self.job.program


def with_jobs(
    lab: Any, trials: Sequence[TrialRow], near: Collection[int] | None = None
) -> list[TrialRowPlus]:
    """Read the jobs and settings of trials, and the curves that are drawn.

    Args:
        lab: an open lab.
        trials: of any jobs.
        near: ids of those whose losses are wanted; None: of programs, whose curves hold what they took.
    """
    jobs = {j.id: j for j in lab.jobs(sorted({t.job_id for t in trials}))}
    names = {i: settings(lab.job_spec(i)) for i, job in jobs.items() if job.program}
    out = []
    for t in trials:
        wanted = t.job_id in names if near is None else t.id in near
        job, curve = jobs.get(t.job_id), lab.curve(t.id) if wanted else None
        out.append(TrialRowPlus(t, job, curve, setting(job, t.lr, names.get(t.job_id, {}))))
    return out


def texts(row: TrialRowPlus, supervised: bool = True) -> dict[str, str]:
    """Write a trial's numbers and words by their columns: what the screen and the command both show."""
    t, job = row.trial, row.job
    loss = metric(job).text if job is not None and job.program else figures.loss
    return {
        "id": str(t.id),
        "outcome": clean(outcome_of(t, job is None or moves(job, supervised))),
        "job": str(t.job_id),
        "n": figures.exact(t.n),
        "lr": row.setting,
        "seed": str(t.seed),
        "best": loss(t.best_loss),
        "at": figures.exact(t.best_step),
        "steps": figures.exact(t.steps),
        "wall": figures.duration(t.wall_s or None),
        "gen": "" if t.generalisation is None else figures.share(t.generalisation),
    }


_STYLES = {"id": "dim", "job": "dim", "at": "dim", "steps": "dim", "wall": "dim", "gen": "accent"}


def cells(row: TrialRowPlus, room: dict[str, int], supervised: bool = True) -> dict[str, Line]:
    """Draw a trial's row: a line for each column."""
    told, job = texts(row, supervised), row.job
    out: dict[str, Line] = {key: ((text, _STYLES.get(key, "")),) for key, text in told.items()}
    outcome = told["outcome"]
    out["outcome"] = ((f"{OUTCOME_SIGN.get(outcome, '?')} {outcome}", state_style(outcome)),)
    out["best"] = ((told["best"], "ok" if row.trial.outcome == "success" else ""),)
    out["loss"] = _falls(row, room.get("loss", 0))
    if job is not None:
        out["model"] = ((f"{model_sign(job.model)} ", model_style(job.model)), (clean(job.model_label), ""))
        out["format"] = ((job.format, ""),)
        out["lengths"] = ((figures.lengths(job.distribution, job.length, job.min_length), ""),)
    return out


def _falls(row: TrialRowPlus, width: int) -> Line:
    """Draw the validation loss over the whole budget of steps in one line: from its highest down to eps."""
    if row.curve is None or row.job is None:
        return ()
    shown_as = metric(row.job)
    curve = replace(row.curve, validation=tuple(map(shown_as.gap, row.curve.validation)))
    top = max((v for v in curve.validation if math.isfinite(v)), default=0.0)
    budget = row.job.steps or max(curve.steps, default=1)
    text = falling(curve, shown_as.eps, top, max(1, budget), min(width, 32), 1)
    drawn = text[0].replace("█", "▇") if text else ""  # a full cell would touch the row above
    return ((drawn, "ok" if row.trial.outcome == "success" else "quiet"),)


def curve_plot(row: TrialRowPlus, curve: Curve, width: int, height: int) -> list[Line]:
    """Draw training and validation loss of one trial, with eps."""
    steps = [float(s) for s in curve.steps]
    shown_as = metric(row.job) if row.job else None
    validation = [v if shown_as is None else shown_as.value(v) for v in curve.validation]
    values = [*validation, *curve.train] + ([shown_as.level] if shown_as else [])
    program = shown_as is not None and shown_as.program
    style = model_style(row.job.model) if row.job else "accent"
    series = [
        Series(tuple(zip(steps, curve.train, strict=False)), "dim", dash=(2, 4)),
        Series(tuple(zip(steps, validation, strict=False)), style),
    ]
    legend: Line = (("━ ", style), ("validation  ", "dim"), ("┄ ", "dim"), ("training", "dim"))
    if estimates := tuple((float(step), loss) for step, loss in curve.estimates()):
        series.append(Series(estimates, style, "○", joined=False))
        legend += (("  ○ ", style), ("of a part of the set, enough to be above ε", "dim"))
    if shown_as is not None and program:
        legend = (("━ ", style), (shown_as.name, "dim"))
        if told := usage(curve):
            legend += (("   memory ", "dim"), (told, ""))
    x = Axis(0.0, max(steps, default=1.0) * 1.02, False)
    levels = [Level(shown_as.level, shown_as.aim)] if shown_as else []
    return [
        legend,
        *plot(series, width, height - 1, x, span(values, log=not program), levels=levels, x_label="step"),
    ]


def trial_lines(rows: Sequence[TrialRowPlus], supervised: bool = True) -> list[str]:
    """Write trials, one line each, in the words and numbers of the screen.

    Args:
        rows: of programs with their curves, which tell what they took of memory and GPU.
        supervised: a supervisor lives; else nothing is in training.
    """
    heads = ["id", "job", "N", "lr", "seed", "outcome", "best loss", "at step", "steps", "time", "2L"]
    if rows and all(row.program for row in rows):
        heads[3], heads[6], heads[-1] = "setting", "best", "memory"
    told = []
    for row in rows:
        found = texts(row, supervised)
        found["gen"] = found["gen"] or (usage(row.curve) if row.program else "")
        told.append([found[key] for key in _TOLD])
    return grid(heads, told, right="id job N lr seed steps")


_TOLD = ("id", "job", "n", "lr", "seed", "outcome", "best", "at", "steps", "wall", "gen")
