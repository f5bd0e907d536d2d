"""The app: one poller, one screen in front, a frame around it, dialogs above; and the way in.

It owns its parts: the verbs on jobs (:class:`JobCommands`), the supervisor as it is seen from here
(:class:`SupervisorLink`) and the gauges (:class:`MachineWatch`). An action of the registry is done by the
screen in front, else by the app, else by one of these parts.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Unpack

from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingsMap
from textual.filter import Monochrome, NoColor
from textual.message import Message
from textual.screen import Screen

from labtui.config import Settings, choose_glyphs, choose_theme, read_settings
from labtui.text import clean, wrap
from labtui.tui.actions import BY_ID, WHY_NOT, Action, Keymap, bindings, on_pane
from labtui.tui.choice import Choice
from labtui.tui.frame import Banner, Footer, Header, TooSmall
from labtui.tui.job_commands import JobCommands
from labtui.tui.machine_watch import MachineWatch
from labtui.tui.overlay import Overlay
from labtui.tui.poller import Common, LabReader, Poller, Snapshot
from labtui.tui.screens.queue import QueuePane
from labtui.tui.screens.screen_pane import ScreenPane
from labtui.tui.supervisor_link import SupervisorLink
from labtui.tui.terminal import hangup
from labtui.tui.terminal.bursts import in_burst
from labtui.tui.terminal.screen import LabScreen
from labtui.tui.theme import THEMES, Palette
from labtui.tui.typed import typed_path
from labtui.views import numbers as figures
from labtui.views.lines import text_line
from store.locks import tell_waits

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.driver import Driver
    from textual.widget import Widget

    from labtui.tui.host import Asking, Choosing
    from labtui.views.lines import Line

MIN_WIDTH, MIN_HEIGHT = 60, 16
THEME_CYCLE = ("labtui-dark", "labtui-light", "labtui-ansi")
_PANES = {
    "job": "labtui.tui.screens.job:JobPane",
    "kappa": "labtui.tui.screens.kappa:KappaPane",
    "scaling": "labtui.tui.screens.scaling:ScalingPane",
    "trials": "labtui.tui.screens.trials:TrialsPane",
    "new": "labtui.tui.screens.new:NewPane",
    "compare": "labtui.tui.screens.compare:ComparePane",
    "events": "labtui.tui.screens.events:EventsPane",
    "paper": "labtui.tui.screens.paper:PaperPane",
}


class Arrived(Message, bubble=False):
    """A snapshot from the poller's thread."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot


