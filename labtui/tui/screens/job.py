"""Job: how is it closing in?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labtui.analysis.closing import intervals
from labtui.analysis.eta import Outlook
from labtui.text import clean, clean_lines
from labtui.tui.past import PAST
from labtui.tui.poller import Loader
from labtui.tui.screens.screen_pane import ScreenPane, empty_state
from labtui.views import numbers as figures
from labtui.views.bracket import WIDE, Endings, bracket_chart, heads, moves
from labtui.views.digits import large
from labtui.views.events import event_lines
from labtui.views.heat import heat_map
from labtui.views.job import facts, log_lines, loss_plot, spec_panel, telling, without_curves
from labtui.views.lines import Line, Span, beside, inset, rule, stack, text_line
from labtui.views.metric import metric, settings
from labtui.views.position import Tested, position_plot, positions_of_trials
from labtui.views.signs import model_style
from store.rows import Curve, EventRow, JobRow, ProbeRow, TrialRow
from store.states import LIVE_STATES

LOG_BYTES = 64_000
TEXTS = ("spec", "events", "log")
NARROW = ("loss", "grid", *TEXTS)


@dataclass(frozen=True)
class JobData:
    """One job and what belongs to it."""

    job: JobRow
    probes: tuple[ProbeRow, ...]
    probe: int | None
    """The candidate whose grid and losses are here."""
    trials: tuple[TrialRow, ...]
    """Those of this candidate."""
    endings: Endings
    """Of every candidate (:class:`Endings`)."""
    curves: dict[int, Curve]
    spec: str
    provenance: tuple[tuple[str, str], ...]
    events: tuple[EventRow, ...]
    log: tuple[str, ...]
    studies: tuple[int, ...] = ()
    intervals: tuple[tuple[float, float, float] | None, ...] = ()
    """The estimate of N* after each candidate, where seeds are fresh."""
    tested: Tested = ()
    """Trials at N_max with their accuracy by position."""

    outlook: Outlook | None = None
    """What the lab's past says of a search that is not over."""


@dataclass(frozen=True)
class JobRequest:
    """What to read."""

    job_id: int | None = None
    probe_id: int | None = None
    """None: the one that tells most (:func:`telling`)."""
    log: bool = False

    def __call__(self, lab: Any) -> JobData | None:
        job_id = self.job_id
        if job_id is None:
            ids = lab.job_ids((), "queue")
            if not len(ids):
                return None
            job_id = ids[0]
        job = lab.job(job_id)
        probes = tuple(lab.probes(job_id))
        probe = next((p for p in probes if p.id == self.probe_id), None)
        if probe is None:
            probe = telling(job, probes)
        every = lab.trials(job_id)
        trials = tuple(t for t in every if probe is not None and t.probe_id == probe.id)
        curves = lab.curves(probe.id) if probe else {}
        told = tuple((str(k), str(v)) for k, v in sorted(lab.provenance(job_id).items()))
        log = tuple(read_log(lab.path, probe)) if self.log else ()
        spec, outlook = lab.job_spec(job_id), None
        if job.state in LIVE_STATES:
            outlook = PAST.outlook(lab).outlook
            outlook.read_designs(lab, [job_id])
        return JobData(
            job, probes, probe.id if probe else None, trials, Endings.of(every), curves,
            spec, told, tuple(lab.events(job_id=job_id, limit=100)), log,
            intervals=intervals(job, probes, spec), tested=positions_of_trials(lab, job, probes, spec),
            outlook=outlook,
        )  # fmt: skip


def read_log(lab_path: str | os.PathLike[str], probe: ProbeRow | None) -> list[str]:
    """The end of the worker's log that has to do with a job: that of its slot, else the newest;
    at most 64 kB.
    """
    from store.paths import LabPaths

    paths = LabPaths(Path(lab_path))
    own = paths.worker_log((probe.slot or "") if probe else "")
    files = paths.worker_logs()
    try:
        chosen = own if own in files else max(files, key=lambda p: p.stat().st_mtime, default=None)
        if chosen is None:
            return []
        with chosen.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = clean_lines(text)
    return lines[1:] if size > LOG_BYTES else lines[:-1] if lines and not lines[-1] else lines


