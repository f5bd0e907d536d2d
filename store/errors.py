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
    """Disk full, quota, a read-only remount or an I/O error; nothing was written, and the same can be tried again."""


class Fenced(LabError):
    """A newer supervisor has the lab; nothing was written."""


class Moved(LabError):
    """The open file is not the one at its path any more; nothing was written."""


class Illegal(LabError):
    """A change of state that is not allowed; nothing was written."""


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}


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
        return NotALab(f"{path} is damaged (text that is not UTF-8); expected a lab that `labtui db check` passes")
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
        return NotALab(f"{path} is damaged ({text}); expected a lab that `labtui db check` passes")
    return LabError(f"{path} cannot be read as a lab: {text}")
