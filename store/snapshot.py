"""One good file out of a lab, live or not: a plain copy of a live WAL database is broken.

Standard library only.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from store import wal
from store.connect import SCHEMA, open_for_reading, require_schema, writing
from store.errors import LabError, NotALab, from_os, from_sqlite
from store.locks import SupervisorLock, supervisor_alive, write_lock
from store.paths import LabPaths, refuse_place

KEEP_BACKUPS = 5
_PAGES_AT_ONCE = 2048


def snapshot(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    read_only: bool = False,
) -> Path:
    """Write a compact copy of the lab to ``out``, mode 0600; it opens anywhere, appears whole or not at all.

    Nobody is stopped meanwhile, however long it takes: it reads one state of the lab (VACUUM INTO).

    Raises:
        LabError: ``out`` exists, is the lab itself, or cannot be written.
    """
    target = Path(os.path.abspath(os.fspath(out)))  # noqa: PTH100
    source = LabPaths(path)
    if os.path.lexists(target) and not overwrite:  # a link that leads nowhere too
        raise LabError(f"{target} is there already; expected a new file")
    if target.exists() and source.lab.exists() and target.samefile(source.lab):
        raise LabError(f"{target} is the lab itself; expected another file name")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    opened = open_for_reading(path, read_only=read_only)
    with closing(opened), _aside(temporary, target, source.lab):
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        opened.connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 2)  # VACUUM INTO attaches its target
        opened.connection.execute("VACUUM INTO ?", (str(temporary),))
        _stamp(temporary, opened.connection)
        _verify(temporary)
        _place(temporary, target)
    return target


@contextmanager
def _aside(temporary: Path, target: Path, source: Path) -> Iterator[None]:
    """Take away what is written aside, however that ends; a fault is told of the file that was asked for, and
    damage of the one that was read.
    """
    try:
        yield
    except OSError as error:
        raise from_os(error, target) from None
    except sqlite3.Error as error:
        found = from_sqlite(error, target)
        raise (from_sqlite(error, source) if isinstance(found, NotALab) else found) from None
    finally:
        temporary.unlink(missing_ok=True)


def backup(
    path: str | os.PathLike[str],
    *,
    label: str = "manual",
    progress: Callable[[float, float], None] | None = None,
) -> Path:
    """Write a checked page-by-page copy into ``lab.db.d/backups``; the newest few are kept.

    Args:
        progress: told how many pages are copied, of how many.

    Raises:
        LabError: it cannot be written, or the copy fails its check.
    """
    paths = LabPaths(path)
    opened = open_for_reading(path)
    try:
        paths.make_folder()
        return _backup(paths, opened.connection, label, progress)
    finally:
        opened.close()


def backup_locked(paths: LabPaths, connection: sqlite3.Connection, label: str) -> Path:
    """Write it from a connection whose owner holds the write lock."""
    return _backup(paths, connection, label)


def vacuum(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Give free pages back to the disk; (bytes before, bytes after).

    Raises:
        LabError: a supervisor has the lab, or there is no room for the copy that it takes.
    """
    paths = LabPaths(path)
    with writing(path):
        pass  # it is a lab of this schema that can be written
    with write_lock(paths):
        if supervisor_alive(paths):
            raise LabError(
                f"{paths.lab} has a supervisor; expected none during a vacuum: `labtui daemon stop`"
            )
        before = paths.lab.stat().st_size
        try:
            with closing(
                sqlite3.connect(paths.uri(mode="rw"), uri=True, isolation_level=None, timeout=5.0)
            ) as connection:
                connection.execute("PRAGMA wal_autocheckpoint = 0")
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise from_sqlite(error, paths.lab) from None
    return before, paths.lab.stat().st_size


