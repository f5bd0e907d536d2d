"""Events: what happened while I was away?"""

from __future__ import annotations

import json
import os
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from labtui.config import state_folder
from labtui.text import clean
from labtui.tui.poller import Loader
from labtui.tui.screens.screen_pane import empty_state
from labtui.tui.screens.table_pane import TablePane
from labtui.tui.table import Column, layout, table_lines
from labtui.views import numbers as figures
from labtui.views.events import kind_of, level_sign, what
from labtui.views.lines import Line, Span, size
from store.json import mapping
from store.rows import EventRow, JobRow

KEPT = 5_000
QUIET = ("probe.", "trial.", "checkpoint", "job.running", "job.queued")
"""Kinds that only the long list shows, unless they warn."""
COLUMNS = (
    Column("new", "", 1),
    Column("date", "date", 10, rank=1),
    Column("at", "time", 8),
    Column("job", "job", 5, ">"),
    Column("what", "what", 30, grow=1),
)


@dataclass(frozen=True)
class EventsData:
    """What is new."""

    events: tuple[EventRow, ...]
    jobs: tuple[JobRow, ...]
    """The jobs that these events belong to, as they are now."""


@dataclass(frozen=True)
class EventsRequest:
    """Read what is newer than the last one known."""

    after: int = 0

    def __call__(self, lab: Any) -> EventsData:
        found = tuple(lab.events(after=self.after, limit=KEPT))
        ids = sorted({e.job_id for e in found if e.job_id is not None})
        return EventsData(found, tuple(lab.jobs(ids)) if ids else ())


class EventsPane(TablePane[EventRow]):
    """Newest first; what is new since the last visit is marked and summed up."""

    key = "events"

    def __init__(self) -> None:
        super().__init__()
        self.events: list[EventRow] = []
        self.jobs: dict[int, JobRow] = {}
        self.days: set[int] = set()
        """Events that are the newest of their day: the date stands beside them alone."""
        self.seen = -1
        """The last event of the visit before; -1: not read yet."""
        self.search = ""
        self.everything = False

    # Reading

    def loader(self) -> Loader:
        return EventsRequest(self.events[-1].id if self.events else 0)

    def show(self, data: EventsData) -> None:
        known = self.events[-1].id if self.events else 0
        fresh = [e for e in data.events if e.id > known]
        if self.seen < 0:
            self.seen = last_visit(self.lab_app.lab_path)
        self.jobs.update((job.id, job) for job in data.jobs)
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
        days = [figures.day(e.at) for e in shown]
        newest = [*(a != b for a, b in pairwise(days)), True]
        self.days = {e.id for e, last in zip(shown, newest, strict=False) if last}

    # Drawing

    def draw(self, width: int, height: int) -> Sequence[Line]:
        if self.window.loaded and not self.events:
            name = self.lab_app.keymap.name
            return empty_state(
                ["Nothing has happened yet.", f"{name('show_new')} begins something"], width, height
            )
        if not self.window.loaded and self.problem:
            return empty_state([clean(self.problem)], width, height)
        lines = [self._summary(), ()]
        self.table_top = len(lines)
        columns = layout(self._columns(width), width - 2)
        return lines + table_lines(self.window, columns, width, height - len(lines), self._cells)

    def _columns(self, width: int) -> Sequence[Column]:
        """Where there is little room the day of the first row is the heading of the times."""
        top = self.window.rows.get(self.window.ids[self.window.top]) if self.window.ids else None
        if width >= 100 or top is None:
            return COLUMNS
        narrow = [c for c in COLUMNS if c.key != "date"]
        return [replace(c, title=figures.day(top.at), width=10) if c.key == "at" else c for c in narrow]

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
        for kind, n in Counter(map(kind_of, fresh)).most_common(5):
            style = {"done": "ok", "failed": "bad"}.get(kind, "dim")
            spans.append((f"   {n:,} {kind}", style))
        return tuple(spans)

    def _cells(self, e: EventRow, room: dict[str, int]) -> dict[str, Line]:
        sign, style = level_sign(e)
        fresh = e.id > max(0, self.seen)
        job = self.jobs.get(e.job_id) if e.job_id is not None else None
        return {
            "new": (("•" if fresh and sign == " " else sign, "mark" if fresh and sign == " " else style),),
            "date": ((figures.day(e.at) if e.id in self.days else "", "dim"),),
            "at": ((figures.clock(e.at), "dim"),),
            "job": ((str(e.job_id) if e.job_id is not None else "", "dim"),),
            "what": _fitting(what(e, job), room.get("what", 0)),
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


def _fitting(line: Line, width: int) -> Line:
    """What an event says without the time taken where there is no room for it: half a time is another one."""
    return line[:-1] if size(line) > width and line[-1][0].startswith("  took") else line


def _visits() -> Path:
    return state_folder() / "visits.json"


def last_visit(lab: str) -> int:
    """The last event seen of a lab; 0 where it was never looked at."""
    try:
        return int(mapping(_visits().read_bytes()).get(str(Path(lab).resolve()), 0))
    except (OSError, ValueError, TypeError, OverflowError):
        return 0


def remember_visit(lab: str, event: int) -> None:
    """Keep the last event seen; a state folder that cannot be written is no one's business."""
    path = _visits()
    try:
        data = mapping(path.read_bytes()) if path.exists() else {}
        if data.get(str(Path(lab).resolve())) == event:
            return
        data[str(Path(lab).resolve())] = event
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(data), "utf-8")
        aside.replace(path)
    except (OSError, ValueError):
        return
