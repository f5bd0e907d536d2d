"""Which file a WAL belongs to, and putting one aside that belongs to another. Standard library only.

SQLite takes whatever lies at ``lab.db-wal`` for the newest pages of ``lab.db``. Where the lab was replaced (a
backup moved or copied over it, another lab put in its place) while its WAL stayed, they would be folded into
the new file and destroy it. So whoever writes notes whose WAL it is, in ``lab.db.d/wal.json``, and whoever
opens a lab looks there first.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from contextlib import closing, suppress
from pathlib import Path

from store import locks
from store.errors import LabError
from store.files import open_own, replace
from store.json import mapping
from store.paths import LabPaths

_NOTE_BYTES = 4096
MARKS = "SELECT key, value FROM lab WHERE key IN ('id', 'copy')"
"""What tells a lab, and a copy of it, from every other; written when the file is made, and never again."""


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of what lies at a path; those of an open file are given to no other."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def origin(paths: LabPaths) -> list[str]:
    """The lab's id and, in a copy, that of the copy, as the file without its WAL has them; else empty."""
    try:
        with closing(sqlite3.connect(paths.uri(mode="ro", immutable=1), uri=True)) as connection:
            # a fold of the WAL that was cut short is no damage (store.header)
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            return marks(connection.execute(MARKS).fetchall())
    except (sqlite3.Error, UnicodeDecodeError):
        return []


def marks(rows: list[tuple[object, object]]) -> list[str]:
    """The same of the rows of ``MARKS``."""
    return sorted(f"{key} {value}"[:200] for key, value in rows)


def stamp_copy(connection: sqlite3.Connection) -> None:
    """Give a copy a mark of its own, so that a WAL of the lab it was made of is no WAL of the copy's."""
    connection.execute(
        "INSERT OR REPLACE INTO lab (key, value) VALUES ('copy', ?)",
        (uuid.uuid4().hex,),
    )


def note_owner(paths: LabPaths) -> None:
    """Note that the WAL which is there belongs to the lab which is there; the write lock is held."""
    lab, wal = identity(paths.lab), identity(paths.wal)
    if lab is None or wal is None:
        return
    noted = _noted(paths)
    if noted.get("lab") == list(lab) and noted.get("wal") == list(wal):
        return
    note = {"lab": lab, "wal": wal, "origin": origin(paths)}
    with suppress(OSError):
        replace(paths.wal_note, json.dumps(note).encode())


def foreign(paths: LabPaths) -> bool:
    """Whether the WAL beside the lab is known to belong to another file; nothing of it is read."""
    wal, lab = identity(paths.wal), identity(paths.lab)
    try:
        if not paths.wal.stat().st_size:
            return False  # a reader has just made it
    except OSError:
        return False
    noted = _noted(paths)
    if wal is None or lab is None or noted.get("wal") != list(wal):
        return False
    if noted.get("lab") != list(lab):
        return True
    was, now = noted.get("origin"), origin(paths)
    return bool(was and now) and was != now


def put_aside(paths: LabPaths) -> Path:
    """Move the WAL of another file, and its index, into the folder of backups; the write lock is held.

    Raises:
        LabError: they cannot be moved.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    target = paths.backups / f"{paths.lab.stem}-{stamp}-{uuid.uuid4().hex[:6]}-left-behind.db-wal"
    try:
        paths.shm.unlink(missing_ok=True)
        paths.wal.rename(target)
    except FileNotFoundError:
        return target
    except OSError as error:
        raise LabError(f"{paths.wal} belongs to another file and cannot be moved: {error.strerror}") from None
    locks.tell(f"{paths.wal} belonged to the file that lay at {paths.lab} before; it is {target} now")
    return target


def _noted(paths: LabPaths) -> dict[str, object]:
    try:
        descriptor = open_own(paths.wal_note, os.O_RDONLY)
    except OSError:
        return {}
    try:
        return mapping(os.read(descriptor, _NOTE_BYTES))
    except OSError:
        return {}
    finally:
        os.close(descriptor)
