"""The Queue screen as text: what runs, what is next, when it is done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from labtui.analysis.eta import job_eta
from labtui.text import clean
from labtui.views import numbers
from labtui.views.grid import grid
from store.rows import DeviceRow, EventRow, JobRow, StudyRow, SupervisorRow

STATES = ("running", "queued", "paused", "done", "failed", "cancelled")
_RIGHT = "id N N* now cand eta prio"


def job_lines(jobs: Sequence[JobRow], *, eta: bool = True) -> list[str]:
    """One line for each job."""
    heads = ["id", "state", "name", "N*", "bracket", "now", "cand", "eta" if eta else "finished", "device"]
    pace = mean_pace(jobs)
    rows = []
    for job in jobs:
        state = state_of(job) + (f" → {job.wanted}" if job.wanted else "")
        now = (
            f"{numbers.count(job.current_n)} {job.progress:.0%}"
            if job.current_n is not None and job.state == "running"
            else ""
        )
        last = numbers.duration(job_eta(job, pace).seconds) if eta else numbers.when(job.finished_at)
        flags = "".join(f" !{flag}" for flag in job.flags if flag != "capped")
        rows.append(
            [
                job.id,
                clean(state, limit=40),
                numbers.name(job),
                numbers.nstar(job) + flags,
                numbers.bracket(job),
                now,
                job.candidates or "",
                "" if job.state in ("done", "failed", "cancelled") and eta else last,
                job.device or "",
            ]
        )
    return grid(heads, rows, right=_RIGHT)


def state_of(job: JobRow) -> str:
    """``failed: out of memory``, ``failed: ValueError: ...``, ``queued again: lost``,
    else the state alone.
    """
    if job.state == "failed" and job.failure in ("failed", None):
        lines = (job.reason or "").strip().splitlines()
        return f"failed: {lines[-1]}" if lines and lines[-1] != "failed" else "failed"
    if job.state == "failed":
        return f"failed: {job.failure}"
    return f"queued again: {job.failure}" if job.state == "queued" and job.failure else job.state


def mean_pace(jobs: Sequence[JobRow]) -> float | None:
    """Mean wall seconds of the finished jobs; None where there is none."""
    walls = [job.wall_s for job in jobs if job.state == "done" and job.wall_s > 0]
    return sum(walls) / len(walls) if walls else None


def count_line(counts: Mapping[str, int]) -> str:
    """``2 running, 7 queued, 3 done``."""
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts.get(state)) or "no jobs"


def supervisor_line(row: SupervisorRow | None, holding: bool = False) -> str:
    """Whether a supervisor runs, and how it is."""
    if row is None or not row.alive:
        ended = (
            f" (the last one, {row.host} pid {row.pid}, was seen {numbers.when(row.heartbeat_at)})"
            if row
            else ""
        )
        return clean(f"no supervisor runs{ended}; start one: labtui daemon start")
    ago = max(0.0, time.time() - row.heartbeat_at)
    words = (
        f"supervisor {row.state}, pid {row.pid} on {row.host}, "
        f"up {numbers.duration(time.time() - row.started_at)}"
    )
    words += f", last heard {numbers.duration(ago)} ago" if ago > 5 else ""
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
                numbers.when(study.created_at),
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


def event_line(event: EventRow) -> str:
    """``2026-02-01 12:00:03  7  probe_ended  N = 312 succeeded``."""
    mark = {"warning": "! ", "error": "!! "}.get(event.level, "")
    job = f"job {event.job_id}" if event.job_id is not None else ""
    return f"{numbers.when(event.at)}  {event.id:>6}  {job:<9} {mark}{clean(event.text or event.kind)}"
