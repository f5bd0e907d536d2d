"""The Queue: jobs as rows, the supervisor, studies and devices; on the screen and as text."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labtui.text import clean, fit
from labtui.views import numbers as figures
from labtui.views.grid import grid
from labtui.views.lines import Line, Span, plain, thin_bar
from labtui.views.signs import OUTCOME_SIGN, model_sign, model_style, state_of
from labtui.views.table import Column
from runners.verdict import diverged
from store.states import ENDED_STATES

if TYPE_CHECKING:
    from labtui.analysis.eta import Outlook, QueueOutlook
    from store.rows import DeviceRow, JobRow, StudyRow, SupervisorRow

STATES = ("running", "queued", "paused", "done", "failed", "cancelled")
COLUMNS = (
    Column("id", "job", 4, ">", sort="id"),
    Column("state", "state", 11, sort="state"),
    Column("priority", "prio", 4, ">", rank=8, sort="priority"),
    Column("model", "model", 10, rank=1, sort="model"),
    Column("task", "task", 4, rank=2),
    Column("format", "format", 7, rank=3, sort="format"),
    Column("lengths", "lengths", 7, rank=1, sort="L"),
    Column("bracket", "bracket", 13, rank=4, grow=3),
    Column("nstar", "N* ", 13, ">", sort="n"),
    Column("tried", "tried", 5, ">", rank=7),
    Column("grid", "grid", 12, rank=5, sort="progress"),
    Column("eta", "time", 6, ">", rank=3, sort="wall"),
    Column("device", "device", 7, rank=9),
    Column("name", "name", 12, rank=10, grow=2, sort="name"),
)
SHORT = {"out of memory": "no memory", "device lost": "no device", "lost": "lost", "stale": "stale"}
"""A failed job's state in the column's nine letters; the line below the table says it in full."""
OPTIONAL = ("priority", "grid", "device", "name")
"""Columns that are there only where a job has something in them."""
NOTHING: Mapping[int, str] = {}


@dataclass
class Widths:
    """What the columns need: as much as the widest label that was seen, so that no model reads as
    another; never less.
    """

    model: int = 10
    task: int = 4
    lengths: int = 7
    id: int = 4
    top: int = 10
    """The end of the axis that all brackets share: a power of ten above every N_max."""
    used: frozenset[str] = frozenset()

    def see(self, jobs: Iterable[JobRow]) -> None:
        """Take rows that were read."""
        for job in jobs:
            self.model = max(self.model, min(40, len(clean(job.model_label)) + 2))
            self.task = max(self.task, min(12, len(clean(job.task))))
            told = figures.lengths(job.distribution, job.length, job.min_length)
            self.lengths = max(self.lengths, len(told))
            self.id = max(self.id, len(str(job.id)))
            while self.top < job.n_max:
                self.top *= 10
            filled = {
                "priority": bool(job.priority),
                "grid": job.state in ("running", "paused") and job.progress > 0,
                "device": bool(job.device),
                "name": bool(figures.own_name(job) or job.notes),
            }
            if not all(key in self.used for key, there in filled.items() if there):
                self.used |= {key for key, there in filled.items() if there}

    def columns(self) -> list[Column]:
        """The columns of a lab with such rows."""
        own = {"model": self.model, "lengths": self.lengths, "id": self.id, "task": self.task}
        return [
            replace(c, width=own.get(c.key, c.width))
            for c in COLUMNS
            if c.key not in OPTIONAL or c.key in self.used
        ]


def bracket_ticks(width: int, top: int) -> str:
    """The heading of the brackets: 1, 10, 100 ... on the axis that they share, as many as there is room
    for.
    """
    text = [" "] * width
    free = 0
    for exponent in range(round(math.log10(top)) + 1):
        name = figures.count(10.0**exponent)
        at = min(_place(10**exponent, width, top), width - len(name))
        if at >= free:
            text[at : at + len(name)] = name
            free = at + len(name) + 1
    return "".join(text)


def _place(n: int, width: int, top: int) -> int:
    return min(width - 1, max(0, round(math.log(max(1, n)) / math.log(max(2, top)) * (width - 1))))


def bracket_spark(job: JobRow, width: int, top: int) -> Line:
    """Where N* can still lie on a log axis from 1 to ``top``: failed below, open between, learned up to
    N_max.
    """
    if width < 1:
        return ()
    style = model_style(job.model)
    end = _place(job.n_max, width, top)
    if diverged(job):
        return ((OUTCOME_SIGN["diverged"], "warn"),)
    if job.status == "censored":
        return (("·" * end, "faint"), ("→", style))
    if job.hi is None and job.lo == 0 and job.state != "running":
        return ()
    after: Span
    if job.estimate is not None:
        value, low, high = (_place(math.ceil(x), width, top) for x in job.estimate)
        after = ("─" * max(0, end - high), "faint")
        known = ["━"] * (high + 1 - low)
        if job.status == "bracket":
            known[value - low] = "◆"
        return (("·" * low, "faint"), ("".join(known), style), after)
    lo = _place(job.lo, width, top) if job.lo else 0
    hi = end if job.hi is None else _place(job.hi, width, top)
    lo = min(lo, hi)
    after = ("─" * (end - hi), "faint")
    if job.status == "bracket":
        return (("·" * hi, "faint"), ("◆", style), after)
    return (("·" * lo, "faint"), ("━" * (hi - lo + 1), style), after)


def nstar(job: JobRow, width: int) -> Line:
    """N* right-aligned before a cell of its own for ``!``: digits stand under digits."""
    text = figures.nstar(job)
    style = {"bracket": "strong", "censored": "warn"}.get(job.status, "dim")
    mark = "!" if "fails_above" in job.flags else " "
    if len(text) >= width and mark == " ":
        return ((fit(text, width, ">"), style),)
    return ((fit(text, width - 1, ">"), style), (mark, "warn"))


def cells(
    job: JobRow,
    room: Mapping[str, int],
    outlook: Outlook | None = None,
    supervised: bool = True,
    top: int = 0,
) -> dict[str, Line]:
    """A job's row: a line for each column."""
    running = job.state == "running" and supervised
    quiet = "dim" if job.state in ("cancelled", "queued") else ""
    sign, word, style = state_of(job, supervised)
    if job.state == "failed":
        word = SHORT.get(job.failure or "", word)
    elif job.needs_word:
        word, style = "your word", "warn"
    elif running and "grid" not in room and job.current_n is not None:
        word = f"{job.progress:.0%}"
    grid: Line = ()
    if running:
        grid = (*thin_bar(job.progress, 7, "accent"), (f" {job.progress:>4.0%}", "dim"))
    elif job.state in ("paused", "running") and job.progress > 0:
        grid = (*thin_bar(job.progress, 7, "state.paused"), (f" {job.progress:>4.0%}", "dim"))
    lengths = figures.lengths(job.distribution, job.length, job.min_length)
    return {
        "id": ((str(job.id), "dim"),),
        "state": ((f"{sign} {word}", style),),
        "priority": ((f"{job.priority:+d}" if job.priority else "", "warn" if job.priority > 0 else "dim"),),
        "task": ((clean(job.task), quiet),),
        "model": (
            (f"{model_sign(job.model)} ", model_style(job.model)),
            (fit(clean(job.model_label), max(1, room.get("model", 20) - 2)), quiet),
        ),
        "format": ((job.format, quiet),),
        "lengths": ((lengths, quiet),),
        "bracket": bracket_spark(job, room.get("bracket", 0), top or job.n_max),
        "nstar": nstar(job, room.get("nstar", 13)),
        "tried": ((str(job.candidates) if job.candidates else "", "dim"),),
        "grid": grid,
        "eta": (time_of(job, outlook, supervised),),
        "device": ((clean(job.device or ""), "dim"),),
        "name": ((figures.own_name(job) + ("  ✎" if job.notes else ""), quiet),),
    }


