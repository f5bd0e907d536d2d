"""Writes on the lab itself: it is created, or brought up to this program's schema with a verified backup
first; who has it, what it runs on, what was measured.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from store.connect import SCHEMA, open_for_reading, require_schema
from store.decode import DEVICES, document
from store.errors import OPENED, LabError, NoRoom, NotALab, ReadOnlyLab, from_os, from_sqlite, refusal
from store.header import check_header
from store.locks import supervisor_alive, write_lock
from store.migrations import SCRIPTS, migrated
from store.paths import LabPaths, refuse_place
from store.rows import DeviceRow, NodeRow
from store.snapshot import backup_locked
from store.write.tx import Tx, connect


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
            with migrated(connection):
                facts = {"id": uuid.uuid4().hex, "created_at": repr(time.time()), "hold": "0"}
                connection.executemany("INSERT INTO lab (key, value) VALUES (?, ?)", facts.items())
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        building.lab.replace(paths.lab)
        _sync_folder(paths.lab.parent)
    except OSError as error:
        raise from_os(error, paths.lab) from None
    except sqlite3.Error as error:
        raise from_sqlite(error, paths.lab) from None
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
            with migrated(connection, schema=schema, scripts=scripts, revision=revision):
                broken = connection.execute("PRAGMA foreign_key_check").fetchall()
                if broken:
                    raise LabError(
                        f"the upgrade of {paths.lab} would break {len(broken)} references; "
                        "nothing was changed"
                    )
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise from_sqlite(error, paths.lab) from None
        finally:
            connection.close()
    return saved


NEW_SUPERVISOR = {"state": "running", "message": ""}
"""What its row begins with, as ``store.schema`` says (a test holds them together)."""
KEEP_EVENTS = 200_000
PRUNED_AT_ONCE = 5_000
_SPEED_WEIGHT = 0.3
"""Of a new measurement against what is stored."""


@dataclass(frozen=True)
class Identity:
    """Who claims the lab."""

    pid: int
    process_started: float
    """Unix seconds; a pid alone may be another process by now."""
    host: str
    boot_id: str
    version: str


def claim(tx: Tx, identity: Identity) -> int:
    """Become the lab's supervisor, under a new epoch.

    From its commit on, transactions of older epochs are refused.
    """
    epoch = int(tx.rows("SELECT COALESCE(max(epoch), 0) + 1 FROM supervisor")[0][0])
    times = {"started_at": tx.now, "heartbeat_at": tx.now}
    tx.put("supervisor", NEW_SUPERVISOR | asdict(identity) | times | {"epoch": epoch})
    tx.epoch = epoch
    tx.event("supervisor.started", f"supervisor {epoch} began on {identity.host}", data={"pid": identity.pid})
    return epoch


def heartbeat(tx: Tx, state: str = "running", message: str = "") -> None:
    """Note that the supervisor lives, and what it is doing."""
    tx.run(
        "UPDATE supervisor SET heartbeat_at = :now, state = :state, message = :message WHERE epoch = :epoch",
        now=tx.now,
        state=state,
        message=message[:1000],
        epoch=tx.epoch,
    )
    if state == "stopped":
        tx.event("supervisor.stopped", f"supervisor {tx.epoch} ended" + (f": {message}" if message else ""))


def holding(tx: Tx) -> bool:
    """Somebody holds the queue: nothing new may start."""
    return bool(tx.rows("SELECT 1 FROM lab WHERE key = 'hold' AND value = '1'"))


def set_fact(tx: Tx, key: str, value: str) -> None:
    """Store a fact about the lab itself."""
    tx.run(
        "INSERT INTO lab (key, value) VALUES (:key, :value) ON CONFLICT (key) "
        "DO UPDATE SET value = excluded.value",
        key=key,
        value=value,
    )


def fact(tx: Tx, key: str) -> str | None:
    """What :func:`set_fact` stored."""
    found = tx.rows("SELECT value FROM lab WHERE key = :key", key=key)
    return str(found[0][0]) if found else None


def set_devices(tx: Tx, devices: Sequence[DeviceRow]) -> None:
    """Store the devices that are there; those that are not there any more become lost."""
    names = DEVICES.columns
    upsert = (
        f"INSERT INTO device ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)}) "
        f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in names)}"
    )
    there = {device.id for device in devices}
    for row in tx.rows("SELECT id, state FROM device"):
        if row.id not in there and row.state != "lost":
            tx.run("UPDATE device SET state = 'lost' WHERE id = :id", id=row.id)
    for d in devices:
        tx.run(upsert, **asdict(d))


def set_nodes(tx: Tx, nodes: Sequence[NodeRow]) -> None:
    """Store the machines of the cluster that trains this lab, as they are now; none: it is one machine."""
    set_fact(tx, "nodes", json.dumps([asdict(node) for node in nodes]))


def add_provenance(tx: Tx, job_id: int, facts: Mapping[str, object]) -> None:
    """Merge facts into a job's provenance (versions, commit, device, precision, times)."""
    found = tx.rows("SELECT provenance FROM job_text WHERE job_id = :job", job=job_id)
    if found:
        have: Any = document(found[0][0])
        merged = {**(have if isinstance(have, dict) else {}), **facts}
        tx.run(
            "UPDATE job_text SET provenance = :text WHERE job_id = :job",
            text=json.dumps(merged, sort_keys=True, default=str),
            job=job_id,
        )


def set_speed(tx: Tx, model_label: str, T: int, device: str, member_steps_per_s: float) -> None:
    """Store a measurement for the estimates; a moving average over the last few is kept."""
    tx.run(
        "INSERT INTO speed (model_label, positions, device, member_steps_per_s, at) "
        "VALUES (:label, :T, :device, :speed, :now) "
        "ON CONFLICT (model_label, positions, device) DO UPDATE SET at = excluded.at, "
        "member_steps_per_s = member_steps_per_s * (1 - :w) + excluded.member_steps_per_s * :w",
        label=model_label,
        T=T,
        device=device,
        speed=float(member_steps_per_s),
        now=tx.now,
        w=_SPEED_WEIGHT,
    )


def calibration(tx: Tx, key: str, device: str) -> str | None:
    """JSON of the plan found for a shape on a device."""
    found = tx.rows(
        "SELECT plan FROM calibration WHERE shape = :key AND device = :device", key=key, device=device
    )
    return str(found[0][0]) if found else None


def set_calibration(tx: Tx, key: str, device: str, plan_json: str) -> None:
    """Keep the plan found for a shape on a device."""
    tx.run(
        "INSERT INTO calibration (shape, device, plan, at) VALUES (:key, :device, :plan, :now) "
        "ON CONFLICT (shape, device) DO UPDATE SET plan = excluded.plan, at = excluded.at",
        key=key,
        device=device,
        plan=plan_json,
        now=tx.now,
    )


def prune_events(tx: Tx, keep: int, *, at_once: int = PRUNED_AT_ONCE) -> int:
    """Forget the oldest events beyond the newest ``keep``, so many in one transaction; how many went."""
    return tx.run(
        "DELETE FROM event WHERE id <= (SELECT min(max(id) - :keep, min(id) + :at_once - 1) FROM event)",
        keep=keep,
        at_once=at_once,
    )
