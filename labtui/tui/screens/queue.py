"""Queue: what is running, what is next, when is it done?"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from rich.cells import cell_len
from textual import events

from labtui.filters import EVERYTHING, EXAMPLES, Query, parse
from labtui.text import clean, enough, fit, wrap
from labtui.tui.header import study_strip
from labtui.tui.past import PAST, Kept
from labtui.tui.poller import Loader
from labtui.tui.screens.screen_pane import empty_state
from labtui.tui.screens.table_pane import TablePane
from labtui.tui.table import PAGE, layout, table_lines
from labtui.views import numbers as figures
from labtui.views.gauges import gauge_lines, users_lines
from labtui.views.lines import Line, Span, beside, ends, size, text_line
from labtui.views.nodes import node_lines
from labtui.views.queue import Widths, bracket_ticks, cells, eta_line
from labtui.views.remarks import remarks
from store.states import LIVE_STATES

if TYPE_CHECKING:
    from labtui.analysis.eta import QueueOutlook
    from labtui.tui.screens.queue_side import SideData
    from store.rows import JobRow

SIDE = 180
"""Columns from which the chosen job's candidates and losses stand beside the list."""


@dataclass(frozen=True)
class QueueData:
    """What the Queue shows."""

    ids: array[int]
    rows: tuple[JobRow, ...]
    outlook: QueueOutlook
    request: QueueRequest
    side: SideData | None = None


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
    side: int | None = None
    """The job of the panel at the side; 0: the first of the list; None: there is no panel."""

    def __call__(self, lab: Any) -> QueueData:
        _RECENT.look(lab)
        ids = _RECENT.ids(lab, self)
        if self.query.kappa:
            ids = _with_kappa(lab, ids, self)
        top = self.top
        if self.keep is not None and not (top < len(ids) and self.keep in ids[top : top + self.height]):
            try:
                top = ids.index(self.keep)
            except ValueError:
                top = min(top, max(0, len(ids) - self.height))
        first = max(0, top // PAGE - 1) * PAGE
        wanted = ids[first : (top + self.height) // PAGE * PAGE + 2 * PAGE]
        rows, found = tuple(lab.jobs(wanted)), PAST.outlook(lab)
        seen = {*ids[top : top + self.height], self.side}
        found.outlook.read_designs(lab, [r.id for r in rows if r.id in seen and r.state in LIVE_STATES])
        return QueueData(ids, rows, found, self, self._side(lab, ids))

    def _side(self, lab: Any, ids: array[int]) -> SideData | None:
        if self.side is None or not len(ids):
            return None
        return _turned(self.side if self.side in ids else ids[0], lab)


class _Recent:
    """The last ids that were read, and of which lab; the poller's one thread alone asks."""

    def __init__(self) -> None:
        self._kept = Kept()
        self._asked: tuple[Any, ...] = ()
        self._ids: array[int] | None = None

    def look(self, lab: Any) -> None:
        """Forget what may be true no more."""
        if not self._kept.serves(lab):
            self._ids = None

    def ids(self, lab: Any, request: QueueRequest) -> array[int]:
        """The list; one that is filtered, or sorted by what training changes, is read each time."""
        archived = None if request.archived else False
        asked = (request.order, request.study, archived)
        if request.query.where or request.order != "queue":
            return cast("array[int]", lab.job_ids(request.query.where, *asked[:2], archived=archived))
        if self._ids is None or self._asked != asked:
            self._asked, self._ids = asked, lab.job_ids((), *asked[:2], archived=archived)
        return self._ids


_RECENT = _Recent()


def _turned(job_id: int, lab: Any) -> SideData:
    """Read the panel at the side alone: the cursor moved, the list did not."""
    from labtui.tui.screens.queue_side import SideData  # its charts: the first paint need not wait for them

    return SideData.read(lab, job_id)


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
    ORDERS = {
        "queue": "the queue: running, failed, next, then done",
        "-id": "newest first",
        "state": "state",
        "-n": "N*, largest first",
        "n": "N*, smallest first",
        "-wall": "time, longest first",
        "-finished": "last finished first",
        "model": "model",
        "format": "format",
        "-L": "length, longest first",
        "-progress": "progress",
        "-priority": "priority, highest first",
        "name": "name",
    }

    request: QueueRequest

    def __init__(self) -> None:
        super().__init__()
        self.request = QueueRequest()
        self.outlook: QueueOutlook | None = None
        self.widths = Widths()
        self.side: SideData | None = None

    # Reading

    def loader(self) -> Loader:
        keep = self.window.id if self.window.held else None
        side = None if self.size.width < SIDE else self.window.id or 0
        return replace(
            self.request, top=self.window.top, height=max(1, self.window.height), keep=keep, side=side
        )

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
        self.side = data.side

    def moved(self) -> None:
        super().moved()
        if self.size.width >= SIDE and (self.side is None or self.side.job_id != self.window.id):
            job_id = self.window.id
            if job_id is not None:
                self.lab_app.poller.turn(self.key, partial(_turned, job_id), self.loader())

    def receive(self, data: Any, problem: str) -> None:
        if data is None or isinstance(data, QueueData):
            super().receive(data, problem)
        else:
            self.side = data
            self.redraw()

    def on_resize(self, event: events.Resize) -> None:
        if self.size.width >= SIDE and self.side is None and not self.fresh:
            self.reload()

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
        side = min(80, width * 2 // 5) if width >= SIDE else 0
        width -= side + 3 if side else 0
        self.table_top, self.table_width = len(lines), width
        detail = self._detail(width) if height >= 14 else []
        room = height - len(lines) - len(detail)
        gap = 2 if width >= 100 else 1
        columns = layout(self.widths.columns(), width - 2, gap)
        top = self.widths.top
        outlook = self.outlook.outlook if self.outlook is not None else None
        columns = [
            (replace(c, title=bracket_ticks(w, top)) if c.key == "bracket" else c, w) for c, w in columns
        ]
        table = table_lines(
            self.window,
            columns,
            width,
            room,
            lambda job, w: cells(job, w, outlook, self.supervised, top),
            sort=self.request.order,
            gap=gap,
        )
        if self.window.loaded and not self.window.ids:
            table[1:] = self._empty(width, room - 1)
        elif not self.window.loaded and self.problem:
            table[1:] = empty_state([clean(self.problem)], width, room - 1)
        if not side:
            return [*lines, *table, *([()] * (room - len(table))), *detail]
        room += len(detail)
        table = [*table, *([()] * (room - len(detail) - len(table))), *detail]
        return [*lines, *beside((table, width), (self._beside(side, room), side), height=room, gap=3)]

    def _beside(self, width: int, height: int) -> list[Line]:
        job = self.window.row
        if job is None:
            return []
        from labtui.tui.screens.queue_side import side_lines

        return side_lines(job, self.side, width, height, self.supervised)

    def _is_bench(self) -> bool:
        """Whether work is done on this machine, or could be:
        a lab that is only read says nothing about it.
        """
        common = self.common
        alive = common is not None and common.supervised
        return alive or not (self.lab_app.read_only or (common is not None and common.read_only))

    def _when(self, width: int) -> Line:
        """When everything will be done, and what that rests on."""
        if self.common is None or self.outlook is None or not self.lab_app.machine.is_busy():
            return ()
        paused = self.common.counts.get("paused", 0)
        line = eta_line(self.outlook, basis=width >= 110, paused=paused) if self.supervised else ()
        return (*line, (" ", "dim")) if line else ()

    def _detail(self, width: int) -> list[Line]:
        """What the row under the cursor has no room for: why this ETA, why it failed (over two lines where
        one is too short), the note.
        """
        job = self.window.row
        if job is None:
            return [()]
        place: Line = ((f"  {self.window.cursor + 1:,} of {len(self.window.ids):,} ", "dim"),)
        parts: list[Span] = []
        if figures.own_name(job):  # a long one leaves the facts their room
            name = enough(figures.own_name(job), width // 3)
            parts.append((f"  {fit(name, min(width // 3, cell_len(name)))}", ""))
        if job.state == "running" and job.current_n is not None and self.supervised:
            parts.append((f"  training N = {figures.exact(job.current_n)}", "accent"))
        told = remarks(job)
        known = job.state == "done" or job.hi is not None or job.estimate is not None
        if known and not told and not job.reason:
            parts.append((f"  N* {figures.result(job)}", ""))
            if job.n50 is not None:
                parts.append((f"  N_50 {figures.count_interval(job.n50)}", ""))
        guess = self.outlook.outlook.left(job) if self.outlook is not None else None
        if guess is not None and guess.seconds is not None and (self.supervised or job.state != "running"):
            word = "ETA" if job.state == "running" else "takes"
            room = width - size(tuple(parts)) - size(place)  # a number is there whole or not at all
            for fact in (f"  {word} {guess.text}: {guess.basis}", f"  {word} {guess.text}"):
                if cell_len(fact) <= room:
                    parts.append((fact, "dim"))
                    break
        more: Line = ()
        if job.reason and job.state in ("failed", "queued", "paused"):
            style = "bad" if job.state == "failed" else "warn"
            why = figures.why(job)
            room = width - size(tuple(parts)) - size(place) - 2
            if cell_len(why) > room:
                first, *rest = wrap(why, max(20, room))
                why, more = first, text_line(f"  {' '.join(rest)}", style)
            parts.append((f"  {why}", style))
        if told:
            parts.append((f"  {told}", "warn"))
        if job.tags:
            parts.append((f"  #{' #'.join(clean(t) for t in job.tags)}", "dim"))
        if job.notes:
            parts.append((f"  ✎ {clean(job.notes)}", "dim"))
        if size(tuple(parts)) + 10 <= width - size(place):
            parts.append((f"  {clean(job.hash[:8])}", "dim"))
        first_line = ends(tuple(parts), place, width)
        return [first_line, more] if more else [first_line]

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
        """Show the two marked jobs side by side."""
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
        """Tell who uses the cards, as of a moment ago."""
        self.lab_app.machine.look()
        self.lab_app.list_lines("Devices", self._device_lines)

    def _device_lines(self) -> list[Line]:
        """The nodes of a cluster, and who uses the cards of this machine."""
        common = self.lab_app.common
        nodes = node_lines(common.nodes, common.devices) if common is not None else []
        here = users_lines(self.lab_app.machine.gauges.last)
        return [*nodes, (), (("this machine", "title"),), *here] if nodes else here

    def do_filter(self) -> None:
        def check(text: str) -> str:
            from store.filters import JOB_FIELDS

            return parse(text, frozenset(JOB_FIELDS)).problem

        self.lab_app.ask("filter", self.set_filter, text=self.request.query.text, check=check, hint=EXAMPLES)

    def set_filter(self, text: str) -> None:
        """Show what ``text`` says; it has been checked."""
        from store.filters import JOB_FIELDS

        self.change(query=parse(text, frozenset(JOB_FIELDS)))

    def do_next_failed(self) -> None:
        """Put the cursor on the next failed job below it; round again from the top."""
        for by in range(1, len(self.window.ids) + 1):
            index = (self.window.cursor + by) % len(self.window.ids)
            row = self.window.rows.get(self.window.ids[index])
            if row is not None and row.state == "failed":
                self.window.go(index)
                self.window.held = True
                self.moved()
                return
        if not self.request.query.text:  # it is on no page that is loaded: the filter finds it
            self.set_filter("state:failed")

    def can_next_failed(self) -> bool:
        return self.common is not None and self.common.counts.get("failed", 0) > 0

    def click_study(self, value: str) -> None:
        self.change(study=int(value) if value else None)

    def states(self) -> dict[str, int]:
        """From the rows where all are loaded, else from the study's counts where they are of these jobs;
        empty: not known.
        """
        if all(i in self.window.rows for i in self.window.ids):
            return dict(Counter(self.window.rows[i].state for i in self.window.ids))
        if self.request.query.text or self.common is None:
            return {}
        counts = self.common.counts
        if self.request.study is not None:
            counts = next((s.counts for s in self.common.studies if s.id == self.request.study), {})
        return dict(counts) if sum(counts.values()) == len(self.window.ids) else {}

    def do_next_study(self) -> None:
        self.change(study=self.study_after(self.request.study, 1))

    def do_prev_study(self) -> None:
        self.change(study=self.study_after(self.request.study, -1))

    def can_next_study(self) -> bool:
        return self.common is not None and bool(self.common.studies)

    def do_archived(self) -> None:
        self.change(archived=not self.request.archived)

    def do_back(self) -> None:
        """Take back one layer: marks, then the filter, then the study."""
        if self.window.marked:
            self.window.marked = set()
            self.redraw()
        elif self.request.query.text:
            self.change(query=EVERYTHING)
        elif self.request.archived:
            self.change(archived=False)
        elif self.request.study is not None:
            self.change(study=None)
