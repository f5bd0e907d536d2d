"""Waiting for somebody else's lock: who holds it, and a word to the person who waits.

Standard library only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from store.paths import LabPaths

TIMEOUT_S = 30.0
"""How long a write waits for another process where nothing else is said."""
PATIENCE_S = 1.0
"""So long nothing is said: the supervisor's own transactions take milliseconds."""
_FIRST_WAIT_S = 0.0005
_LONGEST_WAIT_S = 0.01
_SHM_WRITER = 120
"""The byte of the ``-shm`` file that SQLite locks while it writes (its file format, section 2.3.1)."""

Tell = Callable[[str], None]
_tell: Tell | None = None


def tell_waits(tell: Tell | None) -> None:
    """Who in this process is told, in a sentence and by the thread that waits,
    of a lock waited for over a second.
    """
    global _tell
    _tell = tell


def tell(text: str) -> None:
    """A word to the person at this process, where somebody listens."""
    if _tell is not None:
        _tell(text)


def patiently(attempt: Callable[[], bool], timeout_s: float, paths: LabPaths) -> bool:
    """Try until it succeeds or the time is over; a wait that grows long is told once."""
    begun = time.monotonic()
    pause, told = _FIRST_WAIT_S, False
    while not attempt():
        waited = time.monotonic() - begun
        if waited >= timeout_s:
            return False
        if not told and waited >= PATIENCE_S:
            told = True
            if _tell is not None:
                _tell(f"waiting up to {timeout_s:g} s for {writer_of(paths)}, which is writing {paths.lab}")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_WAIT_S)
    return True


def writer_of(paths: LabPaths, locks: str | None = None) -> str:
    """Who holds the write lock or writes past it: ``process 4242 (python)``,
    or ``another process`` where that is not known.

    Args:
        locks: the text of ``/proc/locks``; read from there where None
            (elsewhere than on Linux nobody is known).
    """
    try:
        lines = (Path("/proc/locks").read_text("ascii", "replace") if locks is None else locks).splitlines()
    except OSError:
        return "another process"
    held, written = _inode(paths.write_lock), _inode(paths.shm)
    for line in lines:
        fields = line.split()
        if len(fields) != 8 or fields[3] != "WRITE" or not fields[4].isdecimal():
            continue  # a lock that is waited for has an arrow before its kind
        kind, pid, file, first = fields[1], int(fields[4]), fields[5], fields[6]
        writes = kind in ("POSIX", "OFDLCK") and file == written and first == str(_SHM_WRITER)
        if pid > 0 and pid != os.getpid() and ((kind == "FLOCK" and file == held) or writes):
            return f"process {pid}{_name(pid)}"
    return "another process"


def _inode(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"


def _name(pid: int) -> str:
    try:
        found = Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return ""
    return f" ({found})" if found.isprintable() and found else ""
