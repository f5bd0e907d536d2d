"""What every screen has: a request for the poller, a snapshot, keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events

from labtui.tui.pane import Pane
from labtui.tui.poller import Common, Loader
from labtui.views.lines import Line, text_line

if TYPE_CHECKING:
    from store.rows import JobRow


class ScreenPane(Pane, can_focus=True):
    """One screen. Subclasses say what to load, how to draw it, and what their keys do (``do_<action>``)."""

    key: ClassVar[str] = ""
    typing: ClassVar[bool] = False
    """Plain keys write text here: no footer or tab promises them."""

    def __init__(self) -> None:
        super().__init__(id=self.key)
        self.problem = ""
        self.fresh = True
        """Nothing has been read yet."""
        self.late = False
        """It has waited for its first reading so long that it says so."""

    def loader(self) -> Loader:
        """What to read now: a frozen function of a lab, run in the poller's thread."""
        raise NotImplementedError(type(self).__name__)

    def show(self, data: Any) -> None:
        """Take what the loader returned. The pane is drawn afterwards."""

    def arrived(self) -> None:
        """The screen came to the front."""

    def receive(self, data: Any, problem: str) -> None:
        """Take a snapshot (or the sentence why there is none) from the poller."""
        self.problem = problem
        if data is not None:
            self.fresh = False
            self.show(data)
        self.redraw()

    def say_late(self) -> None:
        """Some time has gone by since it came to the front."""
        if self.fresh and not self.late:
            self.late = True
            self.redraw()

    def _safe_draw(self, width: int, height: int) -> Sequence[Line]:
        lines = super()._safe_draw(width, height)
        waits = self.fresh and self.late and not self.problem and self.bare(lines)
        return empty_state(["reading…"], width, height) if waits else lines

    def bare(self, lines: Sequence[Line]) -> bool:
        """Whether nothing that was read is drawn yet."""
        return not any(text.strip() for line in lines for text, _ in line)

    def reload(self) -> None:
        """Ask for other data: another filter, page, job."""
        if self.lab_app.front.key == self.key:
            self.lab_app.poller.watch(self.key, self.loader())

    @property
    def common(self) -> Common | None:
        return self.lab_app.common

    @property
    def supervised(self) -> bool:
        """Whether a supervisor lives; True while not known."""
        return self.common is None or self.common.supervised

    def study_after(self, now: int | None, by: int) -> int | None:
        """The study so many places after this one, archived ones left out; None: all studies."""
        studies = self.common.studies if self.common is not None else ()
        ids = [None, *(s.id for s in studies if not s.archived)]
        return ids[((ids.index(now) if now in ids else 0) + by) % len(ids)]

    def selection(self) -> list[int]:
        """The jobs that a verb means."""
        return []

    def selected_rows(self) -> list[JobRow]:
        """The loaded rows among the selection."""
        return []

    def states(self) -> dict[str, int]:
        """How many of the jobs that are shown are in each state."""
        return {}

    def can(self, action_id: str) -> bool:
        """Whether an action of this screen is valid now."""
        check = getattr(self, f"can_{action_id}", None)
        return bool(check()) if check is not None else True

    def label(self, action_id: str) -> str:
        """What an action is called here now; empty: as always."""
        return ""

    def copy_text(self) -> str:
        """What ``copy`` takes: what the cursor is on."""
        return self.text()

    def export_text(self) -> str:
        """What ``write`` takes: the screen as text."""
        return self.text()

    def paste(self, text: str) -> None:
        """Take text pasted by the terminal; most screens have no use for it."""

    def take(self, event: events.Key) -> bool:
        """Take a key, before it is looked for among the bindings; True where it was typing."""
        return False

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self.paste(event.text)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.wheel(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.wheel(-3)

    def wheel(self, by: int) -> None:
        """Turn by the mouse wheel, in lines."""


def empty_state(lines: list[str], width: int, height: int) -> list[Line]:
    """A calm middle of the screen that says what to press."""
    top = max(0, (height - len(lines)) // 2 - 1)
    out: list[Line] = [()] * top
    for i, line in enumerate(lines):
        pad = " " * max(0, (width - len(line)) // 2)
        out.append(text_line(pad + line, "strong" if i == 0 else "dim"))
    return out
