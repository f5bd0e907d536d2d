"""The bracket chart: one row per candidate on a log axis of N,
and the shaded range in which N* can still lie, closing in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labtui.text import fit
from labtui.views import numbers as figures
from labtui.views.lines import Line, Span, based, thin_bar
from labtui.views.plot import Axis, ticks
from runners import verdict
from store.rows import JobRow, ProbeRow

HEADS = f"{'trials':>7}{'loss':>9}{'time':>8}"
"""The heading of the columns at the right, where there is room for all three."""
WIDE = 64
SIGNS = {True: ("✓", "ok"), False: ("✗", "bad")}


@dataclass(frozen=True)
class Step:
    """A candidate and what was known once it had its verdict."""

    probe: ProbeRow
    lo: int
    hi: int | None
    n_max: int


def steps(probes: Sequence[ProbeRow], n_max: int) -> list[Step]:
    """The candidates in order, each with the bracket after it."""
    counted = [(p.n, p.verdict if not p.speculative and p.state == "done" else None) for p in probes]
    return [Step(p, b.lo, b.hi, n_max) for p, b in zip(probes, verdict.brackets(counted), strict=True)]


def chart_axis(probes: Sequence[ProbeRow], n_max: int) -> Axis:
    """From below the smallest candidate to above the largest."""
    ns = [p.n for p in probes] or [n_max]
    return Axis(max(0.8, min(ns) / 1.6), max(max(ns), 2) * 1.15)


def bracket_chart(
    job: JobRow,
    probes: Sequence[ProbeRow],
    width: int,
    height: int,
    *,
    chosen: int | None = None,
    style: str = "accent",
) -> list[Line]:
    """The chart in ``width`` x ``height`` cells, newest candidate last; ``chosen`` is a probe's id."""
    tail = (9 + 9 + 8) if width >= WIDE else (9 if width >= 44 else 0)
    inner = width - 9 - 2 - tail
    if inner < 8 or height < 3:
        return []
    axis = chart_axis(probes, job.n_max)
    rows = steps(probes, job.n_max)
    room = height - 2
    hidden = 0
    if len(rows) > room:
        at = next((i for i, s in enumerate(rows) if s.probe.id == chosen), len(rows) - 1)
        hidden = min(max(0, at - room // 2), len(rows) - room)
        if hidden > 0 and at >= len(rows) - room:
            hidden = len(rows) - room
        rows = rows[hidden : hidden + room]
    decades = {_column(axis, v, inner) for v in ticks(axis, max(2, inner // 9))}
    lines = [_row(job, step, axis, inner, decades, tail, step.probe.id == chosen, style) for step in rows]
    lines += [()] * (room - len(lines))
    foot = _axis_lines(axis, inner, hidden)
    if tail:
        foot[1] = (*foot[1], ("  ", ""), ("  ", "shade"), (" N* can be here" if tail > 9 else " N*", "dim"))
    return [*lines, *foot]


def _column(axis: Axis, n: float, inner: int) -> int:
    return min(inner - 1, max(0, int(axis.place(n) * inner)))


def _row(
    job: JobRow, step: Step, axis: Axis, inner: int, decades: set[int], tail: int, chosen: bool, style: str
) -> Line:
    probe = step.probe
    running = probe.state == "running"
    left = _column(axis, step.lo, inner) + 1 if step.lo else 0
    right = _column(axis, step.hi, inner) if step.hi is not None else inner - 1
    if right < left:
        left = right
    own = _column(axis, probe.n, inner)
    spans: list[Span] = []
    for x in range(inner):
        inside = left <= x <= right
        ground = "shade" if inside else ""
        if x == own:
            if running:
                one = ("●", f"{ground} {style}")
            elif probe.verdict is None or probe.speculative:
                one = ("○", f"{ground} dim")
            else:
                sign, colour = SIGNS[probe.verdict]
                one = (sign, f"{ground} {colour} bold")
        elif x in decades:
            one = ("┊", f"{ground} faint")
        else:
            one = (" ", ground)
        if spans and spans[-1][1] == one[1]:
            spans[-1] = (spans[-1][0] + one[0], one[1])
        else:
            spans.append(one)
    mark = "▸" if chosen else " "
    line: Line = (
        (mark, "accent"),
        (fit(figures.exact(probe.n), 8, ">"), "strong" if running else ""),
        ("  ", ""),
        *spans,
    )
    if tail:
        line = (*line, ("  ", ""), *_progress(job, probe))
    if tail > 9:
        best = figures.loss(probe.best_loss)
        good = probe.best_loss is not None and probe.best_loss < job.eps
        line = (
            *line,
            (fit(best, 9, ">"), "ok" if good else "dim"),
            (fit(figures.duration(probe.wall_s or None), 8, ">"), "dim"),
        )
    return based(line, "cursor") if chosen else line


def _progress(job: JobRow, probe: ProbeRow) -> Line:
    if probe.state == "running":
        share = max(
            job.progress if job.current_n == probe.n else 0.0, probe.step / job.steps if job.steps else 0.0
        )
        return (*thin_bar(share, 7, "accent"),)
    if probe.state != "done":
        return ((fit(probe.state, 7), "dim"),)
    if probe.speculative:
        return ((fit("ahead", 7), "dim"),)
    return ((fit(f"{probe.trials_ended}/{probe.trials}", 7, ">"), "dim"),)


def _axis_lines(axis: Axis, inner: int, hidden: int) -> list[Line]:
    marks = ["─"] * inner
    text = [" "] * inner
    free = 0
    for value in ticks(axis, max(2, inner // 9)):
        at = _column(axis, value, inner)
        name = figures.count(value)
        start = min(max(0, at - len(name) // 2), inner - len(name))
        marks[at] = "┴"
        if start >= free:
            text[start : start + len(name)] = list(name)
            free = start + len(name) + 1
    note = f"+{hidden} above" if hidden else ""
    return [
        ((fit(note, 9, ">"), "dim"), (" └", "faint"), ("".join(marks), "faint")),
        ((fit("N", 9, ">"), "dim"), ("  ", ""), ("".join(text), "dim")),
    ]
