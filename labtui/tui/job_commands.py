"""The verbs: what the app asks of the lab.

Each is one command row that the supervisor obeys; none blocks the screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labtui.text import clean
from labtui.tui.dialogs import Choice, Chooser, Confirm, Help
from labtui.tui.supervisor_link import Supervising

if TYPE_CHECKING:
    from labtui.tui.screens.checking import Checked

MANY = 1
"""Verbs on more jobs than this ask first."""
_PAST = {
    "pause": "pausing", "resume": "resumed", "cancel": "cancelling", "retry": "queued again",
    "archive": "archived", "delete": "deleted", "priority": "reordered", "move": "moved", "note": "noted",
    "tag": "tagged",
}  # fmt: skip
_UNDO = {"cancel": "undo_cancel", "archive": "unarchive", "delete": "restore"}
THEME_CYCLE = ("labtui-dark", "labtui-light", "labtui-ansi")


class Verbs(Supervising, inherit_bindings=False):
    """Handlers of the actions that every screen has, and of the verbs on jobs."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.last_undo: tuple[str, list[int]] | None = None

    # Commands

    def command(self, verb: str, ids: Sequence[int], *args: Any, said: str = "") -> None:
        """Send one command; its refusal comes back as a sentence."""
        window = getattr(self.front, "window", None)
        if window is not None:
            window.held = True  # the row that was acted on is followed

        def send() -> int:
            from store import commands

            sent: int = getattr(commands, verb)(Path(self.lab_path), list(ids), *args)
            return sent

        self._send(send, lambda: self.sent(verb, list(ids), said))

    def submit(self, checked: Checked) -> None:
        """Queue what the form holds."""

        def send() -> int:
            from store import commands

            return commands.enqueue(Path(self.lab_path), checked.json)

        def then() -> None:
            new = checked.searches - checked.reused
            known = f", {checked.reused:,} known already" if checked.reused else ""
            self.say(f"queued {checked.name or 'it'}: {new:,} searches{known}")
            self.show_screen("queue")
            self.poller.poke()
            self.ensure_supervisor(submitted=True)

        self._send(send, then)

    def sent(self, verb: str, ids: list[int], said: str) -> None:
        if verb in _UNDO:
            self.last_undo = (_UNDO[verb], ids)
        elif verb in _UNDO.values():
            self.last_undo = None
        undo = f"   {self.keymap.name('undo')} takes it back" if verb in _UNDO else ""
        what = f"job {ids[0]}" if len(ids) == 1 else f"{len(ids):,} jobs"
        self.say(said or f"{_PAST.get(verb, verb)}: {what}{undo}")
        self.poller.poke()
        self.ensure_supervisor()

    def verb(self, name: str, *args: Any, ask: bool = False) -> None:
        """A verb on what is selected; on many jobs, or where it takes something away,
        after a question that counts.
        """
        ids = self.front.selection()
        if not ids:
            return
        if len(ids) > MANY or ask:
            what = f"job {ids[0]}" if len(ids) == 1 else f"{len(ids):,} jobs"
            detail = "undone by u" if name in _UNDO else ""
            self.push(Confirm(f"{name.capitalize()} {what}?", lambda: self._many(name, ids, args), detail))
        else:
            self.command(name, ids, *args)

    def _many(self, name: str, ids: list[int], args: Sequence[Any]) -> None:
        self.command(name, ids, *args)
        clear = getattr(self.front, "window", None)
        if clear is not None:
            clear.marked = set()
            self.front.redraw()

    def can_verb(self) -> bool:
        return bool(self.front.selection())

    can_note = can_tag = can_archive = can_delete = can_raise_priority = can_lower_priority = can_verb

    def _any_in(self, *states: str) -> bool:
        """Whether a selected job is in one of these states; those that are not loaded may be."""
        ids = self.front.selection()
        rows = self.front.selected_rows()
        return bool(ids) and (len(rows) < len(ids) or any(row.state in states for row in rows))

    def can_pause(self) -> bool:
        return self._any_in("queued", "running")

    def can_resume(self) -> bool:
        return self._any_in("paused")

    def can_cancel(self) -> bool:
        return self._any_in("queued", "running", "paused")

    def can_retry(self) -> bool:
        return self._any_in("failed", "cancelled")

    def can_move_first(self) -> bool:
        return self._any_in("queued", "paused")

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
        rows = self.front.selected_rows()
        if rows:
            value = max(-1000, min(1000, max(r.priority for r in rows) + by))
            self.command("priority", self.front.selection(), value, said=f"priority {value:+d}")

    def do_raise_priority(self) -> None:
        self._reprioritise(1)

    def do_lower_priority(self) -> None:
        self._reprioritise(-1)

    def do_move_first(self) -> None:
        ids = self.front.selection()
        window = getattr(self.front, "window", None)
        if ids and window is not None and window.ids:
            first = next((i for i in window.ids if i not in ids), None)
            self.command("move", ids, first)

    def do_note(self) -> None:
        ids = self.front.selection()
        rows = self.front.selected_rows()
        text = clean(rows[0].notes) if len(rows) == 1 else ""
        self.ask(
            f"note on {len(ids)} jobs" if len(ids) > 1 else "note",
            lambda t: self.command("note", ids, t),
            text=text,
        )

    def do_tag(self) -> None:
        ids = self.front.selection()
        rows = self.front.selected_rows()
        text = " ".join(clean(t) for t in rows[0].tags) if len(rows) == 1 else ""
        self.ask(
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
                said=f"taken back: {len(ids)} jobs" if len(ids) > 1 else f"taken back: job {ids[0]}",
            )

    def do_study_verbs(self) -> None:
        """Verbs on all jobs of the study that the Queue shows."""
        study = getattr(getattr(self.front, "request", None), "study", None)
        window = getattr(self.front, "window", None)
        if window is None:
            return
        name = (
            next((clean(s.name) for s in self.common.studies if s.id == study), "all")
            if self.common
            else "all"
        )
        ids = list(window.ids)

        def then(verb: str) -> None:
            question = f"{verb.capitalize()} the {len(ids):,} jobs of {name}?"
            self.push(
                Confirm(question, lambda: self.command(verb, ids), "undone by u" if verb in _UNDO else "")
            )

        verbs = ("pause", "resume", "cancel", "retry", "archive", "delete")
        choices = [Choice(v, partial(then, v), f"the {len(ids):,} jobs of {name}") for v in verbs]
        self.push(Chooser(f"Study {name}", choices))

    # The frame

    def do_help(self) -> None:
        self.push(Help())

    def do_palette(self) -> None:
        from labtui.tui.actions import Action, on_pane

        def words(action: Action) -> str:
            head, colon, rest = action.help.partition(": ")
            return rest if colon and head.lower() == action.label.lower() else action.help

        choices = [
            Choice(a.label, partial(self.perform, a.id), words(a), self.keymap.name(a.id))
            for a in on_pane(self.front.key)
            if a.palette and self.allowed(a)
        ]
        self.push(Chooser("What do you want to do?", choices))

    def do_quit(self) -> None:
        self.exit()

    def do_back(self) -> None:
        """Back to the screen before."""
        if self.trail:
            key = self.trail.pop()
            here = self.front.key
            self.show_screen(key)
            self.trail = [k for k in self.trail if k != here]

    def do_suspend(self) -> None:
        self.action_suspend_process()

    def do_redraw(self) -> None:
        self.repaint()
        self.poller.poke()

    def do_theme(self) -> None:
        at = THEME_CYCLE.index(self.theme) if self.theme in THEME_CYCLE else -1
        self.theme = THEME_CYCLE[(at + 1) % len(THEME_CYCLE)]
        self.say(self.theme, "dim")

    def do_bell(self) -> None:
        self.notify_mode = {"off": "bell", "bell": "desktop", "desktop": "off"}[self.notify_mode]
        self.say(f"when something finishes: {self.notify_mode}")

    def do_copy(self) -> None:
        text = self.front.copy_text()
        if text:
            self.copy_to_clipboard(text)
            lines = text.count("\n") + (not text.endswith("\n"))
            what = clean(text.strip()) if lines == 1 else f"{lines} lines"
            key = self.keymap.name("write_file")
            self.say(
                f"sent to the terminal's clipboard: {what}   if it takes none, {key} writes to a file",
                "ok",
                6.0,
            )

    def do_write_file(self) -> None:
        def write(name: str) -> None:
            try:
                path = Path(name).expanduser()
                with path.open("x", encoding="utf-8") as file:
                    file.write(self.front.export_text().rstrip() + "\n")
            except OSError as error:
                self.say(f"{name} was not written: {error.strerror}", "bad", 8.0)
            else:
                self.say(f"written: {path}")

        self.ask(
            "write to",
            write,
            text=f"{self.front.key}.txt",
            hint="a new file; an existing one is never replaced",
        )

    def do_switch_lab(self) -> None:
        folder = Path(self.lab_path).resolve().parent
        others = sorted(p for p in folder.glob("*.db") if p.resolve() != Path(self.lab_path).resolve())[:50]
        choices = [Choice(p.name, partial(self.change_lab, str(p)), str(folder)) for p in others]
        typed = Choice(
            "another file…",
            lambda: self.ask("lab", self.change_lab, hint="path of a lab file"),
            "type its path",
        )
        self.push(Chooser("Open another lab", [*choices, typed]))

    def change_lab(self, path: str) -> None:
        """Close this lab and show another; this one's work goes on."""
        if not Path(path).expanduser().exists():
            self.say(f"there is no lab {path}", "bad")
            return
        self.poller.stop()
        self.lab_path = str(Path(path).expanduser())
        self.common, self.problem, self.last_undo = None, "", None
        self._had_supervisor = False
        for pane in list(self.panes.values()):
            pane.remove()
        self.panes.clear()
        self.trail.clear()
        self.poller = self._new_poller()
        self.poller.start()
        self.first_pane()

    # Screens

    def do_show_queue(self) -> None:
        self.show_screen("queue")

    def do_show_job(self) -> None:
        self.show_screen("job")

    def do_show_kappa(self) -> None:
        self.show_screen("kappa")

    def do_show_scaling(self) -> None:
        self.show_screen("scaling")

    def do_show_trials(self) -> None:
        self.show_screen("trials")

    def do_show_new(self) -> None:
        self.show_screen("new")

    def do_show_compare(self) -> None:
        self.show_screen("compare")

    def do_show_events(self) -> None:
        self.show_screen("events")
