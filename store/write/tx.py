"""A write transaction: its connection, its time, its epoch, and the event that goes with a change.

What can be written are functions that take one: store.write.jobs, probes, lab, submit and commands. Their
statements go to sqlite3 itself: a way through SQLAlchemy takes several times a statement's own time, and its
import a quarter of a second. SQLModel says what the tables are (``store.schema``), and is loaded where a lab
is made or upgraded.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from store.connect import harden
from store.paths import LabPaths
from store.states import JobState

MAX_REASON = 4_000
"""Characters of a reason that are kept: the end, where a traceback says what happened."""


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


def finite(value: float | None) -> float | None:
    """A loss as it is stored: None where it is not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def least(a: float | None, b: float | None) -> float | None:
    """The smaller of two losses, either of which may be unknown."""
    return b if a is None else a if b is None else min(a, b)


def tail(words: str) -> str:
    """The end of a long text."""
    return words if len(words) <= MAX_REASON else "..." + words[-MAX_REASON:]


ONE_OF = "id IN (SELECT value FROM json_each(:ids))"


def listed(values: Iterable[object]) -> str:
    """Many values as one, for ``json_each``: SQLite bounds how many a statement may have."""
    return json.dumps(list(values))


@cache
def _row_type(columns: tuple[str, ...]) -> Any:
    """A tuple that knows its columns, as far as their names can be attributes."""
    return namedtuple("Row", columns, rename=True)


class Tx:
    """One open write transaction; valid until the ``with`` block of ``Writer.transaction`` ends."""

    def __init__(self, connection: sqlite3.Connection, *, now: float, epoch: int | None) -> None:
        self._connection = connection
        self.now = now
        self.epoch = epoch

    def rows(self, sql: str, **values: object) -> list[Any]:
        """All rows of a statement, whose ``:names`` SQLite binds itself; by position or by column."""
        found = self._connection.execute(sql, values)
        make = _row_type(tuple(column[0] for column in found.description or ()))
        return [make._make(row) for row in found]

    def row(self, sql: str, **values: object) -> Any:
        """The one row of a statement; None where there is none."""
        found = self.rows(sql, **values)
        return found[0] if found else None

    def run(self, sql: str, **values: object) -> int:
        """Run a statement; how many rows it changed."""
        return self._connection.execute(sql, values).rowcount

    def each(self, sql: str, ids: Sequence[int], **values: object) -> int:
        """Run a statement for every id, bound to ``:id``; how many rows it changed."""
        if not ids:
            return 0
        return self._connection.executemany(sql, [{**values, "id": i} for i in ids]).rowcount

    def change(self, table: str, row_id: int, **values: object) -> None:
        """Set columns of one row."""
        columns = ", ".join(f"{name} = :{name}" for name in values)
        self.run(f"UPDATE {table} SET {columns} WHERE id = :row_id", row_id=row_id, **values)

    @contextmanager
    def undone_if_refused(self) -> Iterator[None]:
        """What the block has written is taken back where it raises; what came before it stays."""
        self.run("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # SQLite itself has rolled all back where the disk is full
                self.run("ROLLBACK TO part")
                self.run("RELEASE part")
            raise
        self.run("RELEASE part")

    def put(self, table: str, *rows: Mapping[str, object]) -> int:
        """Insert rows of the same columns; the id of a single one."""
        columns = ", ".join(rows[0])
        values = ", ".join(f":{name}" for name in rows[0])
        insert = f"INSERT INTO {table} ({columns}) VALUES ({values})"
        if len(rows) > 1:
            self._connection.executemany(insert, rows)
            return 0
        return int(self._connection.execute(insert, rows[0]).lastrowid or 0)

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


@contextmanager
def immediate(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that holds the file from its beginning; committed when the block ends, else rolled back.

    With a plain BEGIN two writers that both read first would end in "database is locked".
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back where the disk is full
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise
