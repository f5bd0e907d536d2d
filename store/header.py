"""What a file says that it is, before anything of it is read; and what may stand in a lab's schema: tables of
plain columns and indices of columns.

The lightest look at a lab: 1 ms, standard library only.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from store.errors import NotALab, from_sqlite
from store.paths import LabPaths

APPLICATION_ID = 0x6C616274
"""``labt`` in the file's header: what tells a lab from a foreign database."""


def check_header(path: Path) -> int:
    """Read the schema in a file's header, without a lock and without a byte written beside it.

    Through SQLite, immutable, because it knows how to close a file that this process has open elsewhere
    (``store/files.py``).

    Raises:
        NotALab: a foreign file.
    """
    paths = LabPaths(path)
    try:
        with closing(
            sqlite3.connect(paths.uri(mode="ro", immutable=1), uri=True, isolation_level=None)
        ) as connection:
            # A fold of the WAL that was cut short leaves a first page that names more pages than there are
            # yet: no damage, since the WAL still has them, but SQLite would refuse to read on without it.
            connection.execute("PRAGMA writable_schema = ON")
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if isinstance(error, sqlite3.OperationalError) and "unable to open" in str(error):
            raise from_sqlite(error, path) from None
        if isinstance(error, sqlite3.Error) and error.sqlite_errorcode == sqlite3.SQLITE_CORRUPT:
            raise from_sqlite(error, path) from None
        raise NotALab(
            f"{path} is not a lab: it is no SQLite database; expected a file that labtui made"
        ) from None
    if application != APPLICATION_ID:
        raise NotALab(
            f"{path} is not a lab: it is another program's database; expected a file that labtui made"
        )
    return schema


_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]")
_TABLE = re.compile(r"CREATE TABLE \w+ ?\(")
_COMPUTES = re.compile(r"--|/\*|\b(?:AS|GENERATED|CHECK|COLLATE|SELECT)\b|\bDEFAULT ?\(")
_INDEX = re.compile(
    r"CREATE (?:UNIQUE )?INDEX \w+ ON \w+ ?\( ?\w+(?: ASC| DESC)?(?: ?, ?\w+(?: ASC| DESC)?)* ?\)"
    r"(?: WHERE \w+ (?:= ?q|IN ?\( ?q(?: ?, ?q)* ?\)|IS NOT NULL))?"
)
MOST = 500
"""Far more tables and indices than any lab has."""


def refused(kind: object, sql: object) -> bool:
    """Whether a row of ``sqlite_master`` is one that no lab has.

    Virtual tables, views and triggers run code; a generated column, a CHECK or an index on an expression
    computes what it likes, as large and as long as it likes, where somebody only reads or adds a row.
    """
    if sql is None:  # the index of a key
        return kind != "index"
    if kind not in ("table", "index") or not isinstance(sql, str):
        return True
    words = " ".join(_QUOTED.sub("q", sql).split())
    if kind == "index":
        return _INDEX.fullmatch(words) is None
    return _TABLE.match(words) is None or _COMPUTES.search(words.upper()) is not None
