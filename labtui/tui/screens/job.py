"""Job: how is it closing in?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from labtui.analysis.eta import candidates_left, job_eta
from labtui.text import clean
from labtui.tui.poller import Loader
from labtui.tui.screens.jobdata import JobData, JobRequest, loss_plot
from labtui.tui.screens.screen_pane import ScreenPane, empty_state
from labtui.tui.theme import STATE_SIGN, model_sign, model_style, state_style
from labtui.views import numbers as figures
from labtui.views.bracket import HEADS, WIDE, bracket_chart
from labtui.views.heat import heat_map
from labtui.views.jobtext import event_lines, log_lines, spec_lines
from labtui.views.lines import Line, Span, beside, inset, rule, size, stack
from store.rows import JobRow

TEXTS = ("spec", "events", "log")
NARROW = ("loss", "grid", *TEXTS)


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

    def receive(self, data: Any, problem: str) -> None:
        if data is None and not problem:
            self.fresh = False
        super().receive(data, problem)

    def _wide(self) -> bool:
        return self.size.width >= 110

    def _tabs(self) -> tuple[str, ...]:
        return TEXTS if self._wide() else NARROW

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
        lines: list[Line] = [*self._facts(data.job, width), ()]
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
            top = max(7, room * 55 // 100)
            block = [
                *stack(self._chart(data, width, top), width, top),
                *self._tab_panel(data, width, room - top),
            ]
        return inset([*lines, *block])

    def _facts(self, job: JobRow, width: int) -> list[Line]:
        first: list[Span] = [
            (f"{job.id} ", "title"),
            (f" {model_sign(job.model)} ", model_style(job.model)),
            (f"{clean(job.model_label)}  ", "strong"),
            (
                f"{clean(job.task)} {job.format} "
                f"{figures.lengths(job.distribution, job.length, job.min_length)}   ",
                "",
            ),
            (f"{STATE_SIGN[job.state]} {job.state}", state_style(job.state)),
        ]
        if job.device and job.state == "running":
            first.append((f" on {clean(job.device)}", "dim"))
        if figures.own_name(job):
            first.append((f"   {figures.own_name(job)}", "dim"))
        return [tuple(first), self._answer(job, width)]

    def _answer(self, job: JobRow, width: int) -> Line:
        """What is known of N*, and when more will be."""
        spans: list[Span] = [("N* ", "dim")]
        if job.status == "censored":
            spans += [(f"> {figures.exact(job.n_max)}", "warn bold")]
            if job.best_loss is not None:
                spans.append((f"  best loss {figures.loss(job.best_loss)}", "dim"))
        elif job.hi is not None:
            value = figures.exact(job.hi) if job.status == "bracket" else "?"
            spans += [
                (value, "strong"),
                (f"  in ({figures.exact(job.lo)}, {figures.exact(job.hi)}]", "" if job.lo else "dim"),
            ]
        elif job.lo:
            spans.append((f"> {figures.exact(job.lo)} so far", "dim"))
        else:
            spans.append(("not known yet", "dim"))
        if job.estimate is not None:
            low, high = figures.count(round(job.estimate[1])), figures.count(round(job.estimate[2]))
            spans.append((f"  ≈ {figures.count(round(job.estimate[0]))} [{low}, {high}]", "accent"))
        spans.append((f"   {job.candidates} tried", "dim"))
        left = candidates_left(job)
        if left and job.status == "open":
            spans.append((f", ~{left} left", "dim"))
        guess = job_eta(job)
        if guess.seconds is not None:
            spans += [
                ("   ETA ", "dim"),
                (f"~{figures.duration(guess.seconds)}", ""),
                (f" ({guess.basis})", "dim"),
            ]
        elif job.wall_s:
            spans.append((f"   took {figures.duration(job.wall_s)}", "dim"))
        if job.reason and job.state != "done":
            spans.append((f"   {figures.why(job)}", "bad"))
        spans.append(
            (
                f"   N_max {figures.exact(job.n_max)}{', every sequence' if 'capped' in job.flags else ''}",
                "dim",
            )
        )
        if figures.flags(job.flags):
            spans.append((f"   {figures.flags(job.flags)}", "warn"))
        # The basis of the ETA is the first to go where there is no room.
        if size(tuple(spans)) > width:
            spans = [s for s in spans if not s[0].startswith(" (")]
        return tuple(spans)

    def _left(self, data: JobData, width: int, height: int) -> list[Line]:
        loss = max(9, height * 2 // 5)
        want = len(data.probes) + 4
        chart = min(height - loss, max(8, want)) if height - loss >= 8 else height
        chart = height - loss if want >= height - loss else chart
        lines = stack(self._chart(data, width, chart), width, chart)
        return [*lines, *self._loss(data, width, height - chart)]

    def _middle(self, data: JobData, width: int, height: int) -> list[Line]:
        grid = min(height // 2, self._grid_height(data) + 2)
        lines = stack(self._grid(data, width, grid), width, grid)
        return [*lines, *self._panel("events", event_lines(data.events), width, height - grid)]

    def _chart(self, data: JobData, width: int, height: int) -> list[Line]:
        head = rule("candidates", width, HEADS.strip() if width >= WIDE else "")
        if not data.probes:
            return [head, (), ((" no candidate yet", "dim"),)]
        chosen = data.probe if self.request.probe_id is not None else None
        style = model_style(data.job.model)
        return [
            head,
            *bracket_chart(data.job, data.probes, width, height - 2, chosen=chosen, style=style),
            (),
        ]

    def _shown(self, data: JobData) -> str:
        probe = next((p for p in data.probes if p.id == data.probe), None)
        return f"N = {figures.exact(probe.n)}" if probe else ""

    def _grid_height(self, data: JobData) -> int:
        return 1 + 3 * len({t.lr for t in data.trials})

    def _grid(self, data: JobData, width: int, height: int) -> list[Line]:
        head = rule(f"grid {self._shown(data)}", width, "best loss")
        return stack([head, *heat_map(data.trials, data.job.eps, width, height - 2)], width, height)

    def _loss(self, data: JobData, width: int, height: int) -> list[Line]:
        head = rule(f"validation loss {self._shown(data)}", width)
        body = loss_plot(data.job, data.trials, data.curves, width, height - 1)
        return [head, *(body or [(), ((" no evaluation yet", "dim"),)])]

    def _tab_panel(self, data: JobData, width: int, height: int) -> list[Line]:
        which = self._text()
        if which == "loss":
            return self._loss(data, width, height)
        if which == "grid":
            return self._grid(data, width, height)
        if which == "events":
            return self._panel("events", event_lines(data.events), width, height)
        if which == "log":
            lines = log_lines(data.log)
            if self.following:
                self.scroll = max(0, len(lines) - height + 1)
            return self._panel("log", lines, width, height)
        return self._panel("spec", spec_lines(data.spec, data.job, data.provenance), width, height)

    def _panel(self, name: str, lines: list[Line], width: int, height: int) -> list[Line]:
        tabs = self._tabs()
        hot = name == self._text()
        others = "  ".join(t for t in tabs if t != name) if hot else ""
        if hot:
            self.scroll = max(0, min(self.scroll, len(lines) - height + 1))
        top = self.scroll if hot else max(0, len(lines) - height + 1)
        key = self.lab_app.keymap.name("next_panel")
        return [
            rule(name, width, f"{key} {others}" if others else ""),
            *lines[top : top + max(0, height - 1)],
        ]

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
        """Back to the newest candidate, whatever that becomes."""
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

    def do_next_panel(self) -> None:
        self.tab = (self.tab + 1) % len(self._tabs())
        self.scroll = 0
        self.redraw()
        if self._text() == "log":
            self.reload()

    def do_prev_panel(self) -> None:
        self.tab = (self.tab - 1) % len(self._tabs())
        self.scroll = 0
        self.redraw()
        if self._text() == "log":
            self.reload()

    def do_follow(self) -> None:
        self.following = not self.following
        self.redraw()

    def do_open(self) -> None:
        """The trials of the shown candidate."""
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
