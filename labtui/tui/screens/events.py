"""Events: what happened while I was away?"""

from __future__ import annotations

import json
import os
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labtui.config import state_folder
from labtui.text import clean
from labtui.tui.poller import Loader
from labtui.tui.screens.screen_pane import empty_state
from labtui.tui.screens.table_pane import TablePane
from labtui.tui.table import Column, layout, table_lines
from labtui.tui.theme import STATE_SIGN, state_style
from labtui.views import numbers as figures
from labtui.views.lines import Line, Span
from store.rows import EventRow

KEPT = 5_000
QUIET = ("probe.", "trial.", "checkpoint", "job.running", "job.queued")
"""Kinds that only the long list shows, unless they warn."""
COLUMNS = (
    Column("new", "", 1),
    Column("at", "time", 16),
    Column("kind", "kind", 18, rank=1),
    Column("job", "job", 6, ">"),
    Column("text", "what", 30, grow=1),
)
SIGNS = {"info": (" ", "dim"), "warning": ("!", "warn"), "error": ("✗", "bad")}


_CHANGE = re.compile(r": \w+ to \w+\b")
"""What the store says of a changed state; the column before it says so already."""


def kind_span(event: EventRow) -> Span:
    """What happened: a job's new state by its sign and colour, anything else by its name."""
    subject, _, state = event.kind.partition(".")
    if subject == "job" and state in STATE_SIGN:
        return f"{STATE_SIGN[state]} {state}", state_style(state)
    return f"  {clean(event.kind)}", {"warning": "warn", "error": "bad"}.get(event.level, "dim")


@dataclass(frozen=True)
class EventsRequest:
    """Read what is newer than the last one known."""

    after: int = 0

    def __call__(self, lab: Any) -> tuple[EventRow, ...]:
        return tuple(lab.events(after=self.after, limit=KEPT))


class EventsPane(TablePane[EventRow]):
    """Newest first; what is new since the last visit is marked and summed up."""

    key = "events"

    def __init__(self) -> None:
        super().__init__()
        self.events: list[EventRow] = []
        self.seen = -1
        """The last event of the visit before; -1: not read yet."""
        self.search = ""
        self.everything = False

    # Reading

    def loader(self) -> Loader:
        return EventsRequest(self.events[-1].id if self.events else 0)

    def show(self, data: tuple[EventRow, ...]) -> None:
        known = self.events[-1].id if self.events else 0
        fresh = [e for e in data if e.id > known]
        if self.seen < 0:
            self.seen = last_visit(self.lab_app.lab_path)
        self.events = (self.events + fresh)[-KEPT:]
        if self.events:
            remember_visit(self.lab_app.lab_path, self.events[-1].id)
        self._list()
        if fresh:
            self.reload()

    def _list(self) -> None:
        word = self.search.lower()
        chosen = [
            e for e in self.events if self.everything or e.level != "info" or not e.kind.startswith(QUIET)
        ]
        shown = [e for e in chosen if not word or word in f"{e.kind} {e.text} {e.level} {e.job_id}".lower()]
        first = self.window.cursor == 0
        self.window.replace(array("q", (e.id for e in reversed(shown))))
        if first:
            self.window.go(0)
        self.window.feed((e.id, e) for e in shown)

    # Drawing

    def draw(self, width: int, height: int) -> Sequence[Line]:
        if self.window.loaded and not self.events:
            name = self.lab_app.keymap.name
            return empty_state(
                ["Nothing has happened yet.", f"{name('show_new')} begins something"], width, height
            )
        lines = [self._summary(), ()]
        self.table_top = len(lines)
        columns = layout(COLUMNS, width - 2)
        return lines + table_lines(self.window, columns, width, height - len(lines), self._cells)

    def _summary(self) -> Line:
        fresh = [
            e
            for e in self.events
            if e.id > max(0, self.seen) and (e.level != "info" or not e.kind.startswith(QUIET))
        ]
        spans: list[Span] = []
        if self.search:
            spans.append((f" {clean(self.search)}: {len(self.window.ids):,} events   ", "accent"))
        if not fresh:
            return (*spans, (" Nothing new since your last visit.", "dim"))
        spans.append((f" Since your last visit: {len(fresh):,} events", "strong"))
        kinds: dict[str, int] = {}
        for event in fresh:
            kinds[event.kind] = kinds.get(event.kind, 0) + 1
        for kind, n in sorted(kinds.items(), key=lambda kn: -kn[1])[:5]:
            style = "ok" if kind == "job.done" else "bad" if kind == "job.failed" else "dim"
            spans.append((f"   {n:,} {clean(kind.removeprefix('job.'))}", style))
        return tuple(spans)

    def _cells(self, e: EventRow, room: dict[str, int]) -> dict[str, Line]:
        sign, style = SIGNS.get(e.level, (" ", ""))
        fresh = e.id > max(0, self.seen)
        return {
            "new": (("•" if fresh and sign == " " else sign, "mark" if fresh and sign == " " else style),),
            "at": ((figures.date(e.at), "dim"),),
            "kind": (kind_span(e),),
            "job": ((str(e.job_id) if e.job_id is not None else "", "dim"),),
            "text": ((clean(_CHANGE.sub("", e.text, count=1)), "" if style == "dim" else style),),
        }

    # Hands

    def do_all_events(self) -> None:
        self.everything = not self.everything
        self._list()
        self.redraw()

    def do_open(self) -> None:
        event = self.window.row
        if event is not None and event.job_id is not None:
            self.lab_app.open_job(event.job_id)

    def do_filter(self) -> None:
        self.lab_app.ask(
            "search",
            self.set_search,
            text=self.search,
            hint="a word in kind, text or level, or a job's number",
        )

    def set_search(self, text: str) -> None:
        self.search = text.strip()
        self._list()
        self.redraw()

    def do_back(self) -> None:
        if self.search:
            self.set_search("")
        else:
            self.lab_app.do_back()


def _visits() -> Path:
    return state_folder(os.environ) / "visits.json"


def last_visit(lab: str) -> int:
    """The last event seen of a lab; 0 where it was never looked at."""
    try:
        found = json.loads(_visits().read_text("utf-8")).get(str(Path(lab).resolve()), 0)
        return int(found)
    except (OSError, ValueError, AttributeError, TypeError):
        return 0


def remember_visit(lab: str, event: int) -> None:
    """Keep the last event seen; a state folder that cannot be written is no one's business."""
    path = _visits()
    try:
        data: dict[str, int] = {}
        if path.exists():
            data = json.loads(path.read_text("utf-8"))
        if data.get(str(Path(lab).resolve())) == event:
            return
        data[str(Path(lab).resolve())] = event
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(data), "utf-8")
        aside.replace(path)
    except (OSError, ValueError):
        return
