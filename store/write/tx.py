"""A write transaction: its connection, its time, its epoch, and the event that goes with a change.

What can be written are functions that take one: store.write.jobs, probes, lab, submit and commands.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, Executable, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool
from sqlmodel import SQLModel

from store import schema
from store.connect import harden
from store.errors import LabError, from_sqlite
from store.paths import LabPaths
from store.states import JobState

JOB = schema.table("job")
JOB_TEXT = schema.table("job_text")
STUDY = schema.table("study")
STUDY_JOB = schema.table("study_job")
CELL = schema.table("cell")
CELL_PART = schema.table("cell_part")
PROBE = schema.table("probe")
LAB = schema.table("lab")
DEVICE = schema.table("device")
SUPERVISOR = schema.table("supervisor")
COMMAND = schema.table("command")

MAX_REASON = 4_000
"""Characters of a reason that are kept: the end, where a traceback says what happened."""
CHUNK = 500


@dataclass(frozen=True)
class QueuedJob:
    """What the supervisor needs to run a job."""

    id: int
    hash: str
    name: str
    spec_json: str
    state: JobState
    attempt: int
    """The token of the run that comes, or that is on: its events carry it."""
    crashes: int
    max_attempts: int
    priority: int
    model_label: str
    not_before: float
    wanted: str | None


@dataclass(frozen=True)
class Verdict:
    """A probe that is finished."""

    probe_id: int
    n: int
    success: bool
    seeds: int
    successes: int
    best_loss: float | None
    seed_list: tuple[int, ...]
    diverged: bool = False
    """Every trial of it diverged."""


@dataclass(frozen=True)
class Requeued:
    """A job of a dead supervisor, and what became of it."""

    job_id: int
    state: JobState


def row_of(model: SQLModel) -> dict[str, Any]:
    """A table row from its SQLModel, so that its defaults stand in one place."""
    values = model.model_dump()
    if values.get("id", 0) is None:
        del values["id"]
    return values


def finite(value: float | None) -> float | None:
    """A loss as it is stored: None where it is not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def least(a: float | None, b: float | None) -> float | None:
    """The smaller of two losses, either of which may be unknown."""
    return b if a is None else a if b is None else min(a, b)


def tail(words: str) -> str:
    """The end of a long text."""
    return words if len(words) <= MAX_REASON else "..." + words[-MAX_REASON:]


@cache
def _row_type(columns: tuple[str, ...]) -> Any:
    """A tuple that knows its columns, as far as their names can be attributes."""
    return namedtuple("Row", columns, rename=True)


class Tx:
    """One open write transaction; valid until the ``with`` block of ``Writer.transaction`` ends."""

    def __init__(self, connection: Connection, *, now: float, epoch: int | None) -> None:
        self.c = connection
        driver: Any = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        self._driver: sqlite3.Connection = driver
        """The same connection: a statement's way through SQLAlchemy costs several times its run."""
        self.now = now
        self.epoch = epoch

    def rows(self, sql: str, **values: object) -> list[Any]:
        """All rows of a statement, whose ``:names`` SQLite binds itself; by position or by column."""
        found = self._driver.execute(sql, values)
        make = _row_type(tuple(column[0] for column in found.description or ()))
        return [make._make(row) for row in found]

    def all(self, query: Executable) -> list[Any]:
        """All rows of a query built with SQLAlchemy."""
        return list(self.c.execute(query))

    def run(self, sql: str, **values: object) -> int:
        """Run a statement; how many rows it changed."""
        return self._driver.execute(sql, values).rowcount

    def each(self, sql: str, ids: Sequence[int], **values: object) -> int:
        """Run a statement for every id, bound to ``:id``; how many rows it changed."""
        if not ids:
            return 0
        return self._driver.executemany(sql, [{**values, "id": i} for i in ids]).rowcount

    def put(self, table: str, *rows: Mapping[str, object]) -> int:
        """Insert rows of the same columns; the id of a single one."""
        columns = ", ".join(rows[0])
        values = ", ".join(f":{name}" for name in rows[0])
        insert = f"INSERT INTO {table} ({columns}) VALUES ({values})"
        if len(rows) > 1:
            self._driver.executemany(insert, rows)
            return 0
        return int(self._driver.execute(insert, rows[0]).lastrowid or 0)

    def event(
        self,
        kind: str,
        text: str,
        *,
        level: str = "info",
        job_id: int | None = None,
        probe_id: int | None = None,
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Write down that something happened."""
        row = {
            "at": self.now,
            "kind": kind,
            "level": level,
            "job_id": job_id,
            "probe_id": probe_id,
            "text": tail(text),
            "data": json.dumps(data or {}, default=str),
        }
        self.put("event", row)


def connect(paths: LabPaths, *, create: bool = False) -> sqlite3.Connection:
    """The one connection of a writer; ``create`` for a file that is not there yet."""
    connection = sqlite3.connect(
        paths.uri(mode="rwc" if create else "rw"),
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=5.0,
        cached_statements=512,
    )
    try:
        harden(connection)
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def engine_on(connection: sqlite3.Connection) -> Engine:
    """An engine whose every transaction begins IMMEDIATE on that connection.

    The driver's own BEGIN is deferred: two writers that both read first would end in "database is locked".
    """
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)

    @event.listens_for(engine, "begin")
    def _begin(opened: Connection) -> None:
        opened.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def unwrap(error: DBAPIError, paths: LabPaths) -> LabError:
    """The LabError for SQLAlchemy's wrapping of a driver's error."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return from_sqlite(original, paths.lab)
    return LabError(f"{paths.lab} cannot be written: {original}")
