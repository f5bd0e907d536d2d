"""The host of the screens: one poller, one screen in front, a frame around it, overlays above."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.filter import Monochrome, NoColor
from textual.message import Message
from textual.screen import Screen

from labtui.config import Settings, choose_glyphs, choose_theme, read_settings
from labtui.text import clean
from labtui.tui.actions import BY_ID, Action, Keymap, on_pane
from labtui.tui.dialogs import Overlay, Prompt
from labtui.tui.frame import Banner, Footer, Header, TooSmall
from labtui.tui.machine_watch import Measuring
from labtui.tui.poller import Common, LabReader, Poller, Snapshot
from labtui.tui.screens.queue import QueuePane
from labtui.tui.screens.screen_pane import ScreenPane
from labtui.tui.terminal import hangup as terminal
from labtui.tui.terminal.screen import LabScreen
from labtui.tui.theme import THEMES, Palette
from store.waits import tell_waits

MIN_WIDTH, MIN_HEIGHT = 60, 16
_PANES = {
    "job": "labtui.tui.screens.job:JobPane",
    "kappa": "labtui.tui.screens.kappa:KappaPane",
    "scaling": "labtui.tui.screens.scaling:ScalingPane",
    "trials": "labtui.tui.screens.trials:TrialsPane",
    "new": "labtui.tui.screens.new:NewPane",
    "compare": "labtui.tui.screens.compare:ComparePane",
    "events": "labtui.tui.screens.events:EventsPane",
}


class Arrived(Message, bubble=False):
    """A snapshot from the poller's thread."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot


