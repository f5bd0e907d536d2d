"""Compare: two jobs, or two labs, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from labtui.analysis.closing import intervals
from labtui.text import clean, fit
from labtui.tui.poller import Loader
from labtui.tui.screens.screen_pane import ScreenPane, empty_state
from labtui.views import numbers as figures
from labtui.views.bracket import Across, Endings, bracket_chart, chart_axis, crossed
from labtui.views.compare import Pair, lab_pairs
from labtui.views.kappa import cell_spans, name
from labtui.views.lines import Line, Span, beside, crop, inset, rule, size, text_line
from labtui.views.plot import Axis
from labtui.views.signs import model_sign, model_style, state_of
from labtui.views.spec import spec_rows
from store.json import mapping
from store.rows import JobRow, ProbeRow


@dataclass(frozen=True)
class Side:
    """One job of the two."""

    job: JobRow
    probes: tuple[ProbeRow, ...]
    endings: Endings
    spec: str
    intervals: tuple[tuple[float, float, float] | None, ...] = ()


@dataclass(frozen=True)
class CompareData:
    """Two jobs, or the cells of two labs."""

    sides: tuple[Side, ...] = ()
    pairs: tuple[Pair, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class CompareRequest:
    """What to read."""

    jobs: tuple[int, ...] = ()
    other: str = ""

    def __call__(self, lab: Any) -> CompareData:
        if self.other:
            return self._labs(lab)
        return CompareData(tuple(self._side(lab, i) for i in self.jobs))

    @staticmethod
    def _side(lab: Any, job: int) -> Side:
        row, probes, spec = lab.job(job), tuple(lab.probes(job)), lab.job_spec(job)
        return Side(row, probes, Endings.of(lab.trials(job)), spec, intervals(row, probes, spec))

    def _labs(self, lab: Any) -> CompareData:
        from store.errors import LabError
        from store.read import open_lab

        try:
            with open_lab(self.other, read_only=True) as second:
                return CompareData(pairs=tuple(lab_pairs(lab.cells(), second.cells())))
        except LabError as error:
            return CompareData(problem=str(error))


class ComparePane(ScreenPane):
    """Two jobs, or two labs."""

    key = "compare"

    def __init__(self) -> None:
        super().__init__()
        self.request = CompareRequest()
        self.data = CompareData()
        self.top = 0

    def compare(self, first: int, second: int) -> None:
        """Show two jobs."""
        self.request = CompareRequest((first, second))
        self.top = 0
        self.reload()

    def loader(self) -> Loader:
        return self.request

    def show(self, data: CompareData) -> None:
        self.data = data

    # Drawing

    def draw(self, width: int, height: int) -> Sequence[Line]:
        data = self.data
        if self.problem or data.problem:
            return empty_state([clean(self.problem or data.problem)], width, height)
        if self.request.other:
            return inset(self._labs(width - 2, height))
        if len(data.sides) < 2:
            name = self.lab_app.keymap.name
            return empty_state(
                [
                    "Two jobs, or two labs, side by side.",
                    f"mark two jobs in the Queue with {name('mark')}, then {name('compare')}",
                    f"or {name('other_lab')} for another lab file",
                ],
                width,
                height,
            )
        return inset(self._jobs(data.sides[0], data.sides[1], width - 2, height))

    def _jobs(self, a: Side, b: Side, width: int, height: int) -> list[Line]:
        each = (width - 3) // 2
        chart = min(max(9, height // 2), 4 + max(len(a.probes), len(b.probes)) + 3)
        one, two = chart_axis(a.probes, a.job.n_max), chart_axis(b.probes, b.job.n_max)
        axis = Axis(min(one.low, two.low), max(one.high, two.high))
        sides = [(self._side(x, axis, each, chart, y.job), each) for x, y in ((a, b), (b, a))]
        top = beside(*sides, height=chart, gap=3)
        rows = spec_rows(mapping(a.spec), mapping(b.spec))
        differ = sum(x != y for _, x, y in rows)
        label = min(30, width // 3)
        room = (width - label) // 2
        lines = [rule("spec", width, f"{differ} differ, {len(rows) - differ} agree")]
        space = height - chart - 1
        self.top = max(0, min(self.top, len(rows) - space))
        for key, x, y in rows[self.top : self.top + space]:
            style = "strong" if x != y else "dim"
            name = (fit(clean(key), label - 2) + "  ", "dim")
            lines.append((name, (fit(clean(x), room - 1) + " ", style), (fit(clean(y), room), style)))
        return [*top, *lines]

    def _side(self, side: Side, axis: Axis, width: int, height: int, other: JobRow) -> list[Line]:
        """One job on the axis that both share, with the N* of the other; whole facts go from the end where
        there is no room.
        """
        job = side.job
        style = model_style(job.model)
        sign, word, state = state_of(job, self.supervised)
        facts: list[Span] = [
            (f"{model_sign(job.model)} ", style),
            (f"{sign} {word}  ", state),
            (f"N* {figures.nstar_exact(job)}", "strong"),
            *((f"  {told}", "dim") for told in (figures.left_open(job),) if told),
            *((f"  N_50 {figures.count_interval(n)}", "dim") for n in (job.n50,) if n is not None),
            (f"  {job.candidates} tried", "dim"),
            *((f"  took {figures.duration(t)}", "dim") for t in (job.wall_s,) if t),
        ]
        while size(tuple(facts)) > width and len(facts) > 3:
            facts.pop()
        head = [rule(f"{job.id}  {figures.label(job)}", width), crop(tuple(facts), width)]
        if not side.probes:
            return [*head, (), text_line("no candidate yet", "dim")]
        chart = bracket_chart(
            job,
            side.probes,
            width,
            height - 3,
            style=style,
            axis=axis,
            endings=side.endings,
            intervals=side.intervals,
            supervised=self.supervised,
        )
        marked = figures.drawn(other) if other.status == "bracket" else None
        if marked is not None:
            across = Across(marked[0], model_style(other.model), f"job {other.id}")
            chart = crossed(chart, axis, width, across)
        return [*head, *chart]

    def _labs(self, width: int, height: int) -> list[Line]:
        pairs = self.data.pairs
        both = sum(p.here is not None and p.there is not None for p in pairs)
        label = min(44, width // 2)
        room = max(10, (width - label) // 2)
        each = min(20, room - 3)
        lines = [
            rule("κ in two labs", width, f"{both} in both, {len(pairs) - both} in one"),
            (
                (fit("", label), ""),
                (fit("  here", room), "heading"),
                (fit(f"  {clean(self.request.other)}", room), "heading"),
            ),
        ]
        space = height - len(lines)
        self.top = max(0, min(self.top, len(pairs) - space))
        for pair in pairs[self.top : self.top + space]:
            cell = pair.cell
            line: list[Span] = [
                (f"{model_sign(cell.model)} ", model_style(cell.model)),
                (fit(name(cell), label - 2), ""),
            ]
            for kappa in (pair.here, pair.there):
                line += (
                    cell_spans([kappa], each)
                    if kappa is not None
                    else [(fit(f"     {figures.NONE}", each), "dim")]
                )
                line.append((" " * (room - each), ""))
            line[-1] = (" ≠" if pair.differs else "", "warn")
            lines.append(crop(tuple(line), width))
        if not pairs:
            lines.append(text_line("neither lab has a kappa yet", "dim"))
        return lines

    # Hands

    def _scroll(self, by: int) -> None:
        self.top = max(0, self.top + by)
        self.redraw()

    def do_up(self) -> None:
        self._scroll(-1)

    def do_down(self) -> None:
        self._scroll(1)

    def do_page_down(self) -> None:
        self._scroll(max(1, self.size.height // 2))

    def do_page_up(self) -> None:
        self._scroll(-max(1, self.size.height // 2))

    def wheel(self, by: int) -> None:
        self._scroll(by)

    def do_other_lab(self) -> None:
        def then(path: str) -> None:
            self.request = replace(self.request, other=path.strip())
            self.top = 0
            self.reload()

        self.lab_app.ask(
            "other lab", then, text=self.request.other, hint="path of a lab file; it is opened read-only"
        )

    def do_back(self) -> None:
        if self.request.other and self.request.jobs:
            self.request = replace(self.request, other="")
            self.reload()
        else:
            self.lab_app.do_back()