def time_of(job: JobRow, outlook: Outlook | None = None, supervised: bool = True) -> Span:
    """What a job took, or ``~`` and what it will take by an outlook; nothing while no supervisor moves it."""
    if job.state in ENDED_STATES:
        return (figures.duration(job.wall_s) if job.wall_s else figures.NONE, "dim")
    if outlook is None or (job.state == "running" and not supervised):
        return (figures.NONE, "dim")
    guess = outlook.left(job)
    if guess.seconds is None:
        return (figures.NONE, "dim")
    return (f"~{figures.duration(guess.seconds)}", "" if job.state == "running" else "dim")


def job_lines(
    jobs: Sequence[JobRow],
    *,
    outlook: Outlook | None = None,
    supervised: bool = True,
    ended: bool = False,
    differing: Mapping[int, str] = NOTHING,
) -> list[str]:
    """One line for each job, its columns those of the screen.

    Args:
        ended: tell when it ended instead of how long it takes.
        differing: id -> in what a job differs from an older one that reads like it.
    """
    heads = ["job", "state", "model", "task", "format", "lengths", "N*", "bracket", "now", "tried"]
    heads += ["ended" if ended else "time", "device", "name", "differs in"]
    rows = []
    for job in jobs:
        drawn = cells(job, {"model": 44, "grid": 12}, outlook, supervised)
        state = state_text(job, supervised) + (f" → {job.wanted}" if job.wanted else "")
        rows.append(
            [
                job.id,
                clean(state, limit=40),
                clean(job.model_label),
                *(plain(drawn[key]).strip() for key in ("task", "format", "lengths")),
                figures.marked(figures.nstar(job), job.flags),
                figures.known(job),
                figures.training(job).removeprefix("N = ") if supervised else "",
                job.candidates or "",
                figures.when(job.finished_at) if ended else plain(drawn["eta"]),
                job.device or "",
                figures.own_name(job),
                clean(differing.get(job.id, ""), limit=120),
            ]
        )
    return grid(heads, rows, right="job N* now tried time")


