"""A lab's connection as the read views use it: every failure is a LabError,
no transaction outlives a call.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from store.connect import SCHEMA, TABLES, Opened
from store.errors import LabError, NotALab, from_sqlite

Bound = Sequence[str | int | float | None]
_INT64 = 1 << 63
CHUNK = 500
"""Values bound in one statement: older SQLite allows 999."""


class Connected:
    """One connection, usable from several threads, one call at a time."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._connection = opened.connection
        self._lock = threading.RLock()
        self._depth = 0
        self.path: Path = opened.paths.lab
        self.read_only: bool = opened.read_only
        self.notice: str = opened.notice
        self.schema: int = opened.schema
        self.no_room: bool = opened.no_room
        self.outdated: bool = opened.schema < SCHEMA
        self._identity = self._stat()
        self._columns = {name: self._columns_of(name) for name in TABLES}

    def close(self) -> None:
        """Close the connection, and forget a private copy."""
        with self._lock:
            self._opened.close()

    def data_version(self) -> int:
        """A number that moves whenever another connection has committed (10 microseconds).

        Raises:
            LabError: the file was moved, deleted or replaced,
            or is not what was opened where that is all that is seen.
        """
        if self._stat() != self._identity:
            if self._opened.still and self.path.exists():
                raise LabError(f"{self.path} has been written since it was opened; open it again")
            raise NotALab(
                f"{self.path} was moved or replaced; expected the file that was opened: open it again"
            )
        return int(self._rows("PRAGMA data_version")[0][0])

    @contextmanager
    def consistent(self) -> Iterator[None]:
        """Several calls that see one state. Keep it short: while it is open the WAL cannot be reset."""
        with self._lock:
            outermost = self._depth == 0
            if outermost:
                self._rows("BEGIN")
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if outermost:
                    self._rows("COMMIT")

    def _stat(self) -> tuple[int, ...] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - on every tick of the screen
        except OSError:
            return None
        if not self._opened.still:
            return found.st_dev, found.st_ino
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, *self._opened.wal_now()

    def _columns_of(self, table: str) -> frozenset[str]:
        return frozenset(
            row[1] for row in self._rows(f"PRAGMA table_info({table})") if isinstance(row[1], str)
        )

    def _rows(self, sql: str, values: Bound = ()) -> list[Any]:
        """All rows of a statement; text that is not UTF-8 is read again with replacements."""
        with self._lock:
            try:
                return self._fetch(sql, values)
            except sqlite3.OperationalError as error:
                if "decode" not in str(error):
                    raise from_sqlite(error, self.path) from None
                self._connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
                return self._again(sql, values)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise from_sqlite(error, self.path) from None

    def _fetch(self, sql: str, values: Bound) -> list[Any]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except OverflowError:
            return []  # a number beyond 64 bits names no row

    def _again(self, sql: str, values: Bound) -> list[Any]:
        try:
            return self._fetch(sql, values)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise from_sqlite(error, self.path) from None

    def _ids(self, sql: str, values: Bound) -> array[int]:
        try:
            return array("q", chain.from_iterable(self._rows(sql, values)))
        except (TypeError, OverflowError):
            raise NotALab(f"{self.path} is damaged: an id is no integer; run `labtui db check`") from None

    def _chunks(self, sql: str, ids: Iterable[int]) -> Iterator[Any]:
        """Rows of ``sql``, whose ``{}`` becomes the placeholders, over ids in any number."""
        wanted = [int(i) for i in ids if -_INT64 <= i < _INT64]  # a number beyond 64 bits names no row
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            yield from self._rows(sql.format(",".join("?" * len(part))), part)

    def _missing(self, what: str, reference: object) -> LabError:
        return LabError(f"there is no {what} {str(reference)[:80]!r} in {self.path}")
