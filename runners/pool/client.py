"""Start, stop and ask after the supervisor of a lab, with the standard library alone:
it runs as ``python -m runners``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runners.pool.identity import stat_of, version
from runners.pool.interpreter import environment as environment
from runners.pool.interpreter import module_command
from runners.pool.signals import REQUEUE as REQUEUE
from runners.pool.signals import requeues as requeues
from store.locks import last_holder, newer, supervisor_alive
from store.paths import LabPaths

START_S = 30.0
RAY_START_S = 120.0
"""The same where a cluster is joined, or started on this machine, first."""
STOP_S = 40.0


@dataclass(frozen=True)
class Status:
    """The supervisor of a lab, as it tells of itself."""

    running: bool
    pid: int | None = None
    host: str = ""
    version: str = ""
    message: str = ""
    """What it waits for (room on the disk, memory), or why the last one ended; empty: nothing to say."""
    started: str = ""
    """Its start time in ticks since boot, where the system tells it:
    a pid alone could be another process by now.
    """


@dataclass(frozen=True)
class Started:
    """What became of an attempt to start one."""

    ok: bool
    """A supervisor runs now, this one or another."""
    text: str
    """One sentence."""


def is_running(lab: Path) -> bool:
    """Whether a process holds the supervisor's lock of this lab right now. Writes nothing."""
    return supervisor_alive(LabPaths(lab))


def status(lab: Path) -> Status:
    """Who supervises the lab, and what it waits for."""
    running = is_running(lab)
    data = last_holder(LabPaths(lab))
    pid = data.get("pid")
    return Status(
        running,
        pid if running and type(pid) is int and pid > 1 else None,
        str(data.get("host", ""))[:200],
        str(data.get("version", ""))[:40],
        str(data.get("message", ""))[:1000],
        str(data.get("started", ""))[:40],
    )


def outdated(lab: Path) -> str:
    """That an older labtui supervises the lab and will hand over to this one, as a sentence;
    empty where it is not so.
    """
    told = status(lab)
    if told.running and newer(version(), told.version):
        return (
            f"the supervisor {told.version} (process {told.pid}) finishes its probes, "
            f"then {version()} takes over"
        )
    return ""


def command(lab: Path, *options: str) -> list[str]:
    """The command line of a lab's supervisor, to be run with :func:`runners.pool.interpreter.environment`."""
    return module_command("runners", "--lab", str(lab), *options)


def start(
    lab: Path,
    options: Sequence[str] = (),
    *,
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> Started:
    """Start a supervisor, detached from this terminal, and wait until it holds the lab or says why not.

    Args:
        lab: an existing lab.
        options: further ones of ``python -m runners`` (``--slots 2``).
        env: variables of its environment beside those of this process.
        timeout_s: how long to wait; None: as long as it may take.
    """
    timeout_s = timeout_s or (RAY_START_S if "--engine" in options else START_S)
    if is_running(lab) and not outdated(lab):
        return Started(True, _who(lab))
    try:
        done = subprocess.run(
            command(lab, *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout_s,
            env=environment(**(env or {})),
        )
    except subprocess.TimeoutExpired:
        return Started(
            is_running(lab), f"no supervisor came up within {timeout_s:g} s; see {LabPaths(lab).logs}"
        )
    except OSError as error:
        return Started(False, f"the supervisor cannot be started: {error.strerror}")
    if done.returncode == 0 and not is_running(lab) and (why := status(lab).message):
        return Started(False, why)  # it came up, and ended by what it met
    if done.returncode == 0 or is_running(lab):
        said = [line for line in done.stderr.splitlines() if line.startswith("labtui: ")]
        return Started(True, said[-1].removeprefix("labtui: ") if said else _who(lab))
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return Started(False, (lines or ["the supervisor did not start"])[-1].removeprefix("labtui: "))


def stop(lab: Path, *, timeout_s: float = STOP_S) -> Started:
    """Ask the supervisor to checkpoint what trains and end, and wait for it; ``ok``: none runs any more."""
    told = status(lab)
    if not told.running:
        return Started(True, "no supervisor runs")
    if told.pid is None or told.host != os.uname().nodename:
        return Started(False, f"the supervisor runs on {told.host or 'another machine'}; stop it there")
    if not _same_process(told.pid, told.started):
        return Started(
            False, f"the lock file names process {told.pid}, which is another one; see {LabPaths(lab).logs}"
        )
    with contextlib.suppress(ProcessLookupError):
        try:
            os.kill(told.pid, signal.SIGTERM)
        except PermissionError:
            return Started(False, f"the supervisor (process {told.pid}) belongs to another user")
    if _process_stat(told.pid)[:1] == ["T"]:
        return Started(
            False,
            f"the supervisor (process {told.pid}) is stopped by a signal; "
            f"it ends once it goes on: kill -CONT {told.pid}",
        )
    if not _wait(lambda: not is_running(lab), timeout_s):
        return Started(False, f"the supervisor (process {told.pid}) has not ended within {timeout_s:g} s")
    return Started(True, "the supervisor has ended; what it trained is kept")


def _same_process(pid: int, started: str) -> bool:
    stat = _process_stat(pid)
    return stat[19] == started if stat else not Path("/proc/self/stat").exists()


def _process_stat(pid: int) -> list[str]:
    """The same as ``stat_of``; empty where it is not there, or this is not Linux."""
    try:
        return stat_of(pid)
    except OSError:
        return []


def _who(lab: Path) -> str:
    told = status(lab)
    return (
        f"the supervisor runs (process {told.pid} on {told.host})"
        if told.running
        else "the supervisor has done its work"
    )


def _wait(ready: Callable[[], bool], timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
