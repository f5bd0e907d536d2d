"""Alembic, driven from the program, never from a command line: create a lab's tables, or bring an older lab
up to date.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from store.schema import APPLICATION_ID, REVISIONS, SCHEMA

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

SCRIPTS = Path(__file__).parent


def config(connection: Connection | None, scripts: Path = SCRIPTS) -> Config:
    """Make Alembic's configuration without an ini file."""
    from alembic.config import Config  # a sixth of what a supervisor imports, and it seldom migrates

    result = Config()
    result.set_main_option("script_location", str(scripts).replace("%", "%%"))
    result.attributes["connection"] = connection
    return result


def migrate(
    connection: Connection, *, schema: int = SCHEMA, scripts: Path = SCRIPTS, revision: str | None = None
) -> None:
    """Bring the lab on ``connection`` to ``schema``, within the transaction that is open on it."""
    from alembic import command

    command.upgrade(config(connection, scripts), revision or REVISIONS[schema])
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {schema}")
