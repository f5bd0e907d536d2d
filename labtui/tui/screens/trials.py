"""Trials: all of them, sorted and filtered in SQL; a trial's curve at a key."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.cells import cell_len

from labtui.filters import EVERYTHING, Query, parse
from labtui.text import clean
from labtui.tui.poller import Loader
from labtui.tui.screens.screen_pane import empty_state
from labtui.tui.screens.table_pane import TablePane
from labtui.tui.table import PAGE, layout, table_lines
from labtui.views import numbers as figures
from labtui.views.lines import Line, Span, beside, rule
from labtui.views.trials import COLUMNS, TrialRowPlus, cells, curve_plot, with_jobs
from store.rows import Curve

WIDE = 180
"""Columns from which the curve is drawn unasked."""
SIGHT = 60
"""Rows above and below the window whose losses are read with it."""
EXAMPLE = "outcome:success  lr<1e-3  model:lstm  n>=1000  job:12"


@dataclass(frozen=True)
class TrialsData:
    """What Trials shows."""

    ids: array[int]
    rows: tuple[TrialRowPlus, ...]
    curve: Curve | None
    curve_of: int | None
    request: TrialsRequest


@dataclass(frozen=True)
class TrialsRequest:
    """What to read; called with a lab in the poller's thread."""

    query: Query = EVERYTHING
    order: str = "-id"
    study: int | None = None
    top: int = 0
    height: int = 50
    keep: int | None = None
    curve: bool = False
    known: array[int] | None = None
    """The ids of the last reading where only another page is wanted."""

    @property
    def near(self) -> tuple[int, int]:
        """The first and one past the last row whose losses are read."""
        return max(0, self.top - SIGHT), self.top + self.height + SIGHT

    def __call__(self, lab: Any) -> TrialsData:
        ids = (
            self.known if self.known is not None else lab.trial_ids(self.query.where, self.order, self.study)
        )
        first = max(0, self.top // PAGE - 1) * PAGE
        wanted = ids[first : (self.top + self.height) // PAGE * PAGE + 2 * PAGE]
        near = set(ids[slice(*self.near)])
        rows = tuple(with_jobs(lab, lab.trials_by_id(wanted), near))
        shown = self.keep if self.keep is not None else (ids[0] if len(ids) else None)
        curve = lab.curve(shown) if self.curve and shown is not None else None
        return TrialsData(ids, rows, curve, shown if self.curve else None, self)


class TrialsPane(TablePane[TrialRowPlus]):
    """Every training run of the lab."""

    key = "trials"
    ORDERS = {
        "-id": "newest first",
        "id": "oldest first",
        "job": "job",
        "n": "N",
        "-lr": "learning rate, largest first",
        "seed": "seed",
        "best_loss": "best loss, smallest first",
        "-best_loss": "best loss, largest first",
        "-steps": "steps, most first",
        "-wall_s": "time, longest first",
        "outcome": "outcome",
    }

    request: TrialsRequest

    def __init__(self) -> None:
        super().__init__()
        self.request = TrialsRequest()
        self.curve: Curve | None = None
        self.curve_of: int | None = None
        self.near = (0, 0)
        """The first and one past the last row whose losses were read."""
        self.curve_wanted: bool | None = None
        """Whether curves are drawn; None: nobody has said so, and they are where there is room."""
        self.setting_width = 0
        """Of the longest setting of a program that was read; 0: there is none."""

    @property
    def curve_shown(self) -> bool:
        """Whether the curve of the chosen trial stands beside the table, or below it."""
        return self.app.size.width >= WIDE if self.curve_wanted is None else self.curve_wanted

    # Reading

    def loader(self) -> Loader:
        return replace(
            self.request,
            top=self.window.top,
            height=max(1, self.window.height),
            keep=self.window.id,
            curve=self.curve_shown,
            known=None,
        )

    def show(self, data: TrialsData) -> None:
        if (data.request.query, data.request.order) != (self.request.query, self.request.order):
            return
        if data.request.known is None:
            self.window.replace(data.ids)
        self.window.feed((row.trial.id, row) for row in data.rows)
        self.setting_width = max((cell_len(row.setting) for row in data.rows if row.program), default=0)
        self.curve, self.curve_of = data.curve, data.curve_of
        self.near = data.request.near

    def moved(self) -> None:
        self.redraw()
        if self._unread() or (self.curve_shown and self.curve_of != self.window.id):
            # Only the page is read again, not the ids of 190,000 trials.
            loader = replace(
                self.request,
                top=self.window.top,
                height=max(1, self.window.height),
                keep=self.window.id,
                curve=self.curve_shown,
                known=self.window.ids,
            )
            self.lab_app.poller.turn(self.key, loader, self.loader())

    def _unread(self) -> bool:
        """Whether a row in sight, or its losses, are not read."""
        first, last = self.window.top, self.window.top + self.window.height
        return self.window.missing() or not (self.near[0] <= first and last <= self.near[1])

    # Drawing

    def draw(self, width: int, height: int) -> Sequence[Line]:
        lines: list[Line] = [self._state_line()]
        room = height - 1
        plot_room = 0
        if self.curve_shown and width < 130:
            plot_room = min(16, room // 2)
        table_width = width if not self.curve_shown or width < 130 else width * 3 // 5
        self.table_top, self.table_width = 1, table_width
        wide = [replace(c, width=12) if c.key == "loss" and table_width >= 110 else c for c in COLUMNS]
        if self.setting_width:
            room_of = max(len("setting"), min(self.setting_width, 12 + max(0, table_width - 80) // 3))
            wide = [replace(c, title="setting", width=room_of) if c.key == "lr" else c for c in wide]
        columns = layout(wide, table_width - 2)
        table = table_lines(
            self.window,
            columns,
            table_width,
            room - plot_room,
            lambda row, w: cells(row, w, self.supervised),
            sort=self.request.order,
        )
        if not self.window.loaded and self.problem:
            return empty_state([clean(self.problem)], width, height)
        if self.window.loaded and not self.window.ids:
            name = self.lab_app.keymap.name
            words = [
                "No trial yet.",
                f"{name('show_new')} starts from a preset; each run stands here once it began",
            ]
            if self.request.query.text:
                words = ["No trial fits.", f"{name('back')} takes the filter away"]
            table[1:] = empty_state(words, table_width, room - 1)
        if not self.curve_shown:
            return lines + table
        if plot_room:
            table += [()] * (room - plot_room - len(table))
            return [*lines, *table, *self._curve(width, plot_room)]
        side = width - table_width - 3
        return [*lines, *beside((table, table_width), (self._curve(side, room), side), height=room, gap=3)]

    def _curve(self, width: int, height: int) -> list[Line]:
        row = self.window.row
        if row is None:
            return []
        lr = f"{'' if row.program else 'lr '}{row.setting}"
        told = f"N = {figures.exact(row.trial.n)}  {lr}  seed {row.trial.seed}"
        head = rule(f"trial {row.trial.id}", width, told)
        if self.curve is None or self.curve_of != row.trial.id:
            return [head, (), ((" no curve was kept" if self.curve_of == row.trial.id else "", "dim"),)]
        return [head, *curve_plot(row, self.curve, width, height - 1)]

    def _state_line(self) -> Line:
        n = len(self.window.ids)
        spans: list[Span] = [(f" {n:,} trials" if self.window.loaded else " …", "strong")]
        if self.request.query.text:
            spans += [("   filter ", "dim"), (clean(self.request.query.text), "accent")]
        if n:
            spans.append((f"   {self.window.cursor + 1:,} of {n:,}", "dim"))
        return tuple(spans)

    # Hands

    def selection(self) -> list[int]:
        return []

    def copy_text(self) -> str:
        row = self.window.row
        return "" if row is None else f"trial {row.trial.id}, job {row.trial.job_id}\n"

    def do_open(self) -> None:
        row = self.window.row
        if row is not None:
            self.lab_app.open_job(row.trial.job_id, row.trial.probe_id)

    def do_curve(self) -> None:
        self.curve_wanted = not self.curve_shown
        self.redraw()
        self.moved()

    def can_curve(self) -> bool:
        return self.has_rows()

    def do_filter(self) -> None:
        self.lab_app.ask(
            "filter", self.set_filter, text=self.request.query.text, check=check_filter, hint=EXAMPLE
        )

    def set_filter(self, text: str) -> None:
        """Show what ``text`` says; it has been checked."""
        self.change(query=read_filter(text))

    def do_back(self) -> None:
        if self.curve_wanted:
            self.do_curve()
        elif self.request.query.text:
            self.change(query=EVERYTHING)
        else:
            self.lab_app.do_back()


def read_filter(text: str) -> Query:
    from store.filters import TRIAL_FIELDS

    return parse(text, frozenset(TRIAL_FIELDS))


def check_filter(text: str) -> str:
    """Say what is wrong with a filter; empty: nothing."""
    query = read_filter(text)
    return query.problem or ("kappa is no field of a trial" if query.kappa else "")
