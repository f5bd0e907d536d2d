"""The supervisor from the command line: is there one, start it, run it in the foreground."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labtui.cli import writing
from labtui.cli.checks.login_session import LoginSession
from labtui.cli.context import Context
from labtui.cli.errors import BadInput, WorkFailed
from labtui.config import Settings, devices_expected, expected, supervisor_variables, supervisor_words
from runners.pool import client
from store.errors import OPENED, refusal
from store.locks import require_locks, supervisor_alive
from store.paths import LabPaths

if TYPE_CHECKING:
    from store.read import Lab

LOGGED = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+Z E ")
"""How a fault begins in the supervisor's log."""
GRACE_S = 2.0
STOP_S = 60.0
"""How long a supervisor may take to end by itself, and to checkpoint when it is told to."""


def alive(path: Path) -> bool:
    """A supervisor holds the lab's lock."""
    return supervisor_alive(LabPaths(path))


def ready(context: Context) -> Lab:
    """The lab, of this schema: an older one is upgraded.

    Raises:
        BadInput: it can only be looked at.
        WorkFailed: there is no room on its disk.
    """
    lab = context.lab
    if lab.outdated:
        context.close()
        writing.create_or_open(context.lab_path)
        lab = context.lab
        context.say(
            f"{context.lab_path}: upgraded to schema {lab.schema}; "
            f"the backup is in {LabPaths(lab.path).backups}"
        )
    if lab.no_room:
        raise WorkFailed(lab.notice.removesuffix(OPENED))
    if lab.read_only:
        raise BadInput(refusal(lab.notice or f"{context.lab_path} was opened read-only"))
    require_locks(LabPaths(lab.path))
    return lab


def chosen(context: Context) -> Settings:
    """The settings of the lab, and what --devices, --slots, --threads, --engine and --address say instead.

    Raises:
        BadInput: a device, number or address that cannot be, or Ray is wanted and is not installed.
    """
    settings = context.settings
    for problem in settings.problems:
        context.say(problem)
    given: dict[str, Any] = {}
    for name in ("devices", "slots", "threads", "engine", "address"):
        value = getattr(context.args, name, None)
        if value is None:
            continue
        given[name] = value
        if value == "":
            raise BadInput(f"--{name} is empty; expected {expected(name, ' ')}")
        if wanted := expected(name, value):
            raise BadInput(f"--{name} is {value!r}; expected {wanted}")
    settings = replace(settings, **given)
    if settings.devices and (wanted := devices_expected(settings.devices, settings.engine)):
        raise BadInput(f"--devices is {settings.devices!r}; expected {wanted}")
    if "address" in given and settings.engine != "ray":
        raise BadInput("--address names a Ray cluster; expected --engine ray with it")
    if settings.engine == "ray" and find_spec("ray") is None:
        raise BadInput("Ray is not installed; install it with: pip install 'labtui[ray]'")
    return settings


def options(context: Context) -> list[str]:
    """What the settings and the command line say, for ``python -m runners``.

    Raises:
        BadInput: a device or number that cannot be.
    """
    return supervisor_words(chosen(context))


def refuse_second(context: Context) -> None:
    """Raises BadInput where a supervisor has the lab, unless it is an older one that hands over."""
    told = client.status(context.lab_path)
    if told.running and not client.outdated(context.lab_path):
        who = f"a supervisor (process {told.pid} on {told.host})"
        raise BadInput(
            f"{who} has {context.lab_path} already; "
            "follow it with labtui watch, or end it with labtui daemon stop"
        )


def start(context: Context) -> None:
    """Start the supervisor, detached from the terminal, where none runs."""
    writing.require_torch(context.lab_path)
    words = options(context)
    if alive(context.lab_path) and not client.outdated(context.lab_path):
        told = client.status(context.lab_path)
        context.say(f"a supervisor runs already (process {told.pid} on {told.host})")
        return
    started = client.start(context.lab_path, words, env=supervisor_variables(context.settings))
    if not started.ok:
        raise WorkFailed(started.text)
    ends = next((f.text for f in LoginSession(context.env).ends()), None)
    context.say(
        f"{started.text}; {f'{ends}: see labtui doctor' if ends else 'it goes on when this terminal closes'}"
    )


def command(context: Context, *words: str) -> list[str]:
    """The command line of a supervisor in the foreground."""
    return client.command(context.lab_path, "--foreground", *options(context), *words)


class Foreground:
    """The supervisor as a child of this process; what it says goes aside and is told only where it fails.

    It never outlives this process: SIGTERM, SIGUSR1 and SIGHUP (of a scheduler, a terminal that closes) end
    both, what trains checkpointed first, and the end of a pipe tells it of any other death. A signal that is
    ignored (nohup) stays so.
    """

    def __init__(self, context: Context, *words: str) -> None:
        writing.require_torch(context.lab_path)
        self._context = context
        self._child: subprocess.Popen[str] | None = None
        self._ended_by = 0
        self._before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)}
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._signalled)
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by end()
        theirs, self._lifeline = os.pipe()
        try:
            self._child = subprocess.Popen(
                command(context, *words, "--lifeline", str(theirs)),
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                env=client.environment(**supervisor_variables(context.settings)),
                text=True,
                pass_fds=(theirs,),
            )
        finally:
            os.close(theirs)

    def _signalled(self, number: int, frame: object) -> None:
        """Tell the supervisor; the first time leave whatever this process is at, for :meth:`end`."""
        if self._child is not None:
            self._child.terminate()
        if not self._ended_by:
            self._ended_by = number
            raise SystemExit(client.REQUEUE if client.requeues(number, os.environ) else 128 + number)

    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def problem(self) -> str:
        """Why it ended, in its own last words; empty where it ended well or runs."""
        if self._child is None or not self._child.poll():
            return ""
        self._said.seek(0)
        lines = [line.strip() for line in self._said if line.strip()]
        faults = [line.partition(" E ")[2] for line in lines if LOGGED.match(line)] or lines
        return (faults or [f"the supervisor ended with code {self._child.returncode}"])[-1].removeprefix(
            "labtui: "
        )

    def end(self) -> None:
        """Let it checkpoint: it ends by itself when nothing is left, and an interrupt has reached it too."""
        patience_s = 0.0 if self._ended_by else GRACE_S
        if (child := self._child) is not None:
            for wait_s, act in ((patience_s, child.terminate), (STOP_S, child.kill)):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=wait_s)
                    break
                act()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._lifeline)
        self._said.close()
        if self._ended_by:
            with contextlib.suppress(OSError, ValueError):  # the terminal may be what has gone
                word = signal.Signals(self._ended_by).name
                self._context.say(
                    f"ended by {word}; what was trained is kept, and labtui run goes on from there"
                )
