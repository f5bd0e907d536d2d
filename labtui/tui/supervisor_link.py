"""The supervisor as the app sees it: commands it obeys, a start where it is missing,
a word for what it finished.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labtui import __version__
from labtui.text import clean
from labtui.tui.app import Host
from labtui.views import numbers as figures
from store.locks import newer

if TYPE_CHECKING:
    from store.rows import JobRow


class Supervising(Host, inherit_bindings=False):
    """Talks with the supervisor; quitting the app does not end it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.notify_mode = self.settings.notify
        self.supervisor_problem = ""
        self.supervisor_starting = False
        self._had_supervisor = False

    def _send(self, send: Callable[[], int], then: Callable[[], None]) -> None:
        """Leave a command in a thread.

        Where no supervisor runs it is applied at once; else its answer is waited for.
        """
        alive = (
            self.common is not None and self.common.supervisor is not None and self.common.supervisor.alive
        )

        def work() -> None:
            from store.errors import LabError

            try:
                number = send()
                if not alive:
                    from labtui.cli.writing import apply_pending

                    apply_pending(Path(self.lab_path))
                self.call_from_thread(then)
                refusal = self._refusal(number)
            except (LabError, OSError) as error:
                self.call_from_thread(self.say, str(error), "bad", 8.0)
                return
            if refusal:
                self.call_from_thread(self.say, refusal, "warn", 8.0)

        self.run_worker(work, thread=True, group="commands", exit_on_error=False)

    def _refusal(self, number: int) -> str:
        """Why a command was refused, as soon as that is known; empty:
        it was not, or not within three seconds.
        """
        from store.read import open_lab

        end = time.monotonic() + 3.0
        with open_lab(Path(self.lab_path), read_only=True) as lab:
            while time.monotonic() < end:
                row = lab.command(number)
                if row is not None and row.state != "pending":
                    return row.result if row.state == "refused" else ""
                time.sleep(0.1)
        return ""

    def banner(self) -> tuple[str, str]:
        """What needs a person now: (text, style), empty where nothing does."""
        if self.problem:
            return self.problem, "alarm"
        common = self.common
        if common is None:
            return "", ""
        if common.notice:
            return common.notice, "banner"
        live = common.counts.get("queued", 0) + common.counts.get("running", 0)
        row = common.supervisor
        if row is not None and row.alive:
            return (row.message, "banner") if row.state == "waiting" and row.message else ("", "")
        if live and not self.read_only and not self.supervisor_starting:
            why = f" ({self.supervisor_problem})" if self.supervisor_problem else ""
            gone = "The supervisor is gone" if self._had_supervisor else "No supervisor runs"
            return (
                f"{gone}{why}: {live:,} jobs wait. {self.keymap.name('start_supervisor')} starts one.",
                "banner",
            )
        return "", ""

    def after_common(self, first: bool) -> None:
        """Each time the lab was read: start what is missing, tell what finished."""
        common = self.common
        assert common is not None
        alive = common.supervisor is not None and common.supervisor.alive
        if alive:
            self._had_supervisor = True
            self.supervisor_starting = False
            self.supervisor_problem = ""
        if first:
            self.ensure_supervisor()
        self._tell(common.ended)

    def _tell(self, ended: Sequence[JobRow]) -> None:
        """A word for what finished, and a bell where one is wanted."""
        if not ended:
            return
        failed = [job for job in ended if job.state == "failed"]
        job = (failed or list(ended))[-1]
        found = figures.nstar(job)
        what = f"job {job.id}, {figures.label(job)}"
        text = f"✗ {what} failed: {clean(job.reason or '')}" if failed else f"✓ {what}: N* {found}"
        if len(ended) > 1:
            text = f"{len(ended)} jobs ended; {text}"
        self.say(text, "bad" if failed else "ok", 6.0)
        if self.notify_mode == "bell":
            self.bell()
        elif self.notify_mode == "desktop" and self._driver is not None and not self.is_headless:
            self._driver.write(f"\x1b]9;labtui: {text}\x07")

    def ensure_supervisor(self, *, submitted: bool = False) -> None:
        """Start a supervisor where work is queued and none runs, or one of an older labtui,
        which then hands over.
        """
        common = self.common
        if common is None or self.read_only or common.read_only or os.environ.get("LABTUI_NO_SUPERVISOR"):
            return
        waiting = common.counts.get("queued", 0) + common.counts.get("running", 0) + common.pending
        row = common.supervisor
        if row is not None and row.alive:
            if waiting and not submitted and newer(__version__, row.version):
                self.do_start_supervisor()
        elif (waiting or submitted) and (submitted or not self._had_supervisor):
            self.do_start_supervisor()

    def can_start_supervisor(self) -> bool:
        row = self.common.supervisor if self.common else None
        return (
            self.common is not None and not (row is not None and row.alive) and not self.supervisor_starting
        )

    def do_start_supervisor(self) -> None:
        if self.supervisor_starting:
            return
        self.supervisor_starting = True

        def start() -> None:
            text = problem = ""
            try:
                from runners.pool.client import start as start_supervisor

                started = start_supervisor(Path(self.lab_path))
                text, problem = started.text, "" if started.ok else started.text
            except Exception as error:  # whatever keeps it from starting is shown, not fatal
                problem = str(error) or type(error).__name__
            self.call_from_thread(self._started, text, problem)

        self.run_worker(start, thread=True, group="supervisor", exit_on_error=False)

    def _started(self, text: str, problem: str) -> None:
        self.supervisor_starting = False
        self.supervisor_problem = problem
        self._had_supervisor = self._had_supervisor or not problem
        self.say(problem, "bad", 8.0) if problem else self.say(f"{text}; it goes on when you quit")
        self.poller.poke()

    def do_hold(self) -> None:
        row = self.common.supervisor if self.common else None
        holding = row is not None and row.state == "holding"

        def send() -> int:
            from store import commands

            return (commands.release if holding else commands.hold)(Path(self.lab_path))

        self._send(send, lambda: self.say("going on" if holding else "holding: nothing new starts"))
