"""Opening what lies beside a lab: never through a link, never another user's. Standard library only.

What is found in a lab's folder may have come with the lab: a link planted there must not make labtui write
into the file it leads to.
"""

from __future__ import annotations

import errno
import os
import stat
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
