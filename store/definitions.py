"""What may stand in a lab's schema: tables of plain columns and indices of columns. Standard library only."""

from __future__ import annotations

import re

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
