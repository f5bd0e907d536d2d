"""The supervisor as the app sees it: commands it obeys, a start where it is missing,
a word for what it finished.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labtui.config import read_settings, supervisor_variables, supervisor_words
from labtui.text import clean
from labtui.version import __version__
from labtui.views import numbers as figures
from store.locks import newer

if TYPE_CHECKING:
    from labtui.tui.host import Host
    from labtui.tui.poller import Common
    from store.rows import JobRow, SupervisorRow


class SupervisorLink:
    """Talks with the supervisor; quitting the app does not end it."""

    def __init__(self, app: Host) -> None:
        self.app = app
        self.notify_mode = app.settings.notify
        self._version = os.environ.get("LABTUI_VERSION") or __version__
        self.problem = ""
        """Why it did not start."""
        self.starting = False
        self._had = False
        self._gone_epoch: int | None = None
        """Whose row was the last while no supervisor lived: a new one lives before it has its own."""

    def forget(self) -> None:
        """Another lab is shown."""
        self.problem, self.starting, self._had, self._gone_epoch = "", False, False, None

    def send(self, send: Callable[[], int], then: Callable[[], None]) -> None:
        """Leave a command in a thread.

        Where no supervisor runs it is applied at once; else its answer is waited for.
        """
        common = self.app.common
        alive = common is not None and common.supervised

        def work() -> None:
            from store.errors import LabError

            try:
                number = send()
                if not alive:
                    from labtui.cli.writing import apply_pending

                    apply_pending(Path(self.app.lab_path))
                self.app.call_from_thread(then)
                refusal = self._refusal(number)
            except (LabError, OSError) as error:
                self.app.call_from_thread(self.app.say, str(error), "bad", 8.0)
                return
            if refusal:
                self.app.call_from_thread(self.app.say, refusal, "warn", 8.0)

        self.app.in_thread(work, "commands")

    def _refusal(self, number: int) -> str:
        """Why a command was refused, as soon as that is known; empty:
        it was not, or not within three seconds.
        """
        from store.read import open_lab

        end = time.monotonic() + 3.0
        with open_lab(Path(self.app.lab_path), read_only=True) as lab:
            while time.monotonic() < end:
                row = lab.command(number)
                if row is not None and row.state != "pending":
                    return row.result if row.state == "refused" else ""
                time.sleep(0.1)
        return ""

    def banner(self, common: Common) -> tuple[str, str]:
        """What of the supervisor needs a person now: (text, style), empty where nothing does."""
        row = common.supervisor
        if row is not None and row.alive:
            if self._older():
                key = self.app.keymap.name("start_supervisor")
                text = f"the supervisor is labtui {row.version}: {key} hands over to {self._version}"
                return text, "banner"
            told = row.state == "waiting" and row.message
            return (row.message, "banner") if told and not self._is_former(row) else ("", "")
        stopped, queued = common.counts.get("running", 0), common.counts.get("queued", 0)
        if (stopped or queued) and not (self.app.read_only or common.read_only or self.starting):
            why = f" ({self.problem})" if self.problem else ""
            gone = "the supervisor is gone" if self._had else "no supervisor"
            counts = [f"{stopped:,} stopped"] * bool(stopped) + [f"{queued:,} queued"] * bool(queued)
            key = self.app.keymap.name("start_supervisor")
            return f"{', '.join(counts)}, {gone}{why}: {key} starts one", "banner"
        return "", ""

    def _older(self) -> bool:
        """Whether the supervisor that lives is of an older labtui."""
        row = self.app.common.supervisor if self.app.common is not None else None
        return row is not None and row.alive and newer(self._version, row.version) and not self.app.read_only

    def _is_former(self, row: SupervisorRow) -> bool:
        """Whether the row is still that of the one before: what it says of its silence is no alarm."""
        return row.alive and row.epoch == self._gone_epoch

    def after_common(self, common: Common) -> None:
        """Each time the lab was read: tell what finished. Looking at a lab starts nothing."""
        row = common.supervisor
        if row is not None and row.alive:
            self._had = True
            self.starting = False
            self.problem = ""
        elif row is not None:
            self._gone_epoch = row.epoch
        self._tell(common.ended)

    def _tell(self, ended: Sequence[JobRow]) -> None:
        """A word for what finished, and a bell where one is wanted."""
        if not ended:
            return
        failed = [job for job in ended if job.state == "failed"]
        job = (failed or list(ended))[-1]
        found = figures.nstar(job)
        # A narrow footer keeps its keys beside the word.
        what = f"job {job.id}, {figures.label(job)}" if self.app.size.width >= 100 else f"job {job.id}"
        text = f"✗ {what} failed: {clean(job.reason or '')}" if failed else f"✓ {what}: N* {found}"
        if len(ended) > 1:
            text = f"{len(ended)} jobs ended; {text}"
        self.app.say(text, "bad" if failed else "ok", 6.0)
        if self.notify_mode != "off":
            self.app.notify_terminal(text if self.notify_mode == "desktop" else "")

    def do_bell(self) -> None:
        self.notify_mode = {"off": "bell", "bell": "desktop", "desktop": "off"}[self.notify_mode]
        self.app.say(f"when something finishes: {self.notify_mode}")

    def start_for_submission(self) -> None:
        """Who submits wants it done: start a supervisor where none runs."""
        common = self.app.common
        if common is None or self.app.read_only or common.read_only or os.environ.get("LABTUI_NO_SUPERVISOR"):
            return
        if not common.supervised:
            self.do_start_supervisor()

    def can_start_supervisor(self) -> bool:
        common = self.app.common
        alive = common is not None and common.supervised and not self._older()
        return common is not None and not alive and not self.starting

    def do_start_supervisor(self) -> None:
        if self.starting:
            return
        self.starting = True

        def start() -> None:
            text = problem = ""
            try:
                from runners.pool.client import start as start_supervisor

                settings = read_settings(lab=self.app.lab_path)
                started = start_supervisor(
                    Path(self.app.lab_path),
                    supervisor_words(settings),
                    env=supervisor_variables(settings),
                )
                text, problem = started.text, "" if started.ok else started.text
            except Exception as error:  # whatever keeps it from starting is shown, not fatal
                problem = str(error) or type(error).__name__
            self.app.call_from_thread(self._started, text, problem)

        self.app.in_thread(start, "supervisor")

    def _started(self, text: str, problem: str) -> None:
        self.starting = False
        self.problem = problem
        self._had = self._had or not problem
        self.app.say(problem, "bad", 8.0) if problem else self.app.say(f"{text}; it goes on when you quit")
        self.app.poller.poke()

    def do_hold(self) -> None:
        row = self.app.common.supervisor if self.app.common else None
        holding = row is not None and row.state == "holding"

        def send() -> int:
            from store import commands

            return (commands.release if holding else commands.hold)(Path(self.app.lab_path))

        self.send(send, lambda: self.app.say("going on" if holding else "holding: nothing new starts"))
