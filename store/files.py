"""Opening what lies beside a lab: never through a link, never another user's; and the lab's bytes without
SQLite. Standard library only.

What is found in a lab's folder may have come with the lab: a link planted there must not make labtui write
into the file it leads to.

POSIX drops every lock that a process has on a file as soon as the process closes *any* descriptor of it. Were
a lab opened and closed beside a SQLite connection in the same process, the next process to close its own
connection would believe that it is the last, fold the WAL in and delete it, and what this process commits
from then on would go into a deleted file. So a descriptor of a lab, once opened here, is kept until the
process ends; all else goes through SQLite, which knows of this.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path

_CAREFUL = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""O_NONBLOCK: never wait for the other end of a pipe that stands in a file's place."""


class UnusableError(OSError):
    """What stands at a path is not what labtui put there; ``strerror`` says what it is."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(errno.EPERM, what, str(path))


def open_own(path: Path, flags: int) -> int:
    """A descriptor of an ordinary file of this user,
    made (mode 0600) where ``flags`` have O_CREAT.

    Raises:
        UnusableError: a link, a folder, a pipe, another user's file, or one with a second name stands there.
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, (flags & ~os.O_TRUNC) | _CAREFUL, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnusableError(path, "is a link, through which nothing is written: remove it") from None
        if error.errno in (errno.EISDIR, errno.ENXIO):
            raise UnusableError(path, "is no ordinary file: remove what stands there") from None
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnusableError(path, "is no ordinary file: remove what stands there")
        if found.st_nlink > 1:
            raise UnusableError(path, "has a second name (a hard link), so it may be another file: remove it")
        if not _is_ours(found.st_uid, path.parent):
            raise UnusableError(path, "belongs to another user")
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def replace(path: Path, data: bytes) -> None:
    """Write a whole file (mode 0600) aside and put it in its place: a link there is replaced, not followed.

    Raises:
        OSError: no room, or the folder cannot be used; what was there stays.
    """
    aside = path.with_name(path.name + ".tmp")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CAREFUL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def own_folder(folder: Path) -> None:
    """Make a folder for the owner alone; one that others could enter is closed to them.

    Raises:
        UnusableError: a link, a file, or another user's folder stands there.
        OSError: it cannot be made.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise UnusableError(
            folder, "is a link; expected a folder of one's own beside the lab: remove the link"
        )
    if not stat.S_ISDIR(found.st_mode):
        raise UnusableError(folder, "is no folder; expected one of one's own beside the lab: move it away")
    if not _is_ours(found.st_uid, folder.parent):
        raise UnusableError(folder, "belongs to another user; expected a folder of one's own beside the lab")
    if stat.S_IMODE(found.st_mode) != 0o700:  # made under an odd umask, or opened up by a copy
        folder.chmod(0o700)


def _is_ours(owner: int, folder: Path) -> bool:
    """Of this user; root may work on what belongs to the owner of the folder that it lies in."""
    me = os.geteuid()
    return owner in (me, 0) or (me == 0 and owner == folder.stat().st_uid)


_kept: dict[tuple[int, int], int] = {}
_lock = threading.Lock()
_BLOCK = 1 << 20
_SHARED_FIRST = 0x40000002
_SHARED_SIZE = 510
"""The bytes that SQLite locks on the database file while a connection in WAL mode is open."""
_READ_FIRST = 123
_READ_SIZE = 5
"""Those that it locks on the index of the WAL while a transaction reads."""


def kept_descriptor(path: Path) -> int:
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


def copy_kept(source: Path, target: Path) -> None:
    """Copy a file through its kept descriptor.

    Raises:
        OSError: either cannot be used.
    """
    fd = kept_descriptor(source)
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


def oldest_reader(shm: Path) -> int | None:
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
        answer = struct.unpack(layout, fcntl.fcntl(kept_descriptor(path), fcntl.F_GETLK, asked))
    except OSError:
        return None
    return None if answer[0] == fcntl.F_UNLCK else int(answer[4])
