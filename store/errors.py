"""What can go wrong with a lab file, as one sentence for a person. Standard library only."""

# ruff: noqa: N818 - the names say what happened

from __future__ import annotations

import errno
import sqlite3


class LabError(Exception):
    """``str(error)`` is one sentence: what is wrong, where, and what was expected."""


class NotALab(LabError):
    """The file is missing, foreign, or damaged beyond reading."""


class NewerSchema(LabError):
    """The file was written by a newer labtui."""


class ReadOnlyLab(LabError):
    """The lab cannot be written here."""


class Busy(LabError):
    """Another process held a lock past the timeout; nothing was written."""


class NoRoom(LabError):
    """Disk full, quota, a read-only remount or an I/O error;
    nothing was written, and the same can be tried again.
    """


class Fenced(LabError):
    """A newer supervisor has the lab; nothing was written."""


class Moved(LabError):
    """The open file is not the one at its path any more; nothing was written."""


class Overwritten(Moved):
    """Something else was written into the open file itself, which does not come back."""


class Supervised(LabError):
    """Another supervisor has the lab."""


class Illegal(LabError):
    """A change of state that is not allowed; nothing was written."""


OPENED = "; opened read-only"
"""How the sentence of a lab ends that could be opened, but not to write."""
LOOK = "; look at it with --read-only, or take a copy of your own with `labtui snapshot OUT`"


def refusal(notice: str) -> str:
    """The sentence for somebody who wanted to write: the same reason, and the way out."""
    return notice.removesuffix(OPENED) + LOOK


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}


def damaged(how: str, path: object) -> NotALab:
    """The error about a lab that cannot be read any more."""
    return NotALab(
        f"{path} is damaged ({how}); expected a sound lab: its backups, if any, are in {path}.d/backups"
    )


def from_os(error: OSError, path: object) -> LabError:
    """The LabError for an error of the operating system at ``path``."""
    words = error.strerror or type(error).__name__
    if error.errno in _NO_ROOM:
        return NoRoom(f"{path} cannot be written: {words}")
    return LabError(f"{path} cannot be used: {words}")


def from_sqlite(error: sqlite3.Error | UnicodeDecodeError, path: object) -> LabError:
    """The LabError for an error of SQLite on the lab at ``path``.

    A UnicodeDecodeError is one too: a damaged file can put anything into SQLite's own message.
    """
    if isinstance(error, UnicodeDecodeError):
        return damaged("text that is not UTF-8", path)
    text = " ".join(str(error).split())[:300]  # SQLite quotes a damaged schema at any length
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or "is locked" in text:
        return Busy(f"{path} is locked by another process; nothing was written")
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) or "disk is full" in text or "disk I/O" in text:
        return NoRoom(f"{path} cannot be written: {text}")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM) or "readonly" in text:
        return NoRoom(f"{path} cannot be written: {text}")
    if code == sqlite3.SQLITE_CANTOPEN:
        return NoRoom(f"{path} cannot be opened: {text}")
    if code == sqlite3.SQLITE_NOTADB:
        return NotALab(f"{path} is not a lab: {text}")
    if code == sqlite3.SQLITE_CORRUPT:
        return damaged(text, path)
    return LabError(f"{path} cannot be read as a lab: {text}")
