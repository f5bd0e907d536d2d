"""The dialogs: a line of input, a question, a list, help. The app loads them as the first is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from rich.cells import cell_len
from textual import events

from labtui.text import clean, fit, wrap
from labtui.tui.actions import ACTIONS, Keymap, on_pane
from labtui.tui.choice import Choice
from labtui.tui.lineedit import LineEdit
from labtui.tui.overlay import Overlay
from labtui.tui.terminal.bursts import in_burst
from labtui.views.lines import Line, based, crop, ends, linked, text_line
from labtui.views.signs import MEANINGS


class Prompt(Overlay):
    """One line of input; what is wrong with it stands below as it is typed."""

    at_foot = True

    def __init__(
        self,
        title: str,
        then: Callable[[str], None],
        *,
        text: str = "",
        check: Callable[[str], str] | None = None,
        hint: str = "",
        lines: bool = False,
    ) -> None:
        """``check`` tells what is wrong with a text; ``lines``: it may hold line ends."""
        super().__init__()
        self.title_text = title
        self.then = then
        self.check = check or (lambda _text: "")
        self.hint = hint
        self.edit = LineEdit(text, len(text), lines)

    def draw(self, width: int, height: int) -> Sequence[Line]:
        head = f" {self.title_text} "
        problem = self.check(self.edit.text) if self.edit.text else ""
        note = (f" {problem}", "warn") if problem else (f" {self.hint}", "dim")
        line: Line = ((head, "title"), *self.edit.line(width - cell_len(head) - 1))
        return [based(crop(line, width), "panel"), based(crop((note,), width), "panel")]

    def key(self, event: events.Key) -> None:
        if event.key == "enter":
            if not (self.edit.text and self.check(self.edit.text)):
                self.close()
                self.then(self.edit.text)
        else:
            self.edit.key(event.key, event.character, event.is_printable)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self.edit.insert(event.text)
        self.redraw()


class Confirm(Overlay):
    """A question that counts what it is about; y says yes, and enter too, but where much would be lost."""

    at_foot = True

    def __init__(
        self, question: str, then: Callable[[], None], detail: str = "", *, grave: bool = False
    ) -> None:
        """``grave``: enter says no, so that only y does it."""
        super().__init__()
        self.question = clean(question)
        self.detail = clean(detail)
        self.then = then
        self.grave = grave

    def draw(self, width: int, height: int) -> Sequence[Line]:
        lines = [text_line(f" {part}", "dim") for part in self._told(width)]
        yes, no = ("y", "n enter") if self.grave else ("y enter", "n")
        keys: Line = (
            (yes, "key @yes"), (" yes   ", "dim @yes"), (no, "key @no"), (" no ", "dim @no"),
        )  # fmt: skip
        first = ends(((f" {self.question}", "title"),), keys, width)
        return [based(first, "panel"), *(based(crop(line, width), "panel") for line in lines)]

    def wants(self, width: int, height: int) -> tuple[int, int]:
        return width, 1 + len(self._told(width))

    def _told(self, width: int) -> list[str]:
        """What would be lost, over two lines where one is too short."""
        first, *rest = wrap(self.detail, max(10, width - 2))
        return [first, " ".join(rest)] if rest else [first]

    def key(self, event: events.Key) -> None:
        if event.key in ("n", "N", "q") or (self.grave and event.key == "enter"):
            self.close()
        elif event.key in ("y", "Y", "enter") and not in_burst(event):
            self.click_yes()  # not where it was pasted: nobody has read the question

    def click_yes(self, _value: str = "") -> None:
        self.close()
        self.then()

    def click_no(self, _value: str = "") -> None:
        self.close()


class Chooser(Overlay):
    """A list to choose from, narrowed by typing."""

    def __init__(
        self,
        title: str,
        choices: Sequence[Choice],
        empty: str = "nothing fits",
        *,
        at: int = 0,
        more: Callable[[str], list[Choice]] = lambda _text: [],
    ) -> None:
        """``at``: where the cursor begins; ``more``: choices that what is typed makes."""
        super().__init__()
        self.title_text = title
        self.choices = list(choices)
        self.empty = empty
        self.edit = LineEdit()
        self.cursor = at
        self.top = 0
        self.more = more

    def wants(self, width: int, height: int) -> tuple[int, int]:
        notes = max((cell_len(c.note) + len(c.key) for c in self.choices), default=0)
        wide = min(72, max(40, self._column() + notes + 9), width - 4)
        more = self._more_lines(wide)
        return wide, min(min(len(self.choices) + 5, 17) + more, height - 4)

    def _note_room(self, choice: Choice, width: int) -> int:
        """Cells of a choice's note beside its label and its key."""
        return max(10, width - 3 - len(choice.key)) - self._column() - 3

    def _more_lines(self, width: int) -> int:
        """Lines below the list for the note under the cursor, where some have no room beside their label."""
        cut = any(cell_len(clean(c.note)) > self._note_room(c, width) for c in self.choices)
        return 3 if cut else 0

    def _column(self) -> int:
        """Cells of the labels: where no note stands beside them, as many as they take."""
        most = 26 if any(c.note for c in self.choices) else 60
        return min(most, max((cell_len(clean(c.label)) for c in self.choices), default=0))

    def found(self) -> list[Choice]:
        """What fits: all words typed occur, those at the start of the label first."""
        words = self.edit.text.lower().split()
        fitting = [c for c in self.choices if all(w in f"{c.label} {c.note}".lower() for w in words)]
        fitting += self.more(self.edit.text)
        return (
            sorted(fitting, key=lambda c: not c.label.lower().startswith(self.edit.text.lower()))
            if words
            else fitting
        )

    def draw(self, width: int, height: int) -> Sequence[Line]:
        found = self.found()
        self.cursor = min(self.cursor, max(0, len(found) - 1))
        more = self._more_lines(width)
        room = height - 4 - more
        self.top = min(max(self.top, self.cursor - room + 1), self.cursor)
        body: list[Line] = [((" ", ""), *self.edit.line(width - 4)), ()]
        column = self._column()
        for i, choice in enumerate(found[self.top : self.top + room], self.top):
            left: Line = (
                (
                    f" {fit(clean(choice.label), column)}",
                    "dim" if choice.off else "strong" if i == self.cursor else "",
                ),
                (f"  {clean(choice.note)}", "dim"),
            )
            line = ends(
                crop(left, max(10, width - 3 - len(choice.key))), ((f"{choice.key} ", "key"),), width - 2
            )
            body.append(linked(line, f"row:{i}", "cursor" if i == self.cursor else ""))
        if not found:
            body.append(text_line(f" {self.empty}", "dim"))
        elif more:
            note = clean(found[self.cursor].note)
            body += [()] * (room + 3 - len(body))
            if cell_len(note) > self._note_room(found[self.cursor], width):
                body += [text_line(f" {part}", "dim") for part in wrap(note, width - 4)[:2]]
        return self.framed(self.title_text, body, width, height, f"{len(found)}" if self.edit.text else "")

    def key(self, event: events.Key) -> None:
        found = self.found()
        if event.key == "enter":
            self.choose(found[self.cursor] if found else None)
        elif event.key in ("down", "ctrl+n"):
            self.cursor = (self.cursor + 1) % max(1, len(found))
        elif event.key in ("up", "ctrl+p"):
            self.cursor = (self.cursor - 1) % max(1, len(found))
        elif event.key == "pagedown":
            self.cursor = min(self.cursor + 10, max(0, len(found) - 1))
        elif event.key == "pageup":
            self.cursor = max(0, self.cursor - 10)
        elif self.edit.key(event.key, event.character, event.is_printable):
            self.cursor = 0

    def choose(self, choice: Choice | None) -> None:
        """Do it; nothing where it is not to be had now."""
        if choice is None or not choice.off:
            self.close()
            if choice is not None:
                choice.then()

    def click_row(self, value: str) -> None:
        found = self.found()
        if int(value) < len(found):
            self.choose(found[int(value)])

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self.edit.insert(event.text)
        self.redraw()