class Host(Measuring, inherit_bindings=False):
    """Screens, frame, overlays, snapshots. What the keys ask of the lab is in ``labtui.tui.job_commands``."""

    TITLE = "labtui"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layers: base over; overflow: hidden; scrollbar-size: 0 0; }
    """
    strict: ClassVar[bool] = False
    """Faults of drawing end the app instead of being told (tests)."""
    MESSAGE_SECONDS: ClassVar[float] = 4.0

    def __init__(
        self,
        lab_path: str | Path,
        *,
        read_only: bool = False,
        settings: Settings | None = None,
        open_lab: Callable[[], LabReader] | None = None,
        screen: str | None = None,
        study: int | None = None,
        job: int | None = None,
        started: float | None = None,
    ) -> None:
        self.settings = settings if settings is not None else read_settings()
        self.started = started if started is not None else time.perf_counter()
        self.lab_path = str(lab_path)
        self.read_only = read_only
        self.keymap = Keymap(self.settings.keys)
        self.glyphs = choose_glyphs(self.settings.glyphs, os.environ)
        self.palette = Palette(THEMES[0])
        super().__init__()
        self.animation_level = "none"
        for theme in THEMES:
            self.register_theme(theme)
        wanted = choose_theme(self.settings.theme, os.environ)
        self.theme = wanted if wanted in self.available_themes else "labtui-dark"
        if "NO_COLOR" in os.environ:
            # Textual chose its filter by the theme it began with:
            # greys, where the person asked for none at all.
            self._filters = [f for f in self._filters if not isinstance(f, Monochrome)] + [NoColor()]
        self._repaint()
        self.common: Common | None = None
        self.problem = ""
        self.flash: tuple[str, str] | None = None
        self.front: ScreenPane = QueuePane()
        self.panes: dict[str, ScreenPane] = {"queue": self.front}
        self.overlays: list[Overlay] = []
        self.trail: list[str] = []
        self._first = (screen, study, job)
        self._open_lab = open_lab or self._really_open
        self.poller = self._new_poller()
        self.startup_ms: float | None = None

    # Start and end

    def _really_open(self) -> LabReader:
        from store.read import open_lab

        lab: LabReader = open_lab(self.lab_path, read_only=self.read_only)
        return lab

    def _new_poller(self) -> Poller:
        return Poller(
            self._open_lab,
            self._deliver,
            interval=2.0 if self.settings.slow else 0.2,
            alive=lambda: self.is_headless or terminal.alive(),
            gone=lambda: self.call_from_thread(self.exit),
        )

    def _deliver(self, snapshot: Snapshot) -> None:
        self.post_message(Arrived(snapshot))

    def get_default_screen(self) -> Screen[None]:
        return LabScreen()

    def compose(self) -> ComposeResult:
        yield Header()
        yield Banner()
        yield self.front
        yield Footer()
        yield TooSmall()

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, self._theme_changed)
        self.app_resume_signal.subscribe(self, lambda _app: self.repaint())
        self.front.focus(scroll_visible=False)
        tell_waits(self._waits)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        gc.freeze()  # what was imported stays: no collection need look at it again
        gc.enable()
        self.startup_ms = (time.perf_counter() - self.started) * 1000
        self.log(f"first paint after {self.startup_ms:.0f} ms")
        if self.settings.problems:
            self.say(self.settings.problems[0], "warn", 10.0)
        screen, study, job = self._first
        if study is not None and isinstance(self.front, QueuePane):
            self.front.request = replace(self.front.request, study=study)
        self.poller.start()
        if job is not None:
            self.open_job(job)
        elif screen and screen != "queue":
            self.show_screen(screen)
        else:
            self.front.arrived()
            self.poller.watch(self.front.key, self.front.loader())
        self.set_interval(5.0 if self.settings.slow else 1.0, self._measure)
        if not self.is_headless:
            terminal.on_loss(lambda: self.call_later(self.exit))

    def on_unmount(self) -> None:
        self.poller.stop()
        tell_waits(None)

    def _waits(self, text: str) -> None:
        """A verb's thread waits for another process; the screen goes on."""
        self.call_later(self.say, text, "warn", 10.0)

    # Looks

    def _repaint(self) -> None:
        no_color = "NO_COLOR" in os.environ
        self.palette = Palette(self.current_theme, no_color=no_color)

    def _theme_changed(self, _theme: object) -> None:
        from labtui.tui.pane import Pane

        self._repaint()
        for pane in self.query(Pane):
            pane.recolour()

    def repaint(self) -> None:
        """Send the whole screen again, whatever stood on the terminal."""
        if isinstance(self.screen, LabScreen):
            self.screen.repaint()

    # What the verbs add

    def after_common(self, first: bool) -> None:
        """Each time the lab was read."""

    def banner(self) -> tuple[str, str]:
        """What needs a person now: (text, style); empty where nothing does."""
        return self.problem, "alarm"

    # Snapshots

    def on_arrived(self, message: Arrived) -> None:
        snapshot = message.snapshot
        if snapshot.common is not None:
            first = self.common is None
            self.common = snapshot.common
            self.after_common(first)
        self.problem = snapshot.problem
        if snapshot.key == self.front.key:
            with self.batch_update():
                self.front.receive(snapshot.data, snapshot.problem)
                self.refresh_frame()
        self.poller.taken()

    def refresh_frame(self) -> None:
        """Draw header, banner and footer; only what differs is sent."""
        for kind in (Header, Banner, Footer):
            for pane in self.query(kind):
                pane.redraw()

    # Screens

    def show_screen(self, key: str) -> ScreenPane:
        """Bring a screen to the front; it is made on its first visit."""
        pane = self.panes.get(key)
        if pane is None:
            module, name = _PANES[key].split(":")
            pane = getattr(import_module(module), name)()
            assert isinstance(pane, ScreenPane)
            self.panes[key] = pane
            pane.display = False
            self.mount(pane, before=self.query_one(Footer))
        if pane is not self.front:
            self.trail = [k for k in self.trail if k != key] + [self.front.key]
            before, self.front = self.front, pane
            with self.batch_update():
                before.display = False
                pane.display = True
                self.refresh_frame()
        pane.arrived()
        self.call_after_refresh(self._focus_front)
        self.poller.watch(pane.key, pane.loader())
        return pane

    def _focus_front(self) -> None:
        if self.overlays:
            self.overlays[-1].focus(scroll_visible=False)
        else:
            self.front.focus(scroll_visible=False)
            self.front.redraw()

    def open_job(self, job_id: int, probe_id: int | None = None) -> None:
        """The Job screen on a job, at one of its candidates."""
        pane = self.show_screen("job")
        pane.open(job_id, probe_id)  # type: ignore[attr-defined]

    def compare_jobs(self, first: int, second: int) -> None:
        """The Compare screen on two jobs."""
        pane = self.show_screen("compare")
        pane.compare(first, second)  # type: ignore[attr-defined]

    def open_trials(self, filter_text: str) -> None:
        pane = self.show_screen("trials")
        pane.set_filter(filter_text)  # type: ignore[attr-defined]

    def first_pane(self) -> None:
        """A fresh Queue, after the lab was changed."""
        self.front = QueuePane()
        self.panes["queue"] = self.front
        self.mount(self.front, before=self.query_one(Footer))
        self.show_screen("queue")

    # Keys

    def target(self) -> ScreenPane | Overlay:
        """Who has the keyboard: the top overlay, else the screen in front.

        Focus follows a refresh later than fast typing.
        """
        return self.overlays[-1] if self.overlays else self.front

    def on_key(self, event: events.Key) -> None:
        if self.focused is None:
            self.target().on_key(event)

    def press(self, event: events.Key) -> None:
        """A key that no overlay took."""
        action = self.keymap.find(event.key, event.character if event.is_printable else None, self.front.key)
        if action is not None:
            event.stop()
            event.prevent_default()
            self.perform(action.id)

    def allowed(self, action: Action) -> bool:
        """Whether an action is valid now."""
        if action.writes and (self.read_only or (self.common is not None and self.common.read_only)):
            return False
        if not hasattr(self.front, f"do_{action.id}") and not hasattr(self, f"do_{action.id}"):
            return False
        check = getattr(self, f"can_{action.id}", None)
        return self.front.can(action.id) and (check is None or bool(check()))

    def valid(self) -> frozenset[str]:
        """Ids of the actions that can be done here and now."""
        return frozenset(a.id for a in on_pane(self.front.key) if self.allowed(a))

    def perform(self, action_id: str) -> None:
        """Do an action; where it is not valid, say so."""
        action = BY_ID[action_id]
        if not self.allowed(action):
            if action.writes and (self.read_only or (self.common is not None and self.common.read_only)):
                self.say("this lab is open read-only", "warn")
            elif action.palette:
                self.say(f"{action.label}: not possible here now", "dim")
            return
        handler = getattr(self.front, f"do_{action_id}", None) or getattr(self, f"do_{action_id}")
        handler()

    # Overlays

    def push(self, overlay: Overlay) -> None:
        self.overlays.append(overlay)
        self.mount(overlay)
        self.call_after_refresh(self._focus_front)

    def pop(self, overlay: Overlay) -> None:
        if overlay in self.overlays:
            self.overlays.remove(overlay)
        overlay.remove()
        self.call_after_refresh(self._focus_front)

    def ask(
        self,
        title: str,
        then: Callable[[str], None],
        *,
        text: str = "",
        check: Callable[[str], str] | None = None,
        hint: str = "",
    ) -> None:
        """One line of input at the foot of the screen."""
        self.push(Prompt(title, then, text=text, check=check, hint=hint))

    def say(self, text: str, style: str = "ok", seconds: float | None = None) -> None:
        """A word in the footer, for a few seconds."""
        self.flash = (clean(text), style)
        self.refresh_frame()
        mine = self.flash

        def hush() -> None:
            if self.flash is mine:
                self.flash = None
                self.refresh_frame()

        self.set_timer(seconds or self.MESSAGE_SECONDS, hush)

    # Resizing

    def on_resize(self, event: events.Resize) -> None:
        small = event.size.width < MIN_WIDTH or event.size.height < MIN_HEIGHT
        for cover in self.query(TooSmall):
            cover.display = small
        for overlay in self.overlays:
            overlay.place()
        if self.startup_ms is not None:
            self.repaint()  # a terminal that was narrower for a moment has lost its right side
