"""The Job screen as text: how it is closing in, candidate by candidate, trial by trial."""

from __future__ import annotations

from collections.abc import Sequence
from math import log1p

from labtui.analysis.eta import job_eta
from labtui.views import numbers
from labtui.views.grid import grid, pairs
from runners.verdict import brackets
from store.rows import JobRow, ProbeRow, TrialRow

VERDICTS = {True: "succeeds", False: "fails", None: ""}


def summary_lines(job: JobRow) -> list[str]:
    """What is known of a job."""
    eta = job_eta(job)
    result = {
        "open": "open",
        "bracket": f"N* {numbers.nstar_exact(job)} {numbers.left_open(job)}",
        "censored": f"N* > {job.n_max:,}",
    }
    return pairs(
        [
            ("job", f"{job.id}  {numbers.name(job)}"),
            ("searches", numbers.label(job)),
            ("hash", job.hash),
            ("state", job.state + (f", asked to be {job.wanted}" if job.wanted else "")),
            ("result", result[job.status]),
            ("bracket", numbers.bracket(job) if job.hi is not None else None),
            ("estimate", f"{numbers.count_interval(job.estimate)} (90 %)" if job.estimate else None),
            ("N_50", numbers.count_interval(job.n50) + " (90 %)" if job.n50 else None),
            ("flags", " ".join(job.flags)),
            ("best loss", None if job.best_loss is None else f"{job.best_loss:.3g} (eps {job.eps:g})"),
            (
                "strategy",
                f"{job.strategy}, N_max {job.n_max}, {job.trials_per_probe} trials of {job.steps} steps for "
                "each N",
            ),
            ("candidates", job.candidates),
            ("training", f"N = {job.current_n}, {job.progress:.0%}" if job.current_n is not None else None),
            ("eta", f"{numbers.duration(eta.seconds)} ({eta.basis})" if eta.seconds is not None else None),
            ("device", job.device),
            (
                "time",
                f"{numbers.duration(job.wall_s)} wall, {numbers.duration(job.device_s)} device, "
                f"{job.member_steps} member-steps",
            ),
            ("began, ended", f"{numbers.when(job.started_at)}, {numbers.when(job.finished_at)}"),
            ("attempt", job.attempt if job.attempt > 1 else None),
            ("failure", job.failure),
            ("reason", job.reason),
            ("notes", job.notes),
            ("tags", " ".join(job.tags)),
        ]
    )


def probe_lines(probes: Sequence[ProbeRow]) -> list[str]:
    """The candidates in the order in which they were begun."""
    rows = [
        [
            p.ordinal,
            p.n,
            (VERDICTS[p.verdict] or p.state) + (" (speculative)" if p.speculative else ""),
            f"{p.trials_ended}/{p.trials}",
            f"{p.successes}/{p.seeds}" if p.seeds else "",
            "" if p.best_loss is None else f"{p.best_loss:.3g}",
            p.step,
            numbers.duration(p.wall_s),
            p.device,
        ]
        for p in probes
    ]
    return grid(
        ["#", "N", "verdict", "trials", "seeds", "best loss", "step", "time", "device"],
        rows,
        right="# N trials seeds step",
    )


def trial_lines(trials: Sequence[TrialRow]) -> list[str]:
    """Trials, one line each."""
    heads = ["id", "job", "N", "lr", "seed", "outcome", "best loss", "at step", "steps", "time", "2L"]
    rows = [
        [
            t.id,
            t.job_id,
            t.n,
            f"{t.lr:g}",
            t.seed,
            t.outcome,
            "" if t.best_loss is None else f"{t.best_loss:.3g}",
            t.best_step,
            t.steps,
            numbers.duration(t.wall_s),
            "" if t.generalisation is None else f"{t.generalisation:.2f}",
        ]
        for t in trials
    ]
    return grid(heads, rows, right="id job N lr seed steps")


def bracket_lines(job: JobRow, probes: Sequence[ProbeRow], width: int = 96) -> list[str]:
    """How the bracket closed: one row for each candidate on a log axis of N, failing ones left,
    succeeding ones right.

    ``x`` fails, ``o`` succeeds, ``?`` runs, ``·`` did not count;
    the bar is what was left of the bracket after it.
    """
    if not probes:
        return ["no candidate was trained yet"]
    left = max(10, len(str(max(p.n for p in probes))) + 2)
    room = max(20, width - left - 12)
    top = log1p(max(job.n_max, 0, *(p.n for p in probes)))

    def column(n: float) -> int:
        return min(room - 1, int(room * log1p(max(0, n)) / top)) if top > 0 else 0

    lines = []
    after = brackets((p.n, None if p.speculative else p.verdict) for p in probes)
    for p, b in zip(probes, after, strict=True):
        counts = p.verdict is not None and not p.speculative
        row = [" "] * room
        for i in range(column(b.lo), column(b.hi if b.hi is not None else job.n_max) + 1):
            row[i] = "─"
        row[column(p.n)] = ("o" if p.verdict else "x") if counts else "?" if p.state == "running" else "·"
        lines.append(f"{p.n:>{left}}  {''.join(row)}  {'' if not counts else VERDICTS[p.verdict]}".rstrip())
    ticks = [" "] * room
    for exponent in range(19):
        n = 10**exponent
        name = numbers.count(n)
        at = column(n)
        if (
            n <= max(job.n_max, *(p.n for p in probes))
            and at + len(name) <= room
            and all(c == " " for c in ticks[max(0, at - 1) : at + len(name)])
        ):
            ticks[at : at + len(name)] = name
    return [*lines, " " * (left + 2) + "".join(ticks).rstrip()]