def help_lines(pane: str, keymap: Keymap, width: int, valid: frozenset[str]) -> list[Line]:
    """The signs of a screen, then its keys by group, as they are now; what cannot be done at the moment is
    dim.
    """
    groups: dict[str, list[Line]] = {}
    order = ("Signs", "Jobs", "Look", "Mark", "New", "Move", "Screens", "Lab")
    here = on_pane(pane)
    groups["Signs"] = []
    for sign, style, meaning in MEANINGS.get(pane, ()):
        said = wrap(meaning, max(16, width - 8))
        groups["Signs"] += _pairs([sign], 6, style, said, "")
    for action in ACTIONS:
        if action in here and keymap.keys[action.id]:
            style = "" if action.id in valid else "dim"
            names = wrap(keymap.names(action.id), 9)
            said = wrap(action.help, max(16, width - 12))
            groups.setdefault(action.group, []).extend(_pairs(names, 10, "key", said, style))
    out: list[Line] = []
    for group in order:
        if groups.get(group):
            out += [text_line(f" {group}", "heading"), *groups[group], ()]
    return out


def _pairs(left: Sequence[str], room: int, ink: str, right: Sequence[str], style: str) -> list[Line]:
    """Two wrapped texts side by side, the left one in ``room`` cells."""
    both = zip_longest(left, right, fillvalue="")
    return [((f"  {fit(a, room)}", ink if a else ""), (b, style)) for a, b in both]


