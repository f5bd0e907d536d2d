"""Create a lab, or bring an older one up to this program's schema with a verified backup first."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
import uuid
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from store.connect import SCHEMA, open_for_reading, require_schema
from store.errors import OPENED, LabError, NoRoom, NotALab, ReadOnlyLab, from_os, from_sqlite, refusal
from store.header import check_header
from store.locks import supervisor_alive, write_lock
from store.migrate import SCRIPTS, migrate
from store.paths import LabPaths, refuse_place
from store.snapshot import backup_locked
from store.write.tx import connect, engine_on, unwrap


def create_or_open(path: str | os.PathLike[str]) -> None:
    """Make sure that there is a lab of this schema at ``path``.

    A new one appears whole or not at all. An older one is copied to ``lab.db.d/backups`` first,
    the copy is checked, and then it is upgraded in one transaction.

    Raises:
        LabError: the file is something else, newer, or cannot be written; nothing was changed.
    """
    paths = LabPaths(path)
    refuse_place(paths)
    if not paths.lab.parent.is_dir():
        raise LabError(f"there is no folder {paths.lab.parent}; expected one to make {paths.lab.name} in")
    if _exists(paths):
        _open_existing(paths)
        return
    with write_lock(paths):
        if not _exists(paths):
            _create(paths)


def _exists(paths: LabPaths) -> bool:
    try:
        found = paths.lab.stat()
        if not stat.S_ISREG(
            found.st_mode
        ):  # a new lab takes the place of an empty file, never that of a device or a pipe
            raise NotALab(f"{paths.lab} is not a file; expected a lab that labtui made, or a new name")
        return found.st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise from_os(error, paths.lab) from None


def _open_existing(paths: LabPaths) -> None:
    opened = open_for_reading(paths.lab)
    schema, notice = opened.schema, opened.notice
    opened.close()
    if opened.no_room:
        raise NoRoom(notice.removesuffix(OPENED))
    if schema >= SCHEMA:
        require_schema(schema, paths.lab)
    if notice:
        raise ReadOnlyLab(refusal(notice))
    if schema < SCHEMA:
        upgrade(paths.lab)


def _create(paths: LabPaths) -> None:
    building = LabPaths(paths.folder / f"new-{os.getpid()}.db")
    try:
        os.close(os.open(building.lab, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = connect(building, create=True)
        try:
            engine = engine_on(connection)
            with engine.begin() as opened:
                migrate(opened)
                facts = {"id": uuid.uuid4().hex, "created_at": repr(time.time()), "hold": "0"}
                for key, value in facts.items():
                    opened.exec_driver_sql("INSERT INTO lab (key, value) VALUES (?, ?)", (key, value))
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        building.lab.replace(paths.lab)
        _sync_folder(paths.lab.parent)
    except OSError as error:
        raise from_os(error, paths.lab) from None
    except sqlite3.Error as error:
        raise from_sqlite(error, paths.lab) from None
    except DBAPIError as error:
        raise unwrap(error, paths) from None
    finally:
        for leftover in (building.lab, building.wal, building.shm):
            leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def upgrade(
    path: str | os.PathLike[str],
    *,
    schema: int = SCHEMA,
    scripts: Path = SCRIPTS,
    revision: str | None = None,
) -> Path | None:
    """Upgrade a lab in place; the path of the verified backup, None where nothing was to do.

    Args:
        schema, scripts, revision: the aim, for tests of the mechanism.

    Raises:
        LabError: a supervisor has the lab, the backup failed its check,
        or the upgrade failed and was rolled back.
    """
    paths = LabPaths(path)
    paths.require_file()
    check_header(paths.lab)
    with write_lock(paths):
        if supervisor_alive(paths):
            raise LabError(
                f"{paths.lab} has a supervisor of an older labtui; "
                "expected none during an upgrade: `labtui daemon stop`"
            )
        try:
            connection = connect(paths)
        except sqlite3.Error as error:
            raise from_sqlite(error, paths.lab) from None
        try:
            have = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if have >= schema:
                return None
            saved = backup_locked(paths, connection, f"schema-{have}")
            connection.execute("PRAGMA foreign_keys = OFF")  # batch migrations rebuild tables; checked below
            with engine_on(connection).begin() as opened:
                migrate(opened, schema=schema, scripts=scripts, revision=revision)
                broken = opened.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
                if broken:
                    raise LabError(
                        f"the upgrade of {paths.lab} would break {len(broken)} references; "
                        "nothing was changed"
                    )
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise from_sqlite(error, paths.lab) from None
        except DBAPIError as error:
            raise unwrap(error, paths) from None
        finally:
            connection.close()
    return saved
