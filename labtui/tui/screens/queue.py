"""Queue: what is running, what is next, when is it done?"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from labtui.analysis.eta import Eta, QueueOutlook, read_outlook
from labtui.filters import EVERYTHING, EXAMPLES, Query, parse
from labtui.text import clean
from labtui.tui.dialogs import Listing
from labtui.tui.header import study_strip
from labtui.tui.poller import Loader
from labtui.tui.screens.screen_pane import empty_state
from labtui.tui.screens.table_pane import TablePane
from labtui.tui.table import PAGE, layout, table_lines
from labtui.views import numbers as figures
from labtui.views.gauges import gauge_lines, users_lines
from labtui.views.job import remarks
from labtui.views.lines import Line, Span, ends, size
from labtui.views.queue import IDLE, Widths, bracket_ticks, cells

if TYPE_CHECKING:
    from store.rows import JobRow

SORTS = ("queue", "-id", "state", "-priority", "model", "format", "-L", "-progress", "name")


@dataclass(frozen=True)
class QueueData:
    """What the Queue shows."""

    ids: array[int]
    rows: tuple[JobRow, ...]
    outlook: QueueOutlook
    request: QueueRequest


@dataclass(frozen=True)
class QueueRequest:
    """What to read; called with a lab in the poller's thread."""

    query: Query = EVERYTHING
    order: str = "queue"
    study: int | None = None
    archived: bool = False
    top: int = 0
    height: int = 50
    keep: int | None = None
    """The id under the cursor, whose page is wanted wherever it has moved."""

    def __call__(self, lab: Any) -> QueueData:
        ids = lab.job_ids(self.query.where, self.order, self.study, archived=None if self.archived else False)
        if self.query.kappa:
            ids = _with_kappa(lab, ids, self)
        running = tuple(lab.jobs(lab.job_ids(_in("running"), "queue", None)))
        if self.order == "queue":
            ids = _failed_first(ids, running, lab.job_ids(_in("failed"), "-finished", None))
        top = self.top
        if self.keep is not None and not (top < len(ids) and self.keep in ids[top : top + self.height]):
            try:
                top = ids.index(self.keep)
            except ValueError:
                top = min(top, max(0, len(ids) - self.height))
        first = max(0, top // PAGE - 1) * PAGE
        wanted = ids[first : (top + self.height) // PAGE * PAGE + 2 * PAGE]
        return QueueData(ids, tuple(lab.jobs(wanted)), read_outlook(lab), self)


def _in(state: str) -> tuple[Any, ...]:
    from store.filters import Condition

    return (Condition("state", "=", state),)


def _failed_first(ids: array[int], running: Sequence[JobRow], failed: array[int]) -> array[int]:
    """What failed stands directly below what runs: there it is seen."""
    if not len(failed):
        return ids
    bad, runs = set(failed), {job.id for job in running}
    there = set(ids)
    head = [i for i in ids if i in runs]
    return array("q", [*head, *(i for i in failed if i in there), *(i for i in ids if i not in bad | runs)])


def _with_kappa(lab: Any, ids: array[int], request: QueueRequest) -> array[int]:
    from labtui.views.kappa import meets, sharing

    good = {
        job.job_id
        for cell in lab.cells(request.study)
        if meets(sharing(cell), request.query.kappa)
        for job in (*cell.parts, cell.joint)
    }
    return array("q", (i for i in ids if i in good))


class QueuePane(TablePane["JobRow"]):
    """The list of jobs."""

    key = "queue"

    def __init__(self) -> None:
        super().__init__()
        self.request = QueueRequest()
        self.outlook = QueueOutlook(IDLE, Eta(None))
        self.widths = Widths()

    # Reading

    def loader(self) -> Loader:
        keep = self.window.id if self.window.held else None
        return replace(self.request, top=self.window.top, height=max(1, self.window.height), keep=keep)

    def show(self, data: QueueData) -> None:
        if (data.request.query, data.request.order, data.request.study) != (
            self.request.query,
            self.request.order,
            self.request.study,
        ):
            return  # an answer to a question that nobody asks any more
        self.window.replace(data.ids)
        self.window.feed((row.id, row) for row in data.rows)
        self.outlook = data.outlook
        self.widths.see(data.rows)

    def arrived(self) -> None:
        self.lab_app.machine.look()

    # Drawing

    def draw(self, width: int, height: int) -> Sequence[Line]:
        lines: list[Line] = []
        if height >= 18 and self._is_bench():
            lines += gauge_lines(
                self.lab_app.machine.gauges,
                width,
                short=width < 110,
                still=not self.lab_app.machine.is_busy(),
            )
        if self.common is not None and self.common.studies and height >= 14:
            when = self._when(width)
            lines.append(ends(study_strip(self.common, self.request.study, width - size(when)), when, width))
        if self.request.query.text or self.window.marked or self.request.archived:
            lines.append(self._filter_line())
        if lines:
            lines.append(())
        self.table_top = len(lines)
        detail = height >= 14
        room = height - len(lines) - (1 if detail else 0)
        gap = 2 if width >= 100 else 1
        columns = layout(self.widths.columns(), width - 2, gap)
        top = self.widths.top
        columns = [
            (replace(c, title=bracket_ticks(w, top)) if c.key == "bracket" else c, w) for c, w in columns
        ]
        table = table_lines(
            self.window,
            columns,
            width,
            room,
            lambda job, w: cells(job, w, self.outlook.outlook, self.supervised, top),
            sort=self.request.order,
            gap=gap,
        )
        if self.window.loaded and not self.window.ids:
            table[1:] = self._empty(width, room - 1)
        elif not self.window.loaded and self.problem:
            table[1:] = empty_state([clean(self.problem)], width, room - 1)
        if detail:
            lines += table + [()] * (room - len(table)) + [self._detail(width)]
        else:
            lines += table
        return lines

    def _is_bench(self) -> bool:
        """Whether work is done on this machine, or could be:
        a lab that is only read says nothing about it.
        """
        common = self.common
        alive = common is not None and common.supervisor is not None and common.supervisor.alive
        return alive or not (self.lab_app.read_only or (common is not None and common.read_only))

    def _when(self, width: int) -> Line:
        """When everything will be done, and what that rests on."""
        if self.common is None or not self.lab_app.machine.is_busy():
            return ()
        guess = self.outlook.eta
        if guess.seconds is None or not self.supervised:
            return ()
        basis = f": {guess.basis} " if width >= 110 else " "
        return (("all done in ", "dim"), (guess.text, "strong"), (basis, "dim"))

    def _detail(self, width: int) -> Line:
        """What the row under the cursor has no room for: why this ETA, why it failed, the note."""
        job = self.window.row
        if job is None:
            return ()
        parts: list[Span] = []
        if figures.own_name(job):
            parts.append((f"  {figures.own_name(job)}", ""))
        if job.state == "running" and job.current_n is not None and self.supervised:
            parts.append((f"  training N = {job.current_n:,}", "accent"))
        guess = self.outlook.outlook.left(job)
        if guess.seconds is not None and (self.supervised or job.state != "running"):
            parts.append((f"  ETA {guess.text}: {guess.basis}", "dim"))
        if job.reason and job.state in ("failed", "queued", "paused"):
            parts.append((f"  {figures.why(job)}", "bad" if job.state == "failed" else "warn"))
        if remarks(job):
            parts.append((f"  {remarks(job)}", "warn"))
        elif job.state == "done":
            parts.append((f"  N* {figures.nstar_exact(job)} {figures.left_open(job)}", ""))
        if job.tags:
            parts.append((f"  #{' #'.join(clean(t) for t in job.tags)}", "dim"))
        if job.notes:
            parts.append((f"  ✎ {clean(job.notes)}", "dim"))
        parts.append((f"  {clean(job.hash[:8])}", "dim"))
        place: Line = ((f"  {self.window.cursor + 1:,} of {len(self.window.ids):,} ", "dim"),)
        return ends(tuple(parts), place, width)

    def _filter_line(self) -> Line:
        spans: list[Span] = []
        if self.request.query.text:
            spans += [
                (" filter ", "dim"),
                (clean(self.request.query.text), "accent"),
                (f"   {len(self.window.ids):,} job{'s' if len(self.window.ids) != 1 else ''}", "dim"),
            ]
        if self.request.archived:
            spans.append(("   archived shown", "warn"))
        if self.window.marked:
            spans.append((f"   {len(self.window.marked)} marked", "mark"))
        return tuple(spans)

    def _empty(self, width: int, height: int) -> list[Line]:
        name = self.lab_app.keymap.name
        if self.request.query.text or self.request.study is not None:
            return empty_state(["Nothing here.", f"{name('back')} takes the filter away"], width, height)
        if self.lab_app.read_only:
            return empty_state(["This lab is empty.", "It is open read-only"], width, height)
        lines = [
            "The bench is clear.",
            f"{name('show_new')} starts from a preset    {name('help')} shows the keys",
        ]
        return empty_state(lines, width, height)

    # Hands

    def selection(self) -> list[int]:
        return self.window.selection()

    def selected_rows(self) -> list[JobRow]:
        """The loaded rows among the selection."""
        return [self.window.rows[i] for i in self.selection() if i in self.window.rows]

    def copy_text(self) -> str:
        row = self.window.row
        return "" if row is None else f"{row.hash}\n"

    def do_open(self) -> None:
        if self.window.id is not None:
            self.lab_app.open_job(self.window.id)

    def do_mark(self) -> None:
        self.window.toggle_mark()
        self.window.move(1)
        self.moved()

    def do_mark_all(self) -> None:
        everything = set(self.window.ids)
        self.window.marked = set() if self.window.marked == everything else everything
        self.redraw()

    def do_compare(self) -> None:
        """The two marked jobs side by side."""
        first, second = self.selection()
        self.lab_app.compare_jobs(first, second)

    def can_mark(self) -> bool:
        return self.has_rows()

    can_mark_all = can_study_verbs = can_job_trials = can_mark

    def can_compare(self) -> bool:
        return len(self.window.marked) == 2

    def do_job_trials(self) -> None:
        if self.window.id is not None:
            self.lab_app.open_trials(f"id:{self.window.id}")

    def do_devices(self) -> None:
        """Who uses the cards, as of a moment ago."""
        self.lab_app.machine.look()
        self.lab_app.push(Listing("Devices", lambda: users_lines(self.lab_app.machine.gauges.last)))

    def do_filter(self) -> None:
        def check(text: str) -> str:
            from store.filters import JOB_FIELDS

            return parse(text, frozenset(JOB_FIELDS)).problem

        self.lab_app.ask("filter", self.set_filter, text=self.request.query.text, check=check, hint=EXAMPLES)

    def set_filter(self, text: str) -> None:
        """Show what ``text`` says; it has been checked."""
        from store.filters import JOB_FIELDS

        self._change(query=parse(text, frozenset(JOB_FIELDS)))

    def do_sort(self) -> None:
        at = SORTS.index(self.request.order) if self.request.order in SORTS else 0
        self._change(order=SORTS[(at + 1) % len(SORTS)])

    def do_reverse(self) -> None:
        order = self.request.order
        if order != "queue":
            self._change(order=order[1:] if order.startswith("-") else f"-{order}")

    def do_next_study(self) -> None:
        self._step_study(1)

    def do_prev_study(self) -> None:
        self._step_study(-1)

    def can_next_study(self) -> bool:
        return self.common is not None and bool(self.common.studies)

    def _step_study(self, by: int) -> None:
        studies: list[int | None] = (
            [None, *(s.id for s in self.common.studies if not s.archived)] if self.common else [None]
        )
        at = studies.index(self.request.study) if self.request.study in studies else 0
        self._change(study=studies[(at + by) % len(studies)])

    def do_archived(self) -> None:
        self._change(archived=not self.request.archived)

    def _change(self, **changes: Any) -> None:
        self.request = replace(self.request, **changes)
        self.window.go(0)
        self.redraw()
        self.reload()

    def do_back(self) -> None:
        """One layer: marks, then the filter, then the study."""
        if self.window.marked:
            self.window.marked = set()
            self.redraw()
        elif self.request.query.text:
            self._change(query=EVERYTHING)
        elif self.request.archived:
            self._change(archived=False)
        elif self.request.study is not None:
            self._change(study=None)
