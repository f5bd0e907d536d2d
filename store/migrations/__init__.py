"""Alembic, driven from the program, never from a command line: create a lab's tables, or bring an older lab
up to date.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from store.connect import SCHEMA
from store.header import APPLICATION_ID

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

SCRIPTS = Path(__file__).parent


def config(connection: Connection | None, scripts: Path = SCRIPTS) -> Config:
    """Make Alembic's configuration without an ini file."""
    from alembic.config import Config

    result = Config()
    result.set_main_option("script_location", str(scripts).replace("%", "%%"))
    result.attributes["connection"] = connection
    return result


@contextmanager
def migrated(
    connection: sqlite3.Connection,
    *,
    schema: int = SCHEMA,
    scripts: Path = SCRIPTS,
    revision: str | None = None,
) -> Iterator[None]:
    """A transaction that begins with bringing the lab to ``schema``; committed when the block ends.

    Raises:
        sqlite3.Error: it cannot be; all was rolled back.
    """
    from alembic import command  # seldom needed, and a quarter of a second: SQLAlchemy comes with it
    from sqlalchemy import create_engine, event
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import StaticPool

    from store.schema import REVISIONS

    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    event.listen(engine, "begin", lambda opened: opened.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as opened:
            command.upgrade(config(opened, scripts), revision or REVISIONS[schema])
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {schema}")
            yield
    except DBAPIError as error:
        raise (error.orig if isinstance(error.orig, sqlite3.Error) else error) from None
