"""A job as a row of the Queue."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from labtui.analysis.eta import job_eta
from labtui.text import clean
from labtui.tui.table import Column
from labtui.tui.theme import STATE_SIGN, model_sign, model_style, state_style
from labtui.views import numbers as figures
from labtui.views.lines import Line, Span, thin_bar

if TYPE_CHECKING:
    from store.rows import JobRow

COLUMNS = (
    Column("id", "job", 5, ">", sort="id"),
    Column("state", "state", 11, sort="state"),
    Column("priority", "prio", 4, ">", rank=8, sort="priority"),
    Column("task", "task", 4, rank=2),
    Column("model", "model", 18, rank=1, sort="model"),
    Column("format", "format", 7, rank=3, sort="format"),
    Column("lengths", "lengths", 8, rank=2, sort="L"),
    Column("bracket", "bracket", 13, rank=5, grow=3),
    Column("nstar", "N*", 13, ">"),
    Column("tried", "tried", 5, ">", rank=7),
    Column("grid", "grid", 12, rank=4, sort="progress"),
    Column("eta", "time", 7, ">", rank=3),
    Column("device", "device", 7, rank=9),
    Column("name", "name", 12, rank=10, grow=2, sort="name"),
)

SHORT = {"out of memory": "no memory", "device lost": "no device", "lost": "lost", "stale": "stale"}
"""A failed job's state in the column's nine letters; the line below the table says it in full."""


def bracket_spark(job: JobRow, width: int) -> Line:
    """Where N* can still lie, on a log axis from 1 to N_max: failed below, open between, learned above."""
    top = math.log(max(2, job.n_max))

    def place(n: int) -> int:
        return min(width, max(0, round(math.log(max(1, n)) / top * width)))

    style = model_style(job.model)
    if job.status == "censored":
        return (("·" * (width - 1), "faint"), ("▸", style))
    lo = place(job.lo) if job.lo else 0
    hi = width if job.hi is None else place(job.hi)
    if job.hi is None and job.lo == 0 and job.state != "running":
        return ()
    if job.status == "bracket":
        at = min(width - 1, max(0, hi - 1))
        return (("·" * at, "faint"), ("◆", style), ("─" * (width - at - 1), "faint"))
    if hi <= lo:
        lo, hi = max(0, hi - 1), max(1, hi)
    return (("·" * lo, "faint"), ("━" * (hi - lo), style), ("─" * (width - hi), "faint"))


def nstar(job: JobRow) -> Line:
    text = figures.nstar(job)
    if "fails_above" in job.flags:
        text += "!"
    style = {"bracket": "strong", "censored": "warn"}.get(job.status, "dim")
    return ((text, style),)


def cells(job: JobRow, room: dict[str, int], pace: float | None = None) -> dict[str, Line]:
    """A job's row."""
    running = job.state == "running"
    quiet = "dim" if job.state in ("cancelled", "queued") else ""
    word = SHORT.get(job.failure or "", job.state) if job.state == "failed" else job.state
    sign: Line = ((f"{STATE_SIGN[job.state]} {word}", state_style(job.state)),)
    label = clean(job.model_label)
    grid: Line = ()
    if running:
        grid = (*thin_bar(job.progress, 7, "accent"), (f" {job.progress:>4.0%}", "dim"))
    elif job.state == "paused" and job.progress > 0:
        grid = (*thin_bar(job.progress, 7, "state.paused"), (f" {job.progress:>4.0%}", "dim"))
    time: Span
    if job.state in ("done", "failed", "cancelled"):
        time = (figures.duration(job.wall_s) if job.wall_s else figures.NONE, "dim")
    else:
        guess = job_eta(job, pace)
        time = (
            f"~{figures.duration(guess.seconds)}" if guess.seconds is not None else figures.NONE,
            "" if running else "dim",
        )
    return {
        "id": ((str(job.id), "dim"),),
        "state": sign,
        "priority": ((f"{job.priority:+d}" if job.priority else "", "warn" if job.priority > 0 else "dim"),),
        "task": ((clean(job.task), quiet),),
        "model": ((f"{model_sign(job.model)} ", model_style(job.model)), (label, quiet)),
        "format": ((job.format, quiet),),
        "lengths": ((figures.lengths(job.distribution, job.length, job.min_length), quiet),),
        "bracket": bracket_spark(job, room.get("bracket", 0)),
        "nstar": nstar(job),
        "tried": ((str(job.candidates) if job.candidates else "", "dim"),),
        "grid": grid,
        "eta": (time,),
        "device": ((clean(job.device or ""), "dim"),),
        "name": ((figures.own_name(job) + ("  ✎" if job.notes else ""), quiet),),
    }
