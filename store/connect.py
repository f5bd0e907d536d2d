"""Opening a lab with the standard library's sqlite3: to read, or to leave a command.

Never creates, never upgrades.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from store import files, locks, wal
from store.errors import (
    OPENED,
    LabError,
    NewerSchema,
    NoRoom,
    NotALab,
    ReadOnlyLab,
    damaged,
    from_os,
    from_sqlite,
    refusal,
)
from store.files import open_own
from store.header import APPLICATION_ID, MOST, check_header, refused
from store.locks import busy, supervisor_alive, write_lock
from store.paths import LabPaths, network_filesystem, refuse_place, second_name

SCHEMA = 1
"""PRAGMA user_version: one more with each migration."""
TABLES = (
    "calibration", "cell", "cell_part", "command", "curve", "device", "event", "job", "job_text", "lab",
    "probe", "speed", "study", "study_job", "supervisor", "trial",
)  # fmt: skip
if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

_ASIDE_S = 2.0
"""How long a look at a lab waits for the lock to put a WAL aside that is not its own."""
_MAX_VALUE_BYTES = 64 << 20


@dataclass
class Opened:
    """A connection that reads."""

    connection: sqlite3.Connection
    paths: LabPaths
    schema: int
    read_only: bool
    notice: str
    copy: TemporaryDirectory[str] | None
    no_room: bool = False
    still: bool = False
    """It sees the lab as it lay there when it was opened: what is written later is not seen."""

    def wal_now(self) -> tuple[int, ...]:
        """What tells whether more was written to the WAL."""
        try:
            found = self.paths.wal.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size

    def close(self) -> None:
        self.connection.close()
        if self.copy is not None:
            self.copy.cleanup()
            self.copy = None


def open_for_reading(path: str | os.PathLike[str], *, read_only: bool = False) -> Opened:
    """Open a lab to look at it.

    A live lab is opened beside its supervisor, in a mode in which SQLite can neither write nor checkpoint.
    With ``read_only``, or where nothing can be written, not a byte changes beside the file: without a
    ``-wal`` it is opened as immutable; with one and no supervisor it is copied to a private temporary folder
    first.

    Raises:
        NotALab: there is none, or the file is something else.
        LabError: it cannot be read.
    """
    paths = LabPaths(path)
    paths.require_file()
    check_header(paths.lab)
    stale = wal.foreign(paths)
    if stale and not read_only:
        with suppress(LabError), write_lock(paths, _ASIDE_S):
            if wal.foreign(paths):
                wal.put_aside(paths)
            stale = False
    notice = ""
    if not read_only:
        notice = _why_not_writable(paths)
        read_only = bool(notice)
    try:
        return _open(paths, read_only, notice, stale=stale)
    except NoRoom:
        if read_only:
            raise
        # a disk without room for SQLite's index of the WAL can still be read from
        why = "the disk is full or failed"
        if _has_bytes(paths.journal):
            why = f"{paths.journal.name} holds a write that was cut short, which one to come takes back"
        notice = f"{paths.lab} cannot be written: {why}{OPENED}"
        opened = _open(paths, True, notice, live=False, stale=stale)
        opened.no_room = True
        return opened


def _open(paths: LabPaths, read_only: bool, notice: str, *, stale: bool, live: bool = True) -> Opened:
    copy = None
    live = live and not stale and (not read_only or _live(paths))
    try:
        if live:
            connection = _connect(paths.uri(mode="ro"))
        elif (stale or not _has_bytes(paths.wal)) and not _has_bytes(paths.journal):
            connection = _connect(paths.uri(mode="ro", immutable=1))
        else:
            copy = _private_copy(paths, stale=stale)
            connection = _connect(LabPaths(Path(copy.name) / "lab.db").uri(mode="rw"))
    except sqlite3.Error as error:
        if copy is not None:
            copy.cleanup()
        raise from_sqlite(error, paths.lab) from None
    opened = Opened(connection, paths, 0, read_only, notice, copy, still=not live)
    try:
        opened.schema = validate(connection, paths.lab)
    except BaseException:
        opened.close()
        raise
    if opened.schema > SCHEMA:
        opened.read_only = True
        opened.notice = opened.notice or f"{newer(opened.schema, paths.lab)}{OPENED}"
    return opened


@contextmanager
def writing(path: str | os.PathLike[str], *, timeout_s: float | None = None) -> Iterator[sqlite3.Connection]:
    """One write transaction on an existing lab of this schema:
    BEGIN IMMEDIATE under the write lock, committed at the end.

    Raises:
        LabError: there is no lab, it cannot be written here, it is of another schema,
        or it was locked for ``timeout_s``
            (``store.locks.TIMEOUT_S`` where None).
    """
    timeout_s = locks.TIMEOUT_S if timeout_s is None else timeout_s
    paths = LabPaths(path)
    paths.require_file()
    check_header(paths.lab)
    reason = _why_not_writable(paths)
    if reason:
        raise ReadOnlyLab(refusal(reason))
    refuse_place(paths)
    try:
        # the lock outlives close(): the last connection of all to close checkpoints the WAL
        with write_lock(paths, timeout_s):
            if wal.foreign(paths):
                wal.put_aside(paths)
            connection = _connect(paths.uri(mode="rw"))
            try:
                require_schema(validate(connection, paths.lab), paths.lab)
                connection.execute("PRAGMA foreign_keys = ON")
                if not locks.patiently(lambda: _begun(connection), timeout_s, paths):
                    raise busy(paths, timeout_s)
                connection.execute("ROLLBACK")
                wal.begin(connection, paths)
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(wal.COUNT)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                connection.close()
    except sqlite3.Error as error:
        raise from_sqlite(error, paths.lab) from None


def _begun(connection: sqlite3.Connection) -> bool:
    """Whether a write transaction could begin; somebody may write past the write lock."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        return False
    connection.execute("PRAGMA busy_timeout = 5000")
    return True


