"""The verbs: what the app asks of the lab.

Each is one command row that the supervisor obeys; none blocks the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labtui.text import clean
from labtui.tui.choice import Choice
from labtui.tui.supervisor_link import SupervisorLink
from labtui.views import numbers as figures

if TYPE_CHECKING:
    from labtui.tui.host import Host
    from labtui.tui.screens.checking import Checked
    from store.rows import JobRow

MORE = 10
"""Verbs on more jobs than this need a y: enter says no."""
MANY = 1
"""Verbs on more jobs than this ask first."""
_PAST = {
    "pause": "pausing", "resume": "resumed", "cancel": "cancelling", "retry": "queued again",
    "archive": "archived", "delete": "deleted", "priority": "reordered", "move": "moved", "note": "noted",
    "tag": "tagged",
}  # fmt: skip
_UNDO = {"cancel": "undo_cancel", "archive": "unarchive", "delete": "restore"}


class JobCommands:
    """The verbs on jobs: each asks where it must and leaves one command row."""

    def __init__(self, app: Host, supervisor: SupervisorLink) -> None:
        self.app = app
        self.supervisor = supervisor
        self.last_undo: tuple[str, list[int]] | None = None

    # Commands

    def command(self, verb: str, ids: Sequence[int], *args: Any, said: str = "") -> None:
        """Send one command; its refusal comes back as a sentence."""
        window = getattr(self.app.front, "window", None)
        if window is not None:
            window.held = True  # the row that was acted on is followed
        if verb in _UNDO:
            self.last_undo = None  # an undo that comes before this is done takes nothing else back

        def send() -> int:
            from store import commands

            sent: int = getattr(commands, verb)(Path(self.app.lab_path), list(ids), *args)
            return sent

        self.supervisor.send(send, lambda: self.sent(verb, list(ids), said))

    def submit(self, checked: Checked) -> None:
        """Queue what the form holds."""

        def send() -> int:
            from store import commands

            return commands.enqueue(Path(self.app.lab_path), checked.json)

        def then() -> None:
            new = checked.searches - checked.reused
            known = f", {checked.reused:,} known already" if checked.reused else ""
            self.app.say(f"queued {checked.name or 'it'}: {new:,} searches{known}")
            self.app.show_screen("queue")
            self.app.poller.poke()
            self.supervisor.start_for_submission()

        self.supervisor.send(send, then)

    def sent(self, verb: str, ids: list[int], said: str) -> None:
        if verb in _UNDO:
            self.last_undo = (_UNDO[verb], ids)
        elif verb in _UNDO.values():
            self.last_undo = None
        undo = f"   {self.app.keymap.name('undo')} takes it back" if verb in _UNDO else ""
        self.app.say(said or f"{_PAST.get(verb, verb)}: {_jobs(ids)}{undo}")
        self.app.poller.poke()

    def verb(self, name: str, *args: Any, ask: bool = False) -> None:
        """A verb on what is selected; on many jobs, or where it takes something away,
        after a question that names them and what is lost.
        """
        ids = self.app.front.selection()
        rows, takes = self.app.front.selected_rows(), TAKES.get(name, ())
        if takes and len(rows) == len(ids):  # count those that it would change
            ids = [row.id for row in rows if row.state in takes]
        if not ids:
            return
        if len(ids) > MANY or ask:
            self.confirm(name, f"{name.capitalize()} {_jobs(ids)}?", ids, lambda: self._many(name, ids, args))
        else:
            self.command(name, ids, *args)

    def confirm(
        self, name: str, question: str, ids: Sequence[int], then: Callable[[], None], *, named: bool = True
    ) -> None:
        """Ask before a verb: which jobs, what is lost, how it is taken back; where it deletes or takes more
        than ten, enter says no. ``named``: all of these jobs are taken, so that their numbers can be told.
        """
        window = getattr(self.app.front, "window", None)
        loaded = self.app.front.selected_rows() if window is None else window.rows.values()
        chosen = set(ids)
        rows = [row for row in loaded if row.id in chosen]
        told = [_some(ids)] if len(ids) > 1 and named else []
        lost = _lost(name, rows)
        if lost:
            told.append(lost)
        undo = self.app.keymap.name("undo")
        if name in _UNDO:
            told.append(f"{undo} takes it back")
        self.app.confirm(question, then, "; ".join(told), grave=name == "delete" or len(ids) > MORE)

    def _many(self, name: str, ids: list[int], args: Sequence[Any]) -> None:
        self.command(name, ids, *args)
        clear = getattr(self.app.front, "window", None)
        if clear is not None:
            clear.marked = set()
            self.app.front.redraw()

    def can_verb(self) -> bool:
        return bool(self.app.front.selection())

    can_note = can_tag = can_archive = can_delete = can_raise_priority = can_lower_priority = can_verb

    def _any_in(self, states: tuple[str, ...]) -> bool:
        """Whether a selected job is in one of these states; those that are not loaded may be."""
        ids = self.app.front.selection()
        rows = self.app.front.selected_rows()
        return bool(ids) and (len(rows) < len(ids) or any(row.state in states for row in rows))

    def can_pause(self) -> bool:
        return self._any_in(TAKES["pause"])

    def can_resume(self) -> bool:
        return self._any_in(TAKES["resume"])

    def can_cancel(self) -> bool:
        return self._any_in(TAKES["cancel"])

    def can_retry(self) -> bool:
        return self._any_in(TAKES["retry"])

    def can_move_first(self) -> bool:
        return self._any_in(("queued", "paused"))

    def do_pause(self) -> None:
        self.verb("pause")

    def do_resume(self) -> None:
        self.verb("resume")

    def do_cancel(self) -> None:
        self.verb("cancel", ask=True)

    def do_retry(self) -> None:
        self.verb("retry")

    def do_archive(self) -> None:
        self.verb("archive")

    def do_delete(self) -> None:
        self.verb("delete", ask=True)

    def _reprioritise(self, by: int) -> None:
        rows = self.app.front.selected_rows()
        if rows:
            value = max(-1000, min(1000, max(r.priority for r in rows) + by))
            self.command("priority", self.app.front.selection(), value, said=f"priority {value:+d}")

    def do_raise_priority(self) -> None:
        self._reprioritise(1)

    def do_lower_priority(self) -> None:
        self._reprioritise(-1)

    def do_move_first(self) -> None:
        ids = self.app.front.selection()
        window = getattr(self.app.front, "window", None)
        if ids and window is not None and window.ids:
            first = next((i for i in window.ids if i not in ids), None)
            self.command("move", ids, first)

    def do_note(self) -> None:
        ids = self.app.front.selection()
        rows = self.app.front.selected_rows()
        self.app.ask(
            f"note on {len(ids)} jobs" if len(ids) > 1 else "note",
            lambda t: self.command("note", ids, t),
            text=rows[0].notes if len(rows) == 1 else "",
            lines=True,
        )

    def do_tag(self) -> None:
        ids = self.app.front.selection()
        rows = self.app.front.selected_rows()
        text = " ".join(clean(t) for t in rows[0].tags) if len(rows) == 1 else ""
        self.app.ask(
            "tags",
            lambda t: self.command("tag", ids, t.split()),
            text=text,
            hint="words, set apart by spaces",
        )

    def can_undo(self) -> bool:
        return self.last_undo is not None

    def do_undo(self) -> None:
        if self.last_undo is not None:
            verb, ids = self.last_undo
            self.command(
                verb,
                ids,
                said=f"taken back: {_jobs(ids)}",
            )

    def do_study_verbs(self) -> None:
        """Offer verbs on all jobs of the study that the Queue shows."""
        study = getattr(getattr(self.app.front, "request", None), "study", None)
        window = getattr(self.app.front, "window", None)
        if window is None:
            return
        name = (
            next((clean(s.name) for s in self.app.common.studies if s.id == study), "all")
            if self.app.common
            else "all"
        )
        ids = list(window.ids)
        states = self.app.front.states()
        title = f"Study {name}" if study is not None else "All jobs"

        def then(verb: str, n: int) -> None:
            question = f"{verb.capitalize()} {n:,} job{'s' if n != 1 else ''} of {name}?"
            taken = [i for i in ids if i in window.rows and window.rows[i].state in TAKES[verb]]
            chosen = taken if len(taken) == n else ids
            self.confirm(verb, question, chosen, lambda: self.command(verb, chosen), named=len(chosen) == n)

        choices = []
        for verb, takes in TAKES.items():
            found = [(states.get(state, 0), state) for state in takes if states.get(state, 0)]
            n = sum(count for count, _ in found) if takes and states else len(ids)
            note = ", ".join(f"{count:,} {state}" for count, state in found)
            if not (takes and states):
                note = f"{n:,} jobs" if not takes else f"those that are {' or '.join(takes)}"
            note = note or f"no job is {' or '.join(takes)}"
            choices.append(Choice(verb, partial(then, verb, n), note, off=not n))
        self.app.choose(title, choices)


TAKES: dict[str, tuple[str, ...]] = {
    "pause": ("running", "queued"),
    "resume": ("paused",),
    "cancel": ("running", "queued", "paused"),
    "retry": ("failed", "cancelled"),
    "archive": (),
    "delete": (),
}
"""The states of jobs that a verb takes; none named: all."""


def _jobs(ids: Sequence[int]) -> str:
    """One job by its number, several by how many they are."""
    return f"job {ids[0]}" if len(ids) == 1 else f"{len(ids):,} jobs"


def _some(ids: Sequence[int]) -> str:
    """The first of many ids, and how many more there are."""
    shown = ", ".join(map(str, ids[:6]))
    return f"{shown} and {len(ids) - 6:,} more" if len(ids) > 6 else shown


def _lost(name: str, rows: Sequence[JobRow]) -> str:
    """What a verb takes away of the work that these jobs have had, as far as they are loaded."""
    if name not in ("cancel", "delete"):
        return ""
    spent = sum(row.wall_s for row in rows if name == "delete" or row.state in TAKES["cancel"])
    found = sum(row.status != "open" for row in rows) if name == "delete" else 0
    parts = [f"{figures.duration(spent)} of training"] if spent >= 1 else []
    parts += [f"{found:,} N* known"] if found else []
    return ", ".join(parts)
