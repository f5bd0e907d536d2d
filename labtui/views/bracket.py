"""The bracket chart: one row per candidate on a log axis of N,
and the shaded range in which N* can still lie, closing in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from labtui.text import fit
from labtui.views import numbers as figures
from labtui.views.lines import Line, Span, joined, linked, thin_bar
from labtui.views.metric import metric
from labtui.views.plot import Axis, ticks
from labtui.views.signs import OUTCOME_SIGN
from runners import verdict
from runners.strategies import FRESH_SEEDS
from store.rows import JobRow, ProbeRow, TrialRow

WIDE = 64
STOPPED = {"cancelled": "⊘", "interrupted": "‖", "lost": "?"}
"""A candidate without a verdict, beside how many of its trials had ended."""
SIGNS = {True: ("✓", "ok"), False: ("✗", "bad")}


@dataclass(frozen=True)
class Endings:
    """What the trials of a search tell of its candidates beside their verdicts."""

    early: Mapping[int, int] = field(default_factory=dict)
    """How many trials of each candidate were stopped because it was decided; of none where it was not."""
    diverged: frozenset[int] = frozenset()
    """The candidates whose every trial diverged: their failure says nothing of N."""

    @classmethod
    def of(cls, trials: Iterable[TrialRow]) -> Endings:
        """Read them off the trials of every candidate."""
        outcomes: dict[int, list[str]] = {}
        for t in trials:
            outcomes.setdefault(t.probe_id, []).append(t.outcome)
        return cls(
            {probe: early for probe, ends in outcomes.items() if (early := ends.count("superseded"))},
            frozenset(probe for probe, ends in outcomes.items() if verdict.all_diverged(ends)),
        )

    def astray(self, probe: ProbeRow) -> bool:
        """Whether a candidate failed by nothing but divergence."""
        return probe.verdict is False and probe.id in self.diverged

    def sign(self, probe: ProbeRow) -> Span:
        """The sign of a candidate that was judged."""
        return (OUTCOME_SIGN["diverged"], "warn") if self.astray(probe) else SIGNS[bool(probe.verdict)]


NOTHING = Endings()


@dataclass(frozen=True)
class Step:
    """A candidate and what was known once it had its verdict: the bracket, or the estimate of N* with its
    90 % interval.
    """

    probe: ProbeRow
    lo: int
    hi: int | None
    estimate: tuple[float, float, float] | None = None
    known: bool = True
    """False: seeds are fresh and none has learned, so that there is nothing to draw."""

    def columns(self, axis: Axis, inner: int) -> tuple[int, int]:
        """The first and the last of ``inner`` cells in which N* can be; none where nothing is known."""
        if not self.known:
            return 1, 0
        if self.estimate is not None:
            left, right = (_column(axis, end, inner) for end in self.estimate[1:])
        else:
            left = _column(axis, self.lo, inner) + 1 if self.lo else 0
            right = _column(axis, self.hi, inner) if self.hi is not None else inner - 1
        return min(left, right), right

    def ends(self) -> tuple[str, str, str]:
        """Its two numbers, empty where there is none, and both as one text."""
        if self.estimate is not None:
            both = figures.count_ends(self.estimate)
            low, _, high = both[1:-1].partition(", ")
            return low, high, both
        low, high = figures.exact(self.lo) if self.lo else "", figures.exact(self.hi) if self.hi else ""
        return low, high, f"({low}, {high}]" if low and high else ""


@dataclass(frozen=True)
class Across:
    """The N* of another search on the axis that two charts share."""

    n: float
    style: str
    """Of its model."""
    name: str


def steps(
    probes: Sequence[ProbeRow], intervals: Sequence[tuple[float, float, float] | None] = ()
) -> list[Step]:
    """The candidates in order, each with the bracket after it, or with the interval where it has one."""
    counted = [(p.n, p.verdict if not p.speculative and p.state == "done" else None) for p in probes]
    known = intervals or [None] * len(probes)
    found = zip(probes, verdict.brackets(counted), known, strict=True)
    return [
        Step(p, b.lo, b.hi, k) if k is not None or not intervals else Step(p, 0, None, known=False)
        for p, b, k in found
    ]


def heads(job: JobRow) -> str:
    """The heading of the columns at the right, where there is room for all three."""
    name = metric(job).name
    told = name if len(name) < 9 else "best"  # a name that is cut is none
    return f"{'seeds' if job.strategy in FRESH_SEEDS else 'trials':>7}{told:>9}{'time':>8}".strip()


def moves(job: JobRow, supervised: bool) -> bool:
    """Whether anything of a job can be in training; what is stored as running was interrupted otherwise."""
    return supervised and job.state == "running"


def standing_probes(probes: Sequence[ProbeRow], job: JobRow, supervised: bool) -> list[ProbeRow]:
    """Candidates as they stand: none is in training while its job is not."""
    still = not moves(job, supervised)
    return [replace(p, state="interrupted") if still and p.state == "running" else p for p in probes]


def outcome_of(trial: TrialRow, moving: bool) -> str:
    """A trial's outcome as it stands, likewise."""
    return "interrupted" if trial.outcome == "running" and not moving else trial.outcome


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
    follows: bool = False,
    style: str = "accent",
    drawn: bool = False,
    axis: Axis | None = None,
    tall: bool = False,
    endings: Endings = NOTHING,
    supervised: bool = True,
    intervals: Sequence[tuple[float, float, float] | None] = (),
) -> list[Line]:
    """The chart in ``width`` x ``height`` cells, newest candidate last.

    Args:
        job: the search.
        probes: its candidates in order.
        width: cells in a line.
        height: lines, two of them for the axis.
        chosen: the id of the candidate that is marked.
        follows: it is only the one that is shown while nobody has chosen: its mark is dim.
        style: of the model.
        axis: the axis that it shares with another chart; None: its own.
        drawn: draw where N* can be with ``─``, for text that has no ground.
        tall: where there is room, each candidate takes a second line, so that the steps are seen from afar;
            below the last one that was judged the bracket stands with its two numbers.
        supervised: a supervisor lives; without one nothing is in training.
        endings: what the trials tell: those that were stopped early did not end, and a candidate may have
            nothing but trials that diverged.
        intervals: the estimate of N* after each candidate, where seeds are fresh and no bracket closes.
    """
    inner, tail = _shape(width)
    if inner < 8 or height < 3:
        return []
    axis = axis or chart_axis(probes, job.n_max)
    rows = steps(standing_probes(probes, job, supervised), intervals)
    room = height - 2
    tall = tall and not drawn and 2 * len(rows) <= room
    last = max((i for i, s in enumerate(rows) if s.probe.verdict is not None), default=-1)
    above = _hidden(rows, room, chosen)
    below, last = max(0, len(rows) - above - room), last - above
    rows = rows[above : above + room]
    decades = {_column(axis, v, inner) for v in ticks(axis, max(3, inner // 9))}
    lines = []
    for i, step in enumerate(rows):
        mark = "" if step.probe.id != chosen else "dim" if follows else "accent"
        told = i == last and job.status != "censored"
        ground = f"{style} reverse" if told else "shade"
        spans = _steps(step, axis, inner, decades, ground, style, drawn, told and not tall, endings)
        lines.append(_row(job, step.probe, spans, tail, mark, endings.early.get(step.probe.id, 0)))
        if tall:
            lines.append(_second(step, axis, inner, decades, f"{style} bold" if told else "faint", told))
    lines += [()] * (room - len(lines))
    shaded = tail and not drawn and any(step.known for step in rows)
    here = (" N* lies here: 90 %" if intervals else " N* can be here") if tail > 9 else " N*"
    return [*lines, *_foot(axis, inner, (above, below), here if shaded else "")]


def _shape(width: int) -> tuple[int, int]:
    """Cells of the axis, and of the columns at the right of it, in a chart of this width."""
    tail = (9 + 9 + 8) if width >= WIDE else (9 if width >= 44 else 0)
    return width - 9 - 2 - tail, tail


def crossed(lines: Sequence[Line], axis: Axis, width: int, across: Across) -> list[Line]:
    """A chart with a line from top to bottom at the N* of the search beside it."""
    inner, tail = _shape(width)
    if len(lines) < 3:
        return list(lines)
    *rows, line, numbers = lines
    if tail:
        line = (*line, (" ╏ ", across.style), (fit(across.name, tail - 3), "dim"))
    at = 9 + 2 + _column(axis, across.n, inner)
    return [*(_crossed(row, at, across.style) for row in rows), line, numbers]


def _crossed(line: Line, at: int, style: str) -> Line:
    """``line`` with the dotted line in one cell, where that is free."""
    cells = [(char, key) for text, key in line for char in text]
    cells += [(" ", "")] * (at + 1 - len(cells))
    char, key = cells[at]
    if char in " ┊" and "shade" not in key and "reverse" not in key:
        cells[at] = ("╏", " ".join([style, *(word for word in key.split() if word.startswith("@"))]))
    return tuple(joined(cells))


def _foot(axis: Axis, inner: int, hidden: tuple[int, int], here: str) -> list[Line]:
    """The axis, and beside it what the shade means where ``here`` says so."""
    line, numbers = _axis_lines(axis, inner, hidden)
    return [line, (*numbers, ("  ", ""), ("  ", "shade"), (here, "dim")) if here else numbers]


def _hidden(rows: Sequence[Step], room: int, chosen: int | None) -> int:
    """How many of the first rows have no room: the chosen one stands in the middle, the last at the end."""
    if len(rows) <= room:
        return 0
    at = next((i for i, s in enumerate(rows) if s.probe.id == chosen), len(rows) - 1)
    most = len(rows) - room
    first = min(max(0, at - room // 2), most)
    return most if first and at >= most else first


def _column(axis: Axis, n: float, inner: int) -> int:
    return min(inner - 1, max(0, int(axis.place(n) * inner)))


def _steps(
    step: Step, axis: Axis, inner: int, decades: set[int], ground: str, style: str, drawn: bool,
    told: bool, endings: Endings,
) -> list[Span]:  # fmt: skip
    """The cells of a row: where N* could lie once the candidate was judged, and the candidate's own sign;
    ``told``: the bracket as text beside it, where that is free.
    """
    probe = step.probe
    left, right = step.columns(axis, inner)
    own = _column(axis, probe.n, inner)
    if left == right == own and "reverse" in ground and own + 1 < inner:
        own += 1  # the last bracket is one cell: its bar stands in it, the sign beside
    found = -1
    if step.estimate is not None and "reverse" in ground:
        found = _column(axis, step.estimate[0], inner)
    cells: list[Span] = []
    for x in range(inner):
        inside = left <= x <= right
        if x == own:  # on the plain ground: its colour could not be read on the other
            if probe.state == "running":
                one = ("●", f"{style} bold")
            elif probe.verdict is None or probe.speculative:
                one = ("○", "dim")
            else:
                sign, colour = endings.sign(probe)
                one = (sign, f"{colour} bold")
        elif x == found:
            one = ("◆", style if drawn else ground)
        elif inside:
            one = ("─" if drawn else " ", ground)
        elif x in decades:
            one = ("┊", "faint")
        else:
            one = (" ", "")
        cells.append(one)
    text = step.ends()[2] if told and not drawn else ""
    if text:
        for at in (max(right, own) + 2, min(left, own) - 1 - len(text)):
            if at >= 0 and at + len(text) <= inner:
                cells[at : at + len(text)] = [(c, "strong") for c in text]
                break
    return joined(cells)


def _second(step: Step, axis: Axis, inner: int, decades: set[int], ink: str, told: bool) -> Line:
    """The lower half of a step: where N* can be, half a cell high; ``told``: its numbers at its ends."""
    left, right = step.columns(axis, inner)
    cells: list[Span] = [("┊", "faint") if x in decades else (" ", "") for x in range(inner)]
    cells[left : right + 1] = [("▀", ink)] * (right + 1 - left)
    if told:
        low, high, both = step.ends()
        beyond = bool(high) and right + 2 + len(high) > inner
        low = both if beyond else low  # no room at its right end
        if low and left - 1 >= len(low):
            cells[left - 1 - len(low) : left - 1] = [(c, "strong") for c in low]
        if high and not beyond:
            cells[right + 2 : right + 2 + len(high)] = [(c, "strong") for c in high]
    return tuple(joined([(" " * 11, ""), *cells]))


def _row(job: JobRow, probe: ProbeRow, cells: Sequence[Span], tail: int, mark: str, decided: int) -> Line:
    line: Line = (
        ("▸" if mark else " ", mark),
        (fit(figures.exact(probe.n), 8, ">"), "strong" if probe.state == "running" else ""),
        ("  ", ""),
        *cells,
    )
    if tail:
        line = (*line, ("  ", ""), *_progress(job, probe, decided))
    if tail > 9:
        shown_as = metric(job)
        best = shown_as.text(probe.best_loss)
        good = probe.best_loss is not None and shown_as.gap(probe.best_loss) < shown_as.eps
        line = (
            *line,
            (fit(best, 9, ">"), "ok" if good else "dim"),
            (fit(figures.duration(probe.wall_s or None), 8, ">"), "dim"),
        )
    return linked(line, f"probe:{probe.id}", "cursor" if mark == "accent" else "")


def _progress(job: JobRow, probe: ProbeRow, decided: int) -> Line:
    if probe.state == "running":
        ahead = probe.step / job.steps if job.steps else 0.0  # its furthest trial, not all of them
        share = job.progress if job.current_n == probe.n and job.progress > 0 else ahead
        return (*thin_bar(share, 7, "accent"),)
    ended = f"{max(0, probe.trials_ended - decided)}/{probe.trials}"
    if job.strategy in FRESH_SEEDS:  # their seeds are the evidence
        ended = f"{probe.successes}/{probe.seeds}" if probe.state == "done" else ""
    if probe.state != "done":
        return ((fit(f"{STOPPED.get(probe.state, '?')} {ended}", 7, ">"), "dim"),)
    if probe.speculative:
        return ((fit("ahead", 7, ">"), "dim"),)
    return ((fit(ended, 7, ">"), "dim"),)


def _axis_lines(axis: Axis, inner: int, hidden: tuple[int, int]) -> list[Line]:
    marks = ["─"] * inner
    text = [" "] * inner
    free = 0
    for value in ticks(axis, max(3, inner // 9)):
        at = _column(axis, value, inner)
        name = figures.count(value)
        start = min(max(0, at - len(name) // 2), inner - len(name))
        marks[at] = "┴"
        if start >= free:
            text[start : start + len(name)] = list(name)
            free = start + len(name) + 1
    above, below = hidden
    return [
        (
            (fit(f"+{above} above" if above else "", 9, ">"), "dim"),
            (" └", "faint"),
            ("".join(marks), "faint"),
        ),
        ((fit(f"+{below} below" if below else "N", 9, ">"), "dim"), ("  ", ""), ("".join(text), "dim")),
    ]
