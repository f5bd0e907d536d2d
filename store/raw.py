"""The lab's bytes without SQLite. Standard library only.

POSIX drops every lock that a process has on a file as soon as the process closes *any* descriptor of it. Were
a lab opened and closed beside a SQLite connection in the same process, the next process to close its own
connection would believe that it is the last, fold the WAL in and delete it, and what this process commits
from then on would go into a deleted file. So a descriptor of a lab, once opened here, is kept until the
process ends; all else goes through SQLite, which knows of this.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from pathlib import Path

_kept: dict[tuple[int, int], int] = {}
_lock = threading.Lock()
_BLOCK = 1 << 20
_SHARED_FIRST = 0x40000002
_SHARED_SIZE = 510
"""The bytes that SQLite locks on the database file while a connection in WAL mode is open."""
_READ_FIRST = 123
_READ_SIZE = 5
"""Those that it locks on the index of the WAL while a transaction reads."""


def descriptor(path: Path) -> int:
    """A read-only descriptor of the file that is never closed.

    Raises:
        OSError: it cannot be opened.
    """
    with _lock:
        found = os.stat(path)  # noqa: PTH116
        key = (found.st_dev, found.st_ino)
        if key not in _kept:
            _kept[key] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return _kept[key]


def copy(source: Path, target: Path) -> None:
    """Copy a file through its kept descriptor.

    Raises:
        OSError: either cannot be used.
    """
    fd = descriptor(source)
    with target.open("wb") as out:
        offset = 0
        while block := os.pread(fd, _BLOCK, offset):
            out.write(block)
            offset += len(block)


def used_by_another_process(path: Path) -> bool:
    """Whether some other process has the database open (it then holds SQLite's shared lock).

    Writes nothing, takes nothing.

    False where that cannot be asked (elsewhere than on 64-bit Linux).
    """
    return _locker(path, _SHARED_FIRST, _SHARED_SIZE) is not None


def reader(shm: Path) -> int | None:
    """The id of another process that reads an old state of the database whose index of the WAL this is;
    None: none known.
    """
    return _locker(shm, _READ_FIRST, _READ_SIZE) or None


def _locker(path: Path, first: int, size: int) -> int | None:
    """The id of a process that has locked any of these bytes; 0 where it is in another container."""
    if not sys.platform.startswith("linux") or sys.maxsize < 1 << 32:
        return None
    import fcntl

    layout = "hhqqi4x"
    asked = struct.pack(layout, fcntl.F_WRLCK, os.SEEK_SET, first, size, 0)
    try:
        answer = struct.unpack(layout, fcntl.fcntl(descriptor(path), fcntl.F_GETLK, asked))
    except OSError:
        return None
    return None if answer[0] == fcntl.F_UNLCK else int(answer[4])