def require_schema(schema: int, path: Path) -> None:
    """Raises LabError unless the lab has exactly this program's schema."""
    if schema > SCHEMA:
        raise NewerSchema(refusal(newer(schema, path)))
    if schema < SCHEMA:
        old = f"{path} was written by an older labtui (schema {schema}, this one has {SCHEMA})"
        raise LabError(f"{old}; upgrade it, with a backup first: `labtui db upgrade`")


def newer(schema: int, path: Path) -> str:
    """The sentence about a lab that this program is too old for."""
    return f"{path} was written by a newer labtui (schema {schema}, this one has {SCHEMA}): update labtui"


def _live(paths: LabPaths) -> bool:
    """Somebody has the lab open, so that its WAL is in use and can be read where it lies."""
    return paths.shm.exists() and (supervisor_alive(paths) or files.used_by_another_process(paths.lab))


def _why_not_writable(paths: LabPaths) -> str:
    kind = network_filesystem(paths.lab)
    if kind is not None:
        return f"{paths.lab} lies on a network disk ({kind}), where a lab cannot be live{OPENED}"
    if reason := second_name(paths):
        return f"{reason}{OPENED}"
    if not os.access(paths.lab, os.W_OK):
        return f"{paths.lab} cannot be written by this user{OPENED}"
    if not os.access(paths.lab.parent, os.W_OK):
        return f"{paths.lab.parent}, the folder of {paths.lab.name}, cannot be written by this user{OPENED}"
    return ""


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _private_copy(paths: LabPaths, *, stale: bool) -> TemporaryDirectory[str]:
    """The lab with WAL and journal in a folder of our own (0700), where SQLite recovers what they hold."""
    import tempfile  # 8 ms with what it loads; hardly ever needed

    copy = tempfile.TemporaryDirectory(prefix="labtui-", ignore_cleanup_errors=True)
    try:
        with _quiet(paths):
            files.copy_kept(paths.lab, Path(copy.name) / "lab.db")
            for beside, name in ((paths.wal, "lab.db-wal"), (paths.journal, "lab.db-journal")):
                if _has_bytes(beside) and not (stale and beside == paths.wal):
                    files.copy_kept(beside, Path(copy.name) / name)
    except OSError as error:
        copy.cleanup()
        raise from_os(error, paths.lab) from None
    return copy


@contextmanager
def _quiet(paths: LabPaths) -> Iterator[None]:
    """Hold off writers during a copy, where there is a lock file to hold; makes none."""
    try:
        descriptor = open_own(paths.write_lock, os.O_RDONLY)
    except OSError:
        yield
        return
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    except ImportError:  # pragma: no cover - Windows
        yield
    finally:
        os.close(descriptor)


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0, cached_statements=256
    )
    try:
        harden(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def harden(connection: sqlite3.Connection) -> None:
    """Settings of every connection: no checkpoint of its own,
    no trust in what the file's schema could run.
    """
    for pragma in ("wal_autocheckpoint = 0", "trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
        connection.execute(f"PRAGMA {pragma}")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 1)


def validate(connection: sqlite3.Connection, path: Path) -> int:
    """Tell the schema of an open lab.

    Raises:
        NotALab: a table is missing, or something stands in the file that no lab has (``store.header``).
    """
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
        master = connection.execute(f"SELECT type, name, sql FROM sqlite_master LIMIT {MOST + 1}").fetchall()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise from_sqlite(error, path) from None
    if application != APPLICATION_ID:
        raise NotALab(
            f"{path} is not a lab: it is another program's database; expected a file that labtui made"
        )
    for kind, name, sql in master:
        if refused(kind, sql):
            what = f"{str(kind)[:20]} {str(name)[:60]!r}"
            raise NotALab(
                f"{path} holds the {what} of a kind which no lab has; expected a file that labtui made"
            )
    if len(master) > MOST:
        raise NotALab(f"{path} holds more than {MOST} tables and indices; expected a file that labtui made")
    have = {name for kind, name, _ in master if kind == "table"}
    missing = [name for name in TABLES if name not in have]
    if missing and schema >= SCHEMA:
        raise damaged(f"the table {missing[0]!r} is missing", path)
    return schema