def state_text(job: JobRow, supervised: bool = True) -> str:
    """``failed: out of memory``, ``failed: ValueError: ...``, ``queued again: lost``,
    else the state alone.
    """
    if job.state == "failed" and job.failure in ("failed", None):
        lines = (job.reason or "").strip().splitlines()
        return f"failed: {lines[-1]}" if lines and lines[-1] != "failed" else "failed"
    if job.state == "failed":
        return f"failed: {job.failure}"
    if job.needs_word and job.failure is not None:
        return job.failure
    return (
        f"queued again: {job.failure}"
        if job.state == "queued" and job.failure
        else state_of(job, supervised)[1]
    )


def eta_line(found: QueueOutlook, *, basis: bool = True, paused: int = 0) -> Line:
    """``all done in ~3m04: 12 queued, ...``; empty where nothing runs or waits, or nothing is known.

    Args:
        found: what is known of the queue.
        basis: tell what the time rests on.
        paused: searches that somebody paused: they are not among those that are done by then.
    """
    guess = found.eta
    if not guess.seconds:
        return ()
    which = "rest" if paused else "all"
    return (
        (f"{which} done in ", "dim"),
        (guess.text, "strong"),
        (f": {guess.basis}" if basis else "", "dim"),
    )


def count_line(counts: Mapping[str, int]) -> str:
    """``2 running, 7 queued, 3 done``."""
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts.get(state)) or "no jobs"


START = "labtui daemon start"
"""What a person does where no supervisor runs, and the lab may be written."""


def supervisor_line(row: SupervisorRow | None, holding: bool = False, *, remedy: str = START) -> str:
    """Tell whether a supervisor runs, and how it is; ``remedy``: what starts one, or empty."""
    if row is None or not row.alive:
        ended = (
            f" (the last one, {row.host} pid {row.pid}, was seen {figures.when(row.heartbeat_at)})"
            if row
            else ""
        )
        return clean(f"no supervisor runs{ended}" + (f"; start one: {remedy}" if remedy else ""))
    ago = max(0.0, time.time() - row.heartbeat_at)
    words = (
        f"supervisor {row.state}, pid {row.pid} on {row.host}, "
        f"up {figures.duration(time.time() - row.started_at)}"
    )
    words += f", last heard {figures.duration(ago)} ago" if ago > 5 else ""
    words += "; the queue is held: labtui release" if holding else ""
    return clean(f"{words}: {row.message}" if row.message else words)


def study_lines(studies: Sequence[StudyRow]) -> list[str]:
    """One line for each study with its progress."""
    rows = []
    for study in studies:
        total, done = sum(study.counts.values()), study.counts.get("done", 0)
        rows.append(
            [
                study.id,
                study.name,
                f"{done}/{total}",
                count_line(study.counts),
                figures.when(study.created_at),
                " ".join(study.tags),
            ]
        )
    return grid(["id", "study", "done", "jobs", "created", "tags"], rows, right="id done")


def device_lines(devices: Sequence[DeviceRow]) -> list[str]:
    """One line for each device."""
    return grid(
        ["device", "name", "slots", "state", "note"],
        [[d.id, d.name, d.slots, d.state, d.note] for d in devices],
        right="slots",
    )
