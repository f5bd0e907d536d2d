"""What screens, dialogs and the app's parts may ask of the app: they know this much of it, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypedDict, Unpack

if TYPE_CHECKING:
    from textual.geometry import Size
    from textual.widget import Widget

    from labtui.config import Settings
    from labtui.tui.actions import Action, Keymap
    from labtui.tui.choice import Choice
    from labtui.tui.poller import Common, Poller
    from labtui.tui.screens.checking import Checked
    from labtui.tui.theme import Palette
    from labtui.views.gauges import Gauges
    from labtui.views.lines import Line
    from store.rows import JobRow


class Front(Protocol):
    """The screen in front, as the app's parts see it."""

    key: ClassVar[str]
    typing: ClassVar[bool]

    def selection(self) -> list[int]: ...
    def selected_rows(self) -> list[JobRow]: ...
    def states(self) -> Mapping[str, int]: ...
    def redraw(self) -> None: ...


class Machine(Protocol):
    """The gauges, and when they are read."""

    gauges: Gauges

    def look(self) -> None: ...
    def is_busy(self) -> bool: ...


class Commands(Protocol):
    """The verbs, as a screen gives them."""

    def submit(self, checked: Checked) -> None: ...


class Asking(TypedDict, total=False):
    """How a line of input is asked for; what is left out, :class:`labtui.tui.dialogs.Prompt` decides."""

    text: str
    check: Callable[[str], str]
    hint: str
    lines: bool


class Choosing(TypedDict, total=False):
    """How a list is offered; what is left out, :class:`labtui.tui.dialogs.Chooser` decides."""

    empty: str
    at: int
    more: Callable[[str], list[Choice]]


class Host(Protocol):
    """The app."""

    lab_path: str
    read_only: bool
    settings: Settings
    strict: ClassVar[bool]
    burst: bool
    keymap: Keymap
    palette: Palette
    poller: Poller
    trail: list[str]
    flash: tuple[str, str] | None

    @property
    def size(self) -> Size: ...
    @property
    def glyphs(self) -> str: ...
    @property
    def is_headless(self) -> bool: ...
    @property
    def common(self) -> Common | None: ...
    @property
    def problem(self) -> str: ...
    @property
    def front(self) -> Front: ...
    @property
    def panes(self) -> Mapping[str, Front]: ...
    @property
    def machine(self) -> Machine: ...
    @property
    def commands(self) -> Commands: ...

    # Screens

    def show_screen(self, key: str) -> Any: ...
    def open_job(self, job_id: int, probe_id: int | None = None) -> None: ...
    def open_trials(self, filter_text: str) -> None: ...
    def compare_jobs(self, first: int, second: int) -> None: ...
    def do_back(self) -> None: ...

    # Keys

    def valid(self) -> frozenset[str]: ...
    def word(self, action: Action) -> str: ...
    def click(self, action_id: str) -> None: ...

    # Dialogs and words

    def push(self, overlay: Widget) -> None: ...
    def pop(self, overlay: Widget) -> None: ...
    def ask(self, title: str, then: Callable[[str], None], **how: Unpack[Asking]) -> None: ...
    def confirm(
        self, question: str, then: Callable[[], None], detail: str = "", *, grave: bool = False
    ) -> None: ...
    def choose(self, title: str, choices: Sequence[Choice], **how: Unpack[Choosing]) -> None: ...
    def list_lines(self, title: str, lines: Callable[[], Sequence[Line]]) -> None: ...
    def say(self, text: str, style: str = "ok", seconds: float | None = None) -> None: ...
    def banner(self) -> tuple[str, str]: ...
    def refresh_frame(self) -> None: ...
    def redraw_gauges(self) -> None: ...
    def repaint(self) -> None: ...
    def notify_terminal(self, text: str) -> None: ...

    # Threads

    def in_thread(self, work: Callable[[], None], group: str, *, exclusive: bool = False) -> None: ...
    def call_from_thread(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> Any: ...
    def call_later(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> bool: ...