def restore(path: str | os.PathLike[str], backup_file: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Put a backup in the lab's place; (the copy of what was there, the folder that its checkpoints went to).

    The backup is checked first; the lab as it was goes into its folder of backups. Nobody may supervise it.

    Raises:
        LabError: the backup is no sound lab, or the lab is in use; nothing was changed.
    """
    paths, source = LabPaths(path), LabPaths(backup_file)
    if source.lab == paths.lab:
        raise LabError(f"{source.lab} is the lab itself; expected a backup of it")
    refuse_place(paths)
    paths.make_folder()
    part = paths.folder / f"restored-{os.getpid()}.part"
    opened = open_for_reading(source.lab, read_only=True)
    try:
        require_schema(min(opened.schema, SCHEMA) if opened.schema <= SCHEMA else opened.schema, source.lab)
    except LabError:
        opened.close()
        raise
    lock = None
    try:
        lock = SupervisorLock.acquire(paths)
        with write_lock(paths):
            part.unlink(missing_ok=True)
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            with closing(sqlite3.connect(part, isolation_level=None)) as copy:
                opened.connection.backup(copy, pages=_PAGES_AT_ONCE, sleep=0)
                copy.execute("PRAGMA journal_mode = DELETE")
                wal.stamp_copy(copy)
            _verify(part)
            old = _put_aside(paths)
            checkpoints = old.with_suffix(".checkpoints")
            paths.checkpoints.rename(checkpoints)
            _place(part, paths.lab)
            paths.make_folder()
    except OSError as error:
        raise from_os(error, paths.lab) from None
    except sqlite3.Error as error:
        raise from_sqlite(error, source.lab) from None
    finally:
        part.unlink(missing_ok=True)
        opened.close()
        if lock is not None:
            lock.release()
    return old, checkpoints


def _put_aside(paths: LabPaths) -> Path:
    """The lab as it is, in the folder of backups under a name that no later backup takes away."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    old = paths.backups / f"replaced-{paths.lab.stem}-{stamp}-{os.getpid()}.db"
    if paths.lab.exists():
        paths.lab.rename(old)
    if paths.wal.exists() and wal.foreign(paths):
        wal.put_aside(paths)
    elif paths.wal.exists():
        paths.wal.rename(old.with_name(old.name + "-wal"))
    if paths.journal.exists():  # SQLite would roll it back into what is put here
        paths.journal.rename(old.with_name(old.name + "-journal"))
    paths.shm.unlink(missing_ok=True)
    return old


def _backup(
    paths: LabPaths,
    connection: sqlite3.Connection,
    label: str,
    progress: Callable[[float, float], None] | None = None,
) -> Path:
    def tell(_status: int, left: int, total: int) -> None:
        if progress is not None:
            progress(total - left, total)

    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    target = paths.backups / f"{paths.lab.stem}-{stamp}-{label}.db"
    number = 1
    while target.exists():
        number += 1
        target = paths.backups / f"{paths.lab.stem}-{stamp}-{label}-{number}.db"
    temporary = target.with_suffix(".part")
    with _aside(temporary, target, paths.lab):
        temporary.unlink(missing_ok=True)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
            connection.backup(copy, pages=_PAGES_AT_ONCE, progress=tell, sleep=0)
            copy.execute("PRAGMA journal_mode = DELETE")
            wal.stamp_copy(copy)
        _verify(temporary)
        _place(temporary, target)
        for old in sorted(paths.backups.glob(f"{paths.lab.stem}-*.db"), key=lambda p: p.stat().st_mtime)[
            :-KEEP_BACKUPS
        ]:
            if old != target:
                old.unlink(missing_ok=True)
    return target


def _stamp(path: Path, source: sqlite3.Connection) -> None:
    """VACUUM INTO keeps neither identity nor schema number in every version of SQLite."""
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        for name in ("application_id", "user_version"):
            value = int(source.execute(f"PRAGMA {name}").fetchone()[0])
            copy.execute(f"PRAGMA {name} = {value}")
        wal.stamp_copy(copy)


def _verify(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        found = copy.execute("PRAGMA quick_check(1)").fetchone()
        if found is None or found[0] != "ok":
            raise LabError(
                f"the copy {path} fails its check ({found[0] if found else 'no answer'}); "
                "the lab may be damaged"
            )


def _place(temporary: Path, target: Path) -> None:
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
