"""Which file a WAL belongs to, and putting one aside that belongs to another. Standard library only.

SQLite takes whatever lies at ``lab.db-wal`` for the newest pages of ``lab.db``. Where the lab was replaced (a
backup moved or copied over it, another lab put in its place) while its WAL stayed, they would be folded into
the new file and destroy it. So whoever writes notes whose WAL it is, in ``lab.db.d/wal.json``, and whoever
opens a lab looks there first.

The same lab as it was earlier (``cp lab.db old.db``, more work, ``cp old.db lab.db``) has neither another
inode nor another id. So the file says how far it has come: whoever begins a WAL writes a new ``life`` into
the file at once, and each transaction counts ``changes`` up. What lies at the path belongs to the WAL if it
is the file as it was noted, or of the WAL's own life and has come as far.
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
COUNT = (
    "INSERT INTO lab (key, value) VALUES ('changes', '1') "
    "ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
)
"""Part of every transaction."""
Progress = tuple[str, int]
"""The life of the WAL that was last folded into a file, and the count of changes that it then had."""


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of what lies at a path; those of an open file are given to no other."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def origin(paths: LabPaths) -> list[str]:
    """The lab's id and, in a copy, that of the copy, as the file without its WAL has them; else empty."""
    return marks(_bare(paths, MARKS))


def progress(paths: LabPaths) -> Progress | None:
    """How far the file without its WAL has come; None where it does not say."""
    found = dict(_bare(paths, "SELECT key, value FROM lab WHERE key IN ('life', 'changes')"))
    try:
        return str(found["life"])[:100], int(str(found["changes"])[:20])
    except (KeyError, ValueError):
        return None


def _bare(paths: LabPaths, query: str) -> list[tuple[object, object]]:
    try:
        with closing(sqlite3.connect(paths.uri(mode="ro", immutable=1), uri=True)) as connection:
            # a fold of the WAL that was cut short is no damage (store.header)
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            return connection.execute(query).fetchall()
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


def begin(connection: sqlite3.Connection, paths: LabPaths) -> None:
    """Note that the WAL which is there belongs to the lab which is there; the write lock is held.

    A WAL that holds nothing yet gets a life, which is folded into the file at once: no earlier copy of the
    file has it.

    Raises:
        sqlite3.Error: there is no room for it.
    """
    lab, wal = identity(paths.lab), identity(paths.wal)
    if lab is None or wal is None:
        return
    noted = _noted(paths)
    if paths.wal.stat().st_size:
        if noted.get("lab") != list(lab) or noted.get("wal") != list(wal):
            _note(paths, {"lab": lab, "wal": wal, "origin": origin(paths)})
        return
    life = uuid.uuid4().hex
    # first, for a reader may look while the life is in the file and not yet noted
    _note(
        paths,
        {"lab": lab, "wal": wal, "origin": origin(paths), "progress": progress(paths), "life": life},
    )
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("INSERT OR REPLACE INTO lab (key, value) VALUES ('life', ?)", (life,))
        connection.execute(COUNT)
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    _note(
        paths,
        {"lab": lab, "wal": wal, "origin": origin(paths), "progress": progress(paths), "life": life},
    )


def note_fold(paths: LabPaths, now: Progress | None) -> None:
    """Note how far the file has come, after a fold; the write lock is held."""
    noted = _noted(paths)
    if noted.get("life") and now is not None:
        _note(paths, {**noted, "progress": now})


def _note(paths: LabPaths, note: dict[str, object]) -> None:
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
    if was and now and was != now:
        return True
    return is_earlier(paths)


def is_earlier(paths: LabPaths) -> bool:
    """Whether the file is known to be the lab as it was before the WAL began, or before a fold of it."""
    noted = _noted(paths)
    at, life = noted.get("progress"), noted.get("life")
    now = progress(paths)
    if not isinstance(at, list) or len(at) != 2 or not isinstance(at[1], int) or list(now or ()) == at:
        return False
    if now is None:
        return bool(origin(paths))  # a lab that was never written so; half of a file says nothing
    return now[0] != life or (at[0] == life and now[1] < at[1])


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


def left_behind(paths: LabPaths) -> list[Path]:
    """The WALs that were put aside."""
    return sorted(paths.backups.glob("*-left-behind.db-wal"))


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
