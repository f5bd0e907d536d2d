"""The two locks of a lab: the write lock around each transaction, the supervisor's lock for its life; and
waiting for one that somebody else holds: who it is, and a word to the person who waits.

Standard library only.

Both are flock(2): the kernel frees them when the process dies, however it dies. A lock file is never deleted,
because a deleted one could be held by one process while another makes and holds a new one of the same name.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from store.errors import Busy, LabError, Supervised, from_os
from store.files import UnusableError, open_own
from store.json import mapping
from store.paths import LabPaths

TIMEOUT_S = 30.0
"""How long a write waits for another process where nothing else is said."""
PATIENCE_S = 1.0
"""So long nothing is said: the supervisor's own transactions take milliseconds."""
_FIRST_WAIT_S = 0.0005
_LONGEST_WAIT_S = 0.004
_LONG_S = 0.02
_GAP_S = 0.006
"""So long a lock that was held for long is left alone before the same process takes it again: longer than
others pause between two tries.
"""
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
    """Say a word to the person at this process, where somebody listens."""
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


try:
    import fcntl
except ImportError:  # pragma: no cover - Windows reads snapshots, which need no lock
    fcntl = None  # type: ignore[assignment]

_TOLD = 4096


def _open(path: Path) -> int:
    if fcntl is None:  # pragma: no cover
        raise LabError("this system has no flock; a lab can be read here, not written")
    try:
        return open_own(path, os.O_RDWR | os.O_CREAT)
    except UnusableError as error:
        raise LabError(f"{path}, a lock file, {error.strerror}") from None
    except OSError as error:
        raise from_os(error, path) from None


def _take(descriptor: int, timeout_s: float, paths: LabPaths) -> bool:
    """Poll for the lock: a blocking flock could not be given a time limit without signals."""

    def attempt() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    return patiently(attempt, timeout_s, paths)


def busy(paths: LabPaths, timeout_s: float) -> Busy:
    """What is said when another process has written for too long."""
    return Busy(
        f"{paths.lab} is being written by {writer_of(paths)} for more than {timeout_s:g} s; "
        "nothing was written"
    )


@contextmanager
def write_lock(paths: LabPaths, timeout_s: float | None = None) -> Iterator[None]:
    """Hold the lab's write lock: around every write transaction,
    every checkpoint of the WAL and every closing writer.

    Raises:
        Busy: another process held it for ``timeout_s`` seconds (``store.TIMEOUT_S`` where None).
    """
    timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
    paths.make_folder()
    descriptor = _open(paths.write_lock)
    try:
        if not _take(descriptor, timeout_s, paths):
            raise busy(paths, timeout_s)
        yield
    finally:
        os.close(descriptor)


def require_locks(paths: LabPaths) -> None:
    """Raises LabError unless the lab's folder and both locks in it can be used; makes what is missing."""
    paths.make_folder()
    for lock in (paths.write_lock, paths.supervisor_lock):
        os.close(_open(lock))


class HeldLock:
    """The write lock of a long-lived writer: the file stays open, so that taking it costs one system call."""

    def __init__(self, paths: LabPaths) -> None:
        paths.make_folder()
        self._paths = paths
        self._descriptor = _open(paths.write_lock)
        self._not_before = 0.0

    @contextmanager
    def hold(self, timeout_s: float) -> Iterator[None]:
        """Like :func:`write_lock`; whoever tries for it gets in between two long holds."""
        if (gap := self._not_before - time.monotonic()) > 0:
            time.sleep(gap)
        if not _take(self._descriptor, timeout_s, self._paths):
            raise busy(self._paths, timeout_s)
        begun = time.monotonic()
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            now = time.monotonic()
            self._not_before = now + _GAP_S if now - begun > _LONG_S else 0.0

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class SupervisorLock:
    """Held by the one supervisor of a lab for as long as it lives."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, paths: LabPaths, wait_s: float = 1.0, **holder: str | float) -> SupervisorLock:
        """Become the supervisor.

        Args:
            wait_s: how long to try; somebody who only asks whether a supervisor lives holds the lock
                for an instant.
            holder: what others are told (host, version, ...); the process id is added.

        Raises:
            Supervised: another one has it; the sentence says who.
            LabError: the lock cannot be used.
        """
        require_locks(paths)
        descriptor = _open(paths.supervisor_lock)
        if not _take(descriptor, wait_s, paths):
            os.close(descriptor)
            other = last_holder(paths)
            who = f"process {other.get('pid', '?')} on {other.get('host', 'this machine')}"
            raise Supervised(f"{paths.lab} already has a supervisor: {who}; expected none")
        lock = cls(descriptor)
        lock.tell("", **{"started": time.time(), **holder})
        return lock

    def tell(self, message: str, **holder: str | float) -> None:
        """Write what others are told of this process.

        Always of one length and written over what is there:
        so it needs no room, and a disk that is full keeps no word back.
        """
        who = {"pid": os.getpid(), "host": os.uname().nodename, **holder}
        while len(text := json.dumps({**who, "message": message}).encode()) > _TOLD and message:
            message = message[: len(message) // 2]
        with suppress(OSError):
            os.pwrite(self._descriptor, text.ljust(_TOLD), 0)

    def release(self) -> None:
        """Give it up; also when the process ends, in whatever way."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def newer(mine: str, theirs: object) -> bool:
    """Whether a version of labtui comes after another one, so that its supervisor is to take over."""
    return isinstance(theirs, str) and bool(theirs) and _numbers(mine) > _numbers(theirs)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part[:9]) for part in re.findall(r"[0-9]+", version[:40]))


def supervisor_alive(paths: LabPaths) -> bool:
    """Whether some process holds the supervisor's lock right now. Writes nothing."""
    if fcntl is None:  # pragma: no cover
        return False
    try:
        descriptor = open_own(paths.supervisor_lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    else:
        return False
    finally:
        os.close(descriptor)


def holder(paths: LabPaths) -> dict[str, Any]:
    """What the living supervisor told of itself (pid, host, started, version); empty where none lives."""
    return last_holder(paths) if supervisor_alive(paths) else {}


def last_holder(paths: LabPaths) -> dict[str, Any]:
    """The same of the last supervisor, whether or not it lives; empty where nothing can be read."""
    try:
        descriptor = open_own(paths.supervisor_lock, os.O_RDONLY)
    except OSError:
        return {}
    try:
        return mapping(os.read(descriptor, 4096))
    except OSError:
        return {}
    finally:
        os.close(descriptor)