class LabApp(App[None], inherit_bindings=False):
    """labtui on one lab: screens, frame, dialogs, snapshots, keys. Quitting it stops nothing."""

    TITLE = "labtui"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layers: base over; overflow: hidden; scrollbar-size: 0 0; }
    """
    strict: ClassVar[bool] = False
    """Faults of drawing end the app instead of being told (tests)."""
    MESSAGE_SECONDS: ClassVar[float] = 4.0
    LATE_S: ClassVar[float] = 0.2
    """A screen that waits longer for what it shows says that it reads."""

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
        new: bool = False,
    ) -> None:
        self.settings = settings if settings is not None else read_settings(lab=lab_path)
        self.started = started if started is not None else time.perf_counter()
        self.lab_path = str(lab_path)
        self.read_only = read_only
        self.keymap = Keymap(self.settings.keys)
        self.glyphs = choose_glyphs(self.settings.glyphs, os.environ)
        self.palette = Palette(THEMES[0])
        super().__init__()
        self._bindings = BindingsMap(bindings(self.keymap))
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
        self._new = new
        self._open_lab = open_lab or self._really_open
        self.poller = self._new_poller()
        self.startup_ms: float | None = None
        self.supervisor = SupervisorLink(self)
        self.commands: JobCommands = JobCommands(self, self.supervisor)
        self.machine: MachineWatch = MachineWatch(self)
        self.burst = False
        """The key that is obeyed came together with others, as in a paste: what changes the lab asks first.
        """
        self.panicked = False
        """A fault ended the app."""

    # Start and end

    def _really_open(self) -> LabReader:
        from runners.programs import consent
        from store.read import open_lab

        lab: LabReader = open_lab(self.lab_path, read_only=self.read_only, consent=consent)
        return lab

    def _new_poller(self) -> Poller:
        return Poller(
            self._open_lab,
            self._deliver,
            interval=max(self.settings.poll_s, 2.0 if self.settings.slow else 0.0),
        )

    def _deliver(self, snapshot: Snapshot) -> None:
        self.post_message(Arrived(snapshot))

    def get_driver_class(self) -> type[Driver]:
        if os.name != "posix" or "TEXTUAL_DRIVER" in os.environ:
            return super().get_driver_class()
        from labtui.tui.terminal.driver import LabDriver

        return LabDriver

    def panic(self, *renderables: RenderableType) -> None:
        self.panicked = True
        super().panic(*renderables)

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
        if self._new:
            self.say(f"new lab {self.lab_path}", "warn", 10.0)
        self._tell_settings(self.settings.problems)
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
        self.set_interval(5.0 if self.settings.slow else 1.0, self.machine.tick)
        if not self.is_headless:
            hangup.Watch(lambda: self.call_later(self.exit)).start()

    def _tell_settings(self, problems: Sequence[str]) -> None:
        """What of the settings was not understood: one sentence in the footer, several as a list."""
        if len(problems) == 1:
            self.say(problems[0], "warn", 10.0)
        elif problems:
            lines = [text_line(f" {part}", "warn") for p in problems for part in wrap(clean(p), 90)]
            self.list_lines(f"Settings: {len(problems)} things were not understood", lambda: lines)

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

    def banner(self) -> tuple[str, str]:
        """What needs a person now: (text, style); empty where nothing does."""
        if self.problem or self.common is None:
            return self.problem, "alarm"
        if self.common.notice:
            return self.common.notice, "banner"
        return self.supervisor.banner(self.common)

    # Snapshots

    def on_arrived(self, message: Arrived) -> None:
        snapshot = message.snapshot
        if snapshot.common is not None:
            self.common = snapshot.common
            self.supervisor.after_common(snapshot.common)
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
        if pane.fresh:
            self.set_timer(self.LATE_S, pane.say_late)
        return pane

    def _focus_front(self) -> None:
        if self.overlays:
            self.overlays[-1].focus(scroll_visible=False)
        else:
            self.front.focus(scroll_visible=False)
            self.front.redraw()

    def open_job(self, job_id: int, probe_id: int | None = None) -> None:
        """Open the Job screen on a job, at one of its candidates."""
        pane = self.show_screen("job")
        pane.open(job_id, probe_id)  # type: ignore[attr-defined]

    def compare_jobs(self, first: int, second: int) -> None:
        """Open the Compare screen on two jobs."""
        pane = self.show_screen("compare")
        pane.compare(first, second)  # type: ignore[attr-defined]

    def open_trials(self, filter_text: str) -> None:
        pane = self.show_screen("trials")
        pane.set_filter(filter_text)  # type: ignore[attr-defined]

    def first_pane(self) -> None:
        """Show a fresh Queue, after the lab was changed."""
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
        """A key is the top dialog's, or that of a screen that takes typing; else Textual finds its binding.

        Every key comes here, in its order, whoever has the focus, which follows a refresh later than fast
        typing.
        """
        self.burst = in_burst(event)
        if self.target().take(event):
            event.stop()
            event.prevent_default()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A binding holds on its action's screens; where that is not valid now, :meth:`perform` says why."""
        if action != "perform":
            return super().check_action(action, parameters)
        found = BY_ID.get(str(parameters[0]))
        return found is not None and (not found.panes or self.front.key in found.panes)

    def action_perform(self, action_id: str) -> None:
        self.perform(action_id)

    def _part(self, name: str) -> Callable[[], object] | None:
        """A method of the screen in front, else of the app, else of one of its parts."""
        for part in (self.front, self, self.commands, self.supervisor):
            found: Callable[[], object] | None = getattr(part, name, None)
            if found is not None:
                return found
        return None

    def hand(self, action_id: str) -> Callable[[], object] | None:
        """What does an action here; None: nothing."""
        if action_id == "show_job" and isinstance(self.front, QueuePane) and self.front.window.id is not None:
            return self.front.do_open  # the row under the cursor
        if action_id.startswith("show_"):
            return partial(self.show_screen, action_id.removeprefix("show_"))
        return self._part(f"do_{action_id}")

    def allowed(self, action: Action) -> bool:
        """Whether an action is valid now."""
        if action.writes and (self.read_only or (self.common is not None and self.common.read_only)):
            return False
        checks = [
            getattr(part, f"can_{action.id}", None)
            for part in (self.front, self, self.commands, self.supervisor)
        ]
        return self.hand(action.id) is not None and all(check() for check in checks if check is not None)

    def valid(self) -> frozenset[str]:
        """Ids of the actions that can be done here and now."""
        return frozenset(a.id for a in on_pane(self.front.key) if self.allowed(a))

    def word(self, action: Action) -> str:
        """What an action is called on the screen in front, as things are."""
        return self.front.label(action.id) or action.word(self.front.key)

    def click(self, action_id: str) -> None:
        """Do what a click on something drawn as a key does; a dialog keeps the screen behind it as it is."""
        if not self.overlays and action_id in BY_ID:
            self.burst = False
            self.perform(action_id)

    def perform(self, action_id: str) -> None:
        """Do an action; where it is not valid, say so."""
        action = BY_ID[action_id]
        if not self.allowed(action):
            if action.writes and (self.read_only or (self.common is not None and self.common.read_only)):
                self.say("this lab is open read-only", "warn")
            elif action.palette:
                why = WHY_NOT.get(action_id, "not possible here now")
                self.say(f"{self.word(action)}: {why}", "dim")
            return
        if action.writes and self.burst:
            self.confirm(
                f"{action.help}?",
                partial(self.perform, action_id),
                "this key came together with others, as in a paste",
            )
            return
        hand = self.hand(action_id)
        if hand is not None:
            hand()

    # Overlays

    def push(self, overlay: Widget) -> None:
        assert isinstance(overlay, Overlay)
        self.overlays.append(overlay)
        self.mount(overlay)
        self.call_after_refresh(self._focus_front)

    def pop(self, overlay: Widget) -> None:
        self.overlays = [one for one in self.overlays if one is not overlay]
        overlay.remove()
        self.call_after_refresh(self._focus_front)

    def ask(self, title: str, then: Callable[[str], None], **how: Unpack[Asking]) -> None:
        """Ask for one line of input at the foot of the screen."""
        from labtui.tui.dialogs import Prompt  # as all dialogs: the first paint need not wait for them

        self.push(Prompt(title, then, **how))

    def confirm(
        self, question: str, then: Callable[[], None], detail: str = "", *, grave: bool = False
    ) -> None:
        """Ask whether to do it; ``grave``: enter says no."""
        from labtui.tui.dialogs import Confirm

        self.push(Confirm(question, then, detail, grave=grave))

    def choose(self, title: str, choices: Sequence[Choice], **how: Unpack[Choosing]) -> None:
        """Offer a list to choose from."""
        from labtui.tui.dialogs import Chooser

        self.push(Chooser(title, choices, **how))

    def list_lines(self, title: str, lines: Callable[[], Sequence[Line]]) -> None:
        """Show lines to read."""
        from labtui.tui.dialogs import Listing

        self.push(Listing(title, lines))

    def say(self, text: str, style: str = "ok", seconds: float | None = None) -> None:
        """Put a word into the footer, for a few seconds."""
        self.flash = (clean(text), style)
        self.refresh_frame()
        mine = self.flash

        def hush() -> None:
            if self.flash is mine:
                self.flash = None
                self.refresh_frame()

        self.set_timer(seconds or self.MESSAGE_SECONDS, hush)

    def notify_terminal(self, text: str) -> None:
        """Ring, or where there is a text show it on the desktop (OSC 9)."""
        if not text:
            self.bell()
        elif self._driver is not None and not self.is_headless:
            self._driver.write(f"\x1b]9;labtui: {text}\x07")

    def redraw_gauges(self) -> None:
        """The machine was looked at."""
        if self.front.key == "queue":
            self.front.redraw()
        for overlay in self.overlays:
            overlay.place()
            overlay.redraw()

    def in_thread(self, work: Callable[[], None], group: str, *, exclusive: bool = False) -> None:
        """Do something that may take its time, beside the screens."""
        self.run_worker(work, thread=True, group=group, exclusive=exclusive, exit_on_error=False)

    # What is done here

    def do_help(self) -> None:
        from labtui.tui.dialogs import Help

        self.push(Help())

    def do_palette(self) -> None:
        def words(action: Action) -> str:
            head, colon, rest = action.help.partition(": ")
            return rest if colon and head.lower() == action.label.lower() else action.help

        choices = [
            Choice(
                a.palette_word(self.front.key), partial(self.perform, a.id), words(a), self.keymap.name(a.id)
            )
            for a in on_pane(self.front.key)
            if a.palette and self.allowed(a)
        ]

        def typed(text: str) -> list[Choice]:
            """Jobs by their number, or by words of what they search among those that the Queue has read."""
            number = text.strip().removeprefix("job").strip()
            if number.isascii() and number.isdecimal() and len(number) <= 9:
                return [Choice(f"job {int(number)}", partial(self.open_job, int(number)), "open this job")]
            queue = self.panes.get("queue")
            words = text.lower().split()
            if len(text.strip()) < 3 or not isinstance(queue, QueuePane):
                return []
            named = [
                (job.id, f"{figures.label(job)} {figures.own_name(job)}".strip())
                for job in queue.window.rows.values()
            ]
            return [
                Choice(f"job {id}", partial(self.open_job, id), name)
                for id, name in named
                if all(word in name.lower() for word in words)
            ][:8]

        self.choose("What do you want to do?", choices, more=typed)

    def do_quit(self) -> None:
        self.exit()

    def do_back(self) -> None:
        """Go back to the screen before."""
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
                path = typed_path(name)
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
        self.choose("Open another lab", [*choices, typed])

    def change_lab(self, path: str) -> None:
        """Close this lab and show another; this one's work goes on."""
        try:
            found = typed_path(path)
            found.stat()
        except OSError as error:
            self.say(f"there is no lab {path}: {error.strerror}", "bad")
            return
        self.poller.stop()
        self.lab_path = str(found)
        self.common, self.problem = None, ""
        self.commands.last_undo = None
        self.supervisor.forget()
        self.call_later(self._begin_anew, list(self.panes.values()))
        self.panes.clear()
        self.trail.clear()

    async def _begin_anew(self, panes: list[ScreenPane]) -> None:
        """The new lab's screens have the names of those before, which have to be gone first."""
        for pane in panes:
            await pane.remove()
        self.poller = self._new_poller()
        self.poller.start()
        self.first_pane()

    # Resizing

    def on_resize(self, event: events.Resize) -> None:
        small = event.size.width < MIN_WIDTH or event.size.height < MIN_HEIGHT
        for cover in self.query(TooSmall):
            cover.display = small
        for overlay in self.overlays:
            overlay.place(event.size)  # the app's own size is still the one before
        if self.startup_ms is not None:
            self.repaint()  # a terminal that was narrower for a moment has lost its right side


def run(
    lab_path: str | Path,
    read_only: bool = False,
    no_mouse: bool = False,
    slow: bool = False,
    ascii: bool = False,
    screen: str | None = None,
    study: int | None = None,
    *,
    job: int | None = None,
    started: float | None = None,
    new: bool = False,
) -> int:
    """Show a lab until the person quits; returns the exit code."""
    gc.disable()  # until the first paint; the host turns it on again
    settings = read_settings(lab=lab_path)
    if no_mouse:
        settings = replace(settings, mouse=False)
    if ascii:
        settings = replace(settings, glyphs="ascii")
    if slow:
        settings = replace(settings, slow=True)
    app = LabApp(
        lab_path,
        read_only=read_only,
        settings=settings,
        screen=screen,
        study=study,
        job=job,
        started=started,
        new=new,
    )
    app.run(mouse=settings.mouse)
    return 1 if app.panicked else app.return_code or 0
