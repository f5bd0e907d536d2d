"""Who a process is, so that a reused pid is never taken for it: pid, start time in clock ticks, boot."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import signal
import socket
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from runners.pool.interpreter import ROOT
from store.files import replace
from store.json import document


@dataclass(frozen=True)
class ProcessId:
    """One process of one boot."""

    pid: int
    started: str
    """Start time in ticks since boot (Linux), which no change of the clock moves;
    elsewhere seconds since 1970.
    """
    boot: str

    def alive(self) -> bool:
        """The very process still runs (a zombie does not)."""
        return self.boot == boot_id() and start_of(self.pid) == self.started

    def kill(self, number: int = signal.SIGKILL) -> bool:
        """Send a signal if it is still this process; True if it was sent."""
        if not self.alive():
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)
            return True
        return False


def identify(pid: int) -> ProcessId:
    """The identity of a running process."""
    return ProcessId(pid, start_of(pid) or "", boot_id())


def stat_of(pid: int) -> list[str]:
    """What Linux tells of a process, from its state on; raises OSError where there is none."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def start_of(pid: int) -> str | None:
    """When a process began, as in :attr:`ProcessId.started`; None if it is gone or a zombie."""
    try:
        fields = stat_of(pid)
    except FileNotFoundError:
        if sys.platform.startswith("linux"):
            return None
    except OSError:
        return None
    else:
        return None if fields[0] in "ZX" else fields[19]
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.Error:
        return None


@cache
def boot_id() -> str:
    """A name of this boot of the machine; the host's name where the system tells none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def version() -> str:
    """Name the labtui that runs: who hands over to whom rests on it; LABTUI_VERSION overrides it."""
    return os.environ.get("LABTUI_VERSION") or _written()


@cache
def _written() -> str:
    """Read ``labtui.__version__`` where it is written, as the package's build does: nothing here imports
    labtui, and asking the installed package takes 0.07 s.
    """
    try:
        text = (ROOT / "labtui" / "version.py").read_text("utf-8")
    except OSError:
        return "0"
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    return found.group(1) if found else "0"


@cache
def git_commit() -> str | None:
    """The commit of the source tree that runs, where it is one."""
    git = ROOT / ".git"
    try:
        if git.is_file():  # a worktree or a submodule: it says where its own folder is
            git = ROOT / git.read_text("utf-8").strip().removeprefix("gitdir: ")
        head = (git / "HEAD").read_text("utf-8").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (shared := git / "commondir").is_file():  # branches are in the repository's folder
            git = git / shared.read_text("utf-8").strip()
        loose = git / name
        if loose.is_file():
            return loose.read_text("utf-8").strip()
        for line in (git / "packed-refs").read_text("utf-8").splitlines():
            if line.endswith(" " + name):
                return line.split()[0]
    except (OSError, UnicodeDecodeError):
        return None
    return None


def machine() -> dict[str, str]:
    """Where a job ran, for its provenance."""
    return {
        "version": version(),
        "commit": git_commit() or "",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
    }


class Roster:
    """The worker processes of a lab, in a file beside it:
    what a next supervisor must see dead before it hands out again.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def write(self, processes: list[ProcessId]) -> None:
        """Replace the list.

        Raises:
            OSError: there is no room for it.
        """
        replace(self._file, json.dumps([vars(p) for p in processes]).encode())

    def read(self) -> list[ProcessId]:
        """Read the list; an unreadable file counts as empty."""
        try:
            rows = document(self._file.read_bytes())
            return [ProcessId(int(r["pid"]), str(r["started"]), str(r["boot"])) for r in rows]
        except (OSError, ValueError, LookupError, TypeError, OverflowError):
            return []
