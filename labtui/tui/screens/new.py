"""New: submit a preset, a study or a search; checked as you type, its TOML beside it,
its cost before you submit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path as FilePath
from typing import Any

from textual import events
from textual.app import SuspendNotSupported
from textual.message import Message

from labtui.analysis.eta import read_outlook
from labtui.text import clean, fit, wrap
from labtui.tui.choice import Choice
from labtui.tui.editor import EditorError, edit
from labtui.tui.poller import Loader
from labtui.tui.screens.checking import Checked, Checker, Known
from labtui.tui.screens.form import SEARCH_TOML, Form
from labtui.tui.screens.screen_pane import ScreenPane
from labtui.tui.typed import read_typed, typed_path
from labtui.views import numbers as figures
from labtui.views.lines import Line, Span, based, beside, crop, inset, linked, rule, stack, text_line
from runners.presets import preset_names, read_preset

LABEL = 13
EDITING = frozenset({"backspace", "delete", "left", "right", "home", "end", "ctrl+u", "ctrl+k"})


class CheckedSpec(Message, bubble=False):
    """The checker read the newest text."""

    def __init__(self, checked: Checked) -> None:
        super().__init__()
        self.checked = checked


@dataclass(frozen=True)
class NewRequest:
    """What the lab knows already; read again only when the number of jobs has changed."""

    count: int = -1
    hashes: frozenset[str] = frozenset()

    def __call__(self, lab: Any) -> tuple[int, Known]:
        count = sum(lab.counts().values())
        hashes = self.hashes
        if count != self.count:
            hashes = frozenset(j.hash for j in lab.jobs() if j.state not in ("failed", "cancelled"))
        return count, Known(hashes, read_outlook(lab).outlook)


class NewPane(ScreenPane):
    """The form."""

    key = "new"
    typing = True

    def __init__(self) -> None:
        super().__init__()
        self.form = Form.of(read_preset("quick"))
        self.source = "preset quick"
        self.folder: FilePath | None = None
        """Of the file that was read; a program's own files lie there."""
        self.known = Known()
        self.count = -1
        self.checked: Checked | None = None
        self.checker = Checker(self._deliver)
        self.toml_shown = False
        self.draft = ""
        """What the editor left where that was no TOML: it is not lost."""
        self.top = 0

    # Reading

    def loader(self) -> Loader:
        return NewRequest(self.count, self.known.hashes)

    def show(self, data: tuple[int, Known]) -> None:
        changed = data[1] != self.known or self.checked is None
        self.count, self.known = data
        if changed:
            self._check()

    def _check(self) -> None:
        self.checker.ask(self.form.toml(), self.known, self.folder)

    def _deliver(self, checked: Checked) -> None:
        self.post_message(CheckedSpec(checked))

    def on_checked_spec(self, message: CheckedSpec) -> None:
        self.checked = message.checked
        self.redraw()
        self.lab_app.refresh_frame()

    # Drawing

    def draw(self, width: int, height: int) -> Sequence[Line]:
        inner = width - 2
        cost = self._cost(inner)
        room = height - len(cost) - 1
        if width >= 100:
            left = min(72, inner * 55 // 100)
            right = inner - left - 3
            body = beside(
                (self._fields(left, room), left), (self._toml(right, room), right), height=room, gap=3
            )
        else:
            body = stack(
                self._toml(inner, room) if self.toml_shown else self._fields(inner, room), inner, room
            )
        return inset([*body, (), *cost])

    def _fields(self, width: int, height: int) -> list[Line]:
        form = self.form
        note = f"sweep {form.which + 1} of {form.sweeps}, pgdn next" if form.sweeps > 1 else ""
        head = rule(clean(self.source), width, note, hot=True)
        rows: list[tuple[int | None, Line]] = []
        section = ""
        for i, f in enumerate(form.fields):
            name = {"sweep": "what", "job": "what"}.get(f.path[0], f.path[0]) if len(f.path) > 1 else ""
            name = f.path[1] if len(f.path) > 2 and f.path[1] != "lengths" else name
            if name and name != section:
                rows.append((None, text_line(name, "heading")))
                section = name
            rows.append((i, linked(crop(self._field_line(i, width), width), f"field:{i}")))
        at = next(k for k, (i, _) in enumerate(rows) if i == form.cursor)
        room = height - 3
        self.top = max(0, min(self.top, at, len(rows) - room))
        self.top = max(self.top, at - room + 1)
        shown = [line for _, line in rows[self.top : self.top + room]]
        return [head, *shown, *([()] * (room - len(shown))), *self._word(width)]

    def _field_line(self, i: int, width: int) -> Line:
        f = self.form.fields[i]
        here = i == self.form.cursor
        wrong = self._wrong(i)
        label: Line = (
            ("▸ " if here else "  ", "accent"),
            (fit(f.label, LABEL), "bad" if wrong else "strong" if here else "dim"),
        )
        room = width - LABEL - 2
        if here:
            line = crop((*label, *self.form.edit.line(room, "strong")), width)
            return based(line, "cursor")
        text = clean(self.form.text(f))
        return (*label, (fit(text or f.default or "·", room), "bad" if wrong else "" if text else "quiet"))

    def _wrong(self, i: int) -> bool:
        """Whether the spec's sentence is about this field."""
        checked = self.checked
        if checked is None or not checked.problem:
            return False
        f = self.form.fields[i]
        place = checked.problem.split(" ", 1)[0].rstrip(":;,")
        keys = [k for k in place.replace("]", "").replace("[", ".").split(".") if k and not k.isdecimal()]
        path = [k for k in f.path if k not in ("sweep", "job")]
        keys = [k for k in keys if k not in ("sweep", "job")]
        if not keys or not path:
            return False
        return keys[: len(path)] == path or (len(path) == 1 and keys[-1] == path[-1])

    def _word(self, width: int) -> list[Line]:
        """What the field means, or what is wrong."""
        f = self.form.field
        checked = self.checked
        if checked is not None and checked.problem:
            told = _where(clean(checked.problem), self.form.sweeps)
            lines = [text_line(part, "bad") for part in wrap(told, width)[:2]]
            return [*lines, *([()] * (2 - len(lines)))]
        choices = f"   ^n: {', '.join(f.choices)}" if f.choices else ""
        return [text_line(fit(f.help, width), "dim"), text_line(choices.strip(), "dim")]

    def _toml(self, width: int, height: int) -> list[Line]:
        lines = self.form.toml().splitlines()
        bad = self.checked.line if self.checked is not None and self.checked.problem else None
        room = height - 1
        top = 0
        if len(lines) > room:
            want = (bad or self._toml_line(lines) or 1) - 1
            top = max(0, min(want - room // 2, len(lines) - room))
        out = [rule("TOML", width, f"{len(lines)} lines" if len(lines) > room else "")]
        for number, line in enumerate(lines[top : top + room], top + 1):
            style = "bad" if number == bad else "title" if line.startswith("[") else ""
            key, sep, value = clean(line).partition(" = ")
            text: Line = (
                ((key, "dim"), (sep, "quiet"), (value, "")) if sep and not style else ((clean(line), style),)
            )
            out.append(crop(((f"{number:>3} ", "bad" if number == bad else "quiet"), *text), width))
        return out

    def _toml_line(self, lines: list[str]) -> int | None:
        """About where the field being edited stands in the TOML."""
        f = self.form.field
        sweep = -1
        for number, line in enumerate(lines, 1):
            sweep += line == "[[sweep]]"
            if line.startswith(f"{f.path[-1]} =") and (f.path[0] != "sweep" or sweep == self.form.which):
                return number
        return None

    def _cost(self, width: int) -> list[Line]:
        """Say in one line below the form what submitting would queue; ``views.cost`` lists the same facts."""
        checked = self.checked
        if checked is None:
            return [text_line("checking…", "dim")]
        if checked.problem:
            return [text_line("not ready to submit", "bad")]
        new = checked.searches - checked.reused
        spans: list[Span] = [(f"{figures.exact(new)} searches", "strong")]
        if checked.reused:
            spans.append((f" + {figures.exact(checked.reused)} known already", "ok"))
        if checked.cells:
            spans.append((f", {figures.exact(checked.cells)} kappas", ""))
        short = width < 100
        spans.append((f", {'~' if short else 'about '}{figures.count(checked.trials)} trials", ""))
        read_only = self.lab_app.read_only or (self.common is not None and self.common.read_only)
        if new and not (short and read_only):
            spans.append((f"   {checked.time}", "strong"))
            if not short and checked.basis:
                spans.append((f" ({checked.basis})", "dim"))
        if read_only:
            spans.append((f"   read-only: {self.lab_app.keymap.name('save_toml')} saves it", "warn"))
        return [tuple(spans)]

    def click_field(self, value: str) -> None:
        self.form.move(int(value) - self.form.cursor)
        self.redraw()

    # Hands: all plain keys are typing

    def take(self, event: events.Key) -> bool:
        form = self.form
        key = event.key
        if key in ("down", "tab", "enter"):
            form.move(1)
        elif key in ("up", "shift+tab"):
            form.move(-1)
        elif key in ("pagedown", "pageup"):
            form.turn(1 if key == "pagedown" else -1)
        elif key in ("ctrl+n", "ctrl+g"):
            if key == "ctrl+g":
                self.toml_shown = not self.toml_shown
            else:
                form.cycle(1)
                self._check()
        elif event.is_printable or key in EDITING:
            form.key(key, event.character, event.is_printable)
            self._check()
        else:
            return False
        self.redraw()
        return True

    def paste(self, text: str) -> None:
        self.form.edit.insert(text)
        self.form.commit()
        self._check()
        self.redraw()

    def wheel(self, by: int) -> None:
        self.form.move(1 if by > 0 else -1)
        self.redraw()

    def copy_text(self) -> str:
        return self.form.toml()

    export_text = copy_text

    def load(self, toml: str, source: str, folder: FilePath | None = None) -> bool:
        """Load another document; False where it is none, which is told and changes nothing."""
        try:
            self.form = Form.of(toml)
        except (ValueError, RecursionError) as error:
            self.lab_app.say(f"{source}: {error}", "bad", 8.0)
            return False
        self.source, self.folder = source, folder
        self.top = 0
        self.checked = None
        self.draft = ""
        self._check()
        self.redraw()
        return True

    def do_load_preset(self) -> None:
        choices = [
            Choice(n, partial(self._load_preset, n), _first_comment(read_preset(n))) for n in preset_names()
        ]
        choices.append(
            Choice("one search", partial(self.load, SEARCH_TOML, "one search"), "N* of one model on one task")
        )
        choices.append(Choice("a file…", self._load_file, "a TOML file of yours"))
        self.lab_app.choose("Start from", choices)

    def _load_preset(self, name: str) -> None:
        self.load(read_preset(name), f"preset {name}")

    def _load_file(self) -> None:
        def then(name: str) -> None:
            try:
                self.load(read_typed(name), name, typed_path(name).absolute().parent)
            except OSError as error:
                self.lab_app.say(f"{name} cannot be read: {error.strerror}", "bad", 8.0)

        self.lab_app.ask("file", then, hint="a TOML file that holds a study or a search")

    def do_save_toml(self) -> None:
        def then(name: str) -> None:
            try:
                with typed_path(name).open("x", encoding="utf-8") as file:
                    file.write(self.form.toml())
            except OSError as error:
                self.lab_app.say(f"{name} was not written: {error.strerror}", "bad", 8.0)
            else:
                self.lab_app.say(f"written: {name}")

        self.lab_app.ask(
            "save to", then, text="study.toml", hint="a new file; an existing one is never replaced"
        )

    def do_edit_toml(self) -> None:
        """The TOML in $EDITOR; what it leaves becomes the form. A text that is no TOML yet is what it opens
        next time.
        """
        try:
            text = edit(self.draft or self.form.toml(), self.app.suspend)
        except (EditorError, SuspendNotSupported, OSError) as error:
            self.lab_app.say(str(error) or "this terminal cannot be given to an editor", "bad", 8.0)
            return
        finally:
            self.lab_app.repaint()
        self.draft = "" if self.load(text, self.source, self.folder) else text

    def can_submit(self) -> bool:
        return self.checked is not None and not self.checked.problem

    def do_submit(self) -> None:
        checked = self.checked
        if checked is None or checked.problem or checked.toml != self.form.toml():
            return
        if not checked.unasked:
            self._submit(checked)
            return
        from labtui.views.program import program_lines

        choices = [
            Choice("no, and it is not queued", lambda: None),
            Choice("not yet: queue it, labtui allow lets it run", partial(self._submit, checked)),
            Choice("yes: queue it, and it may run", partial(self._allow, checked)),
        ]
        for line in program_lines(checked.unasked):
            choices += [Choice(part, lambda: None, off=True) for part in wrap(line, 58) or [""]]
        self.lab_app.choose("May this run on this machine, as you?", choices)

    def _allow(self, checked: Checked) -> None:
        from runners.programs import consent

        try:
            consent.allow(checked.unasked)
        except OSError as error:
            self.lab_app.say(f"{consent.allowed_file()} cannot be written: {error.strerror}", "bad", 8.0)
            return
        self._submit(checked)

    def _submit(self, checked: Checked) -> None:
        self.lab_app.commands.submit(checked)

    def do_back(self) -> None:
        self.lab_app.do_back() if self.lab_app.trail else self.lab_app.show_screen("queue")


def _where(problem: str, sweeps: int) -> str:
    """The spec's sentence with its sweep counted as the form counts them, from 1; one alone goes without
    saying.
    """
    found = re.search(r"sweep\[(\d+)\]\.", problem)
    if found is None:
        return problem
    rest = problem[: found.start()] + problem[found.end() :]
    return rest if sweeps < 2 else f"sweep {int(found[1]) + 1}: {rest}"


def _first_comment(toml: str) -> str:
    """The first sentence of the comment at the head of a document, however many lines it takes."""
    words: list[str] = []
    for line in toml.splitlines():
        if not line.startswith("#"):
            if words:
                break
            continue
        words.append(line.lstrip("# ").strip())
    text = " ".join(words)
    end = re.search(r"[.:;](?= [A-Z]|$)", text)
    return (text[: end.start()] if end else text).rstrip(",;: ")
