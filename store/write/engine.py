"""SQLAlchemy on one connection of ours: BEGIN IMMEDIATE, hardened, never pooled."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from store.connect import harden
from store.paths import LabPaths


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