class JobPane(ScreenPane):
    """One search."""

    key = "job"

    def __init__(self) -> None:
        super().__init__()
        self.request = JobRequest()
        self.data: JobData | None = None
        self.tab = 0
        self.scroll = 0
        self.following = True
        self.last_opened: int | None = None

    # Reading

    def open(self, job_id: int, probe_id: int | None = None) -> None:
        """Show another job, or another candidate of it."""
        if self.request.job_id != job_id:
            self.last_opened = self.request.job_id
            self.data = None
            self.scroll = 0
        self.request = JobRequest(job_id, probe_id)
        self.reload()

    def loader(self) -> Loader:
        return replace(self.request, log=self._text() == "log")

    def show(self, data: JobData | None) -> None:
        if data is not None and self.request.job_id in (None, data.job.id):
            self.data = data
            if self.request.job_id is None:
                self.request = replace(self.request, job_id=data.job.id)
                self.reload()  # from now on this job, not whatever is the first of the queue

    def receive(self, data: Any, problem: str) -> None:
        if data is None and not problem:
            self.fresh = False
        super().receive(data, problem)

    def _wide(self) -> bool:
        return self.app.size.width >= 110  # the pane has no size yet where it has just come to the front

    def _tabs(self) -> tuple[str, ...]:
        """The panels that the key turns to; of a failed job the log is the next one."""
        tabs = TEXTS if self._wide() else NARROW
        if self.data is not None and self.data.tested:
            tabs = ("accuracy", *tabs)
        if self.data is not None and self.data.job.state == "failed":
            return tabs[0], "log", *(t for t in tabs[1:] if t != "log")
        return tabs

    def label(self, action_id: str) -> str:
        """The footer names the panel that the key turns to."""
        by = {"next_panel": 1, "prev_panel": -1}.get(action_id)
        return "" if by is None else self._tabs()[(self.tab + by) % len(self._tabs())]

    def can_next_panel(self) -> bool:
        return self.data is not None

    def _text(self) -> str:
        return self._tabs()[self.tab % len(self._tabs())]

    # Drawing

    def draw(self, width: int, height: int) -> Sequence[Line]:
        data = self.data
        if data is None:
            if self.problem:
                return empty_state([clean(self.problem)], width, height)
            if self.fresh:
                return ()
            name = self.lab_app.keymap.name
            return empty_state(["No job yet.", f"{name('show_new')} starts from a preset"], width, height)
        width -= 2
        lines: list[Line] = [*facts(data.job, width, self.supervised, data.outlook), ()]
        if width >= 108 and height >= 30 and data.job.status == "bracket":
            style = model_style(data.job.model)
            ascii_only = self.lab_app.settings.glyphs == "ascii"
            told = large(figures.nstar_exact(data.job), f"{style} bold", ascii_only)
            head = "N* ≈  " if data.job.estimate is not None else "  N*  "
            for y, line in enumerate(told):
                lines.append(((head if y == len(told) // 2 else " " * 6, "dim"), *line))
            lines.append(())
        room = height - len(lines)
        if width >= 178:
            left = (width - 4) * 45 // 100
            middle = (width - 4) * 30 // 100
            right = width - 4 - left - middle
            block = beside(
                (self._left(data, left, room), left),
                (self._middle(data, middle, room), middle),
                (self._tab_panel(data, right, room), right),
                height=room,
            )
        elif width >= 108:
            right = min(52, width * 2 // 5)
            left = width - right - 3
            grid = min(room // 2, max(6, self._grid_height(data) + 2))
            side = [*self._grid(data, right, grid), *self._tab_panel(data, right, room - grid)]
            block = beside((self._left(data, left, room), left), (side, right), height=room, gap=3)
        else:
            empty = self._text() == "loss" and not any(c.steps for c in data.curves.values())
            top = max(7, room - 4 if empty else room * 55 // 100)
            block = [
                *stack(self._chart(data, width, top), width, top),
                *self._tab_panel(data, width, room - top),
            ]
        return inset([*lines, *block])

    def _left(self, data: JobData, width: int, height: int) -> list[Line]:
        loss = max(9, height * 2 // 5)
        want = 2 * len(data.probes) + 4
        if want > height - loss:
            want = len(data.probes) + 4
        chart = min(height - loss, max(8, want)) if height - loss >= 8 else height
        chart = height - loss if want >= height - loss else chart
        lines = stack(self._chart(data, width, chart), width, chart)
        return [*lines, *self._loss(data, width, height - chart)]

    def _middle(self, data: JobData, width: int, height: int) -> list[Line]:
        grid = min(height // 2, self._grid_height(data) + 2)
        lines = stack(self._grid(data, width, grid), width, grid)
        return [*lines, *self._panel("events", event_lines(data.events, data.job), width, height - grid)]

    def _chart(self, data: JobData, width: int, height: int) -> list[Line]:
        head = rule("candidates", width, heads(data.job) if width >= WIDE else "")
        if not data.probes:
            return [head, (), ((" no candidate yet", "dim"),)]
        follows = self.request.probe_id is None
        style = model_style(data.job.model)
        chart = bracket_chart(
            data.job,
            data.probes,
            width,
            height - 2,
            chosen=data.probe,
            follows=follows,
            style=style,
            tall=True,
            endings=data.endings,
            supervised=self.supervised,
            intervals=data.intervals,
        )
        return [head, *chart, ()]

    def _shown(self, data: JobData) -> str:
        probe = next((p for p in data.probes if p.id == data.probe), None)
        return f"N = {figures.exact(probe.n)}" if probe else ""

    def _grid_height(self, data: JobData) -> int:
        return 1 + 3 * len({t.lr for t in data.trials})

    def _grid(self, data: JobData, width: int, height: int) -> list[Line]:
        shown_as = metric(data.job)
        head = rule(f"grid {self._shown(data)}", width, self._others("grid") or f"best {shown_as.name}")
        named = settings(data.spec) if data.job.program else None
        moving = moves(data.job, self.supervised)
        cells = heat_map(
            data.trials, shown_as, width, height - 2, data.curves, data.job.steps, named, moving=moving
        )
        early = data.endings.early.get(data.probe or 0, 0)
        if early:
            told = f" ·  stopped early, once decided: {early} of {len(data.trials)} trials"
            cells = [*cells, text_line(told, "dim")]
        return stack([head, *cells], width, height)

    def _loss(self, data: JobData, width: int, height: int) -> list[Line]:
        what = metric(data.job).name
        what = "validation loss" if what == "loss" else what
        head = rule(f"{what} {self._shown(data)}", width, self._others("loss"))
        named = settings(data.spec) if data.job.program else None
        body = loss_plot(data.job, data.trials, data.curves, width, height - 1, named)
        return [head, *(body or [(), ((f" {without_curves(data.trials)}", "dim"),)])]

    def _tab_panel(self, data: JobData, width: int, height: int) -> list[Line]:
        which = self._text()
        if which == "loss":
            return self._loss(data, width, height)
        if which == "grid":
            return self._grid(data, width, height)
        if which == "accuracy":
            head = rule("accuracy by position", width, self._others("accuracy"))
            return [head, *position_plot(data.tested, data.job.length, width, height - 1)]
        if which == "events":
            return self._panel("events", event_lines(data.events, data.job), width, height)
        if which == "log":
            lines = log_lines(data.log)
            if self.following:
                self.scroll = max(0, len(lines) - height + 1)
            return self._panel("log", lines, width, height)
        return self._panel("spec", spec_panel(data.spec, data.job, data.provenance), width, height)

    def _panel(self, name: str, lines: list[Line], width: int, height: int) -> list[Line]:
        hot = name == self._text()
        if hot:
            self.scroll = max(0, min(self.scroll, len(lines) - height + 1))
        top = self.scroll if hot else max(0, len(lines) - height + 1)
        below = len(lines) - top - max(0, height - 1)
        more: Line = ()
        if hot and below > 0:
            more = ((f"{below} more ↓ {self.lab_app.keymap.name('page_down')}   ", "dim @page_down"),)
        return [
            rule(name, width, (*more, *self._others(name))),
            *lines[top : top + max(0, height - 1)],
        ]

    def _others(self, name: str) -> Line:
        """The panels that the key turns to, where this one is among those that it turns."""
        if name != self._text():
            return ()
        spans: list[Span] = [(self.lab_app.keymap.name("next_panel"), "dim @next_panel")]
        tabs = self._tabs()
        at = tabs.index(name)
        spans += [
            (f"  {t}" if i else f" {t}", f"dim @panel:{t}") for i, t in enumerate(tabs[at + 1 :] + tabs[:at])
        ]
        return tuple(spans)

    # Hands

    def selection(self) -> list[int]:
        return [] if self.data is None else [self.data.job.id]

    def selected_rows(self) -> list[JobRow]:
        return [] if self.data is None else [self.data.job]

    def copy_text(self) -> str:
        return "" if self.data is None else self.data.spec

    def _choose(self, by: int) -> None:
        if self.data is None or not self.data.probes:
            return
        ids = [p.id for p in self.data.probes]
        at = ids.index(self.data.probe) if self.data.probe in ids else len(ids) - 1
        at = max(0, min(len(ids) - 1, at + by))
        self.request = replace(self.request, probe_id=ids[at])
        self.data = replace(self.data, probe=ids[at])
        self.redraw()
        self.reload()

    def do_up(self) -> None:
        self._choose(-1)

    def do_down(self) -> None:
        self._choose(1)

    def do_home(self) -> None:
        self._choose(-(10**6))

    def do_end(self) -> None:
        """Go back to the newest candidate, whatever that becomes."""
        self.request = replace(self.request, probe_id=None)
        self.reload()

    def do_page_down(self) -> None:
        self.scroll += max(1, self.size.height // 3)
        self.following = False
        self.redraw()

    def do_page_up(self) -> None:
        self.scroll = max(0, self.scroll - max(1, self.size.height // 3))
        self.following = False
        self.redraw()

    def wheel(self, by: int) -> None:
        self._choose(1 if by > 0 else -1)

    def _turn(self, tab: int) -> None:
        self.tab = tab % len(self._tabs())
        self.scroll = 0
        self.redraw()
        self.lab_app.refresh_frame()
        if self._text() == "log":
            self.reload()

    def do_next_panel(self) -> None:
        self._turn(self.tab + 1)

    def do_prev_panel(self) -> None:
        self._turn(self.tab - 1)

    def click_panel(self, name: str) -> None:
        if name in self._tabs():
            self._turn(self._tabs().index(name))

    def click_probe(self, value: str) -> None:
        """A click on a candidate shows it; one on the shown candidate opens its trials."""
        if self.data is None:
            return
        if self.data.probe == int(value) and self.request.probe_id is not None:
            self.do_open()
            return
        ids = [p.id for p in self.data.probes]
        if int(value) in ids:
            self._choose(
                ids.index(int(value)) - (ids.index(self.data.probe) if self.data.probe in ids else -1)
            )

    def do_follow(self) -> None:
        self.following = not self.following
        self.redraw()

    def do_open(self) -> None:
        """Open the trials of the shown candidate."""
        if self.data is not None and self.data.probe is not None:
            self.lab_app.open_trials(f"probe:{self.data.probe}")

    def can_open(self) -> bool:
        return self.data is not None and self.data.probe is not None

    def can_job_trials(self) -> bool:
        return self.data is not None

    can_next_study = can_prev_study = can_job_trials

    def do_job_trials(self) -> None:
        if self.data is not None:
            self.lab_app.open_trials(f"id:{self.data.job.id}")

    def do_next_study(self) -> None:
        self._neighbour(1)

    def do_prev_study(self) -> None:
        self._neighbour(-1)

    def _neighbour(self, by: int) -> None:
        """The next job in the order of the Queue."""
        queue = self.lab_app.panes.get("queue")
        ids = list(getattr(getattr(queue, "window", None), "ids", ()))
        here = self.request.job_id
        if ids:
            at = ids.index(here) + by if here in ids else 0
            self.open(ids[at % len(ids)])

    def do_compare(self) -> None:
        if self.data is not None and self.last_opened is not None:
            self.lab_app.compare_jobs(self.last_opened, self.data.job.id)

    def can_compare(self) -> bool:
        return self.last_opened is not None

    def do_back(self) -> None:
        if self.request.probe_id is not None:
            self.do_end()
        else:
            self.lab_app.do_back()