class Listing(Overlay):
    """Lines to read; any other key than scrolling closes them."""

    def __init__(self, title: str, lines: Callable[[], Sequence[Line]]) -> None:
        super().__init__()
        self.title_text = title
        self.lines = lines
        self.top = 0

    def wants(self, width: int, height: int) -> tuple[int, int]:
        return min(100, width - 4), min(len(self.lines()) + 4, height - 4)

    def draw(self, width: int, height: int) -> Sequence[Line]:
        lines, room = self.lines(), height - 3
        self.top = max(0, min(self.top, len(lines) - room))
        more = "j k scrolls" if len(lines) > room else ""
        return self.framed(self.title_text, lines[self.top : self.top + room], width, height, more)

    def key(self, event: events.Key) -> None:
        self.top, closes = scrolled(self.top, event.key)
        if closes:
            self.close()


def scrolled(top: int, key: str) -> tuple[int, bool]:
    """The first line after a key of scrolling, and whether the key was none."""
    by = {"j": 1, "down": 1, "k": -1, "up": -1, "pagedown": 10, "space": 10, "pageup": -10}.get(key)
    return (top, True) if by is None else (top + by, False)


def _in_pages(lines: Sequence[Line], each: int, room: int) -> list[Line]:
    """Lines in two columns that are read page by page: down the left one, down the right one, then on."""
    out: list[Line] = []
    for first in range(0, len(lines), 2 * room):
        left = lines[first : first + room]
        right = list(lines[first + room : first + 2 * room])
        right += [()] * (len(left) - len(right))
        out += [(*crop(a, each), *crop(b, each)) for a, b in zip(left, right, strict=True)]
    return out


class Help(Overlay):
    """All keys of the screen in front."""

    def __init__(self) -> None:
        super().__init__()
        self.top = 0

    def wants(self, width: int, height: int) -> tuple[int, int]:
        return min(92 if width >= 100 else 76, width - 2), min(height - 2, max(15, height * 3 // 5))

    def draw(self, width: int, height: int) -> Sequence[Line]:
        app = self.lab_app
        columns = 2 if width >= 90 else 1
        each = (width - 4) // columns
        lines = help_lines(app.front.key, app.keymap, each, app.valid())
        room = height - 4
        if columns == 2:
            lines = _in_pages(lines, each, room)
        self.top = max(0, min(self.top, len(lines) - room))
        more = f"j k scrolls, {100 * (self.top + room) // len(lines)} %" if len(lines) > room else ""
        body = [*lines[self.top : self.top + room]]
        body += [()] * (room - len(body)) + [text_line("─" * (width - 2), "accent")]
        # No ground: what is blank behind it and in it need not be sent (a slow line).
        title = f"{app.front.key.capitalize()}: keys"
        return self.framed(title, body, width, height, more, "")

    def key(self, event: events.Key) -> None:
        self.top, closes = scrolled(self.top, event.key)
        if closes:
            self.close()
