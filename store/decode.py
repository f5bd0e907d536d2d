"""Values from a file that nobody may trust, made into the rows and types that are promised. Standard library
only.

A reader must survive any content: a wrong type, NaN,
a value beyond all bounds or broken JSON becomes the field's default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Generic, TypeVar, get_args

from store import json, rows
from store.rows import (
    CellRow,
    CommandRow,
    DeviceRow,
    EventRow,
    JobRow,
    NodeRow,
    ProbeRow,
    StudyRow,
    SupervisorRow,
    TrialRow,
)
from store.states import FAILURES, Failure

Row = TypeVar("Row")
Decoder = Callable[[object], Any]
MAX_TEXT = 100_000
MAX_SPEC = 4 << 20
_INT64 = 1 << 63


def integer(value: object) -> int:
    """A 64-bit integer; 0 where there is none."""
    if type(value) is int:
        return value
    if isinstance(value, float) and abs(value) < _INT64:
        return int(value)
    return 0


def maybe_integer(value: object) -> int | None:
    return value if type(value) is int else None if value is None else integer(value)


def real(value: object) -> float:
    """A finite number; 0.0 where there is none."""
    if type(value) is float:
        return value if math.isfinite(value) else 0.0
    return float(value) if isinstance(value, int) else 0.0


def maybe_real(value: object) -> float | None:
    """A finite number or None: no infinite or undefined loss leaves the store."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    return float(value) if isinstance(value, int) else None


def text(value: object, most: int = MAX_TEXT) -> str:
    """A text of bounded length; what is not UTF-8 is replaced."""
    if type(value) is str:
        return value if len(value) <= most else value[:most]
    if isinstance(value, bytes):
        return value[:most].decode("utf-8", "replace")
    return "" if value is None else str(value)


def spec(value: object) -> str:
    """A stored spec; one of a program may name a thousand files with their digests."""
    return text(value, MAX_SPEC)


def word(value: object) -> str:
    """A short name of our own making, such as a format; ``?`` where it is anything else."""
    return (
        value if type(value) is str and len(value) <= 40 and value.isascii() and value.isidentifier() else "?"
    )


def failure(value: object) -> Failure | None:
    """The kind of failure that the first line of a reason names."""
    return FAILURES.get(value.partition("\n")[0].replace(" ", "_")) if isinstance(value, str) else None


def maybe_text(value: object) -> str | None:
    return None if value is None else text(value)


def boolean(value: object) -> bool:
    return value == 1


def maybe_boolean(value: object) -> bool | None:
    return None if value is None else value == 1


def document(value: object) -> Any:
    """Parsed JSON; None where it is none, nested too deeply, or too large."""
    if value == "[]":
        return []
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return None
    return json.document(value)


def texts(value: object) -> tuple[str, ...]:
    """A JSON list of texts."""
    if value == "[]":
        return ()
    found = document(value)
    return tuple(x[:200] for x in found[:100] if isinstance(x, str)) if isinstance(found, list) else ()


def interval(value: object) -> tuple[float, float, float] | None:
    """A JSON list of a point and its interval."""
    if value is None:
        return None
    found = document(value)
    if not isinstance(found, list) or len(found) != 3:
        return None
    a, b, c = (maybe_real(x) if not isinstance(x, bool) else None for x in found)
    return None if a is None or b is None or c is None else (a, b, c)


def one_of(*allowed: str) -> Decoder:
    """A decoder for a word of a fixed set; anything else becomes the last one."""
    words = {word: word for word in allowed}
    last = allowed[-1]

    def decode(value: object) -> str:
        return words.get(value, last) if isinstance(value, str) else last

    return decode


_DECODERS: dict[str, Decoder] = {
    "int": integer,
    "int | None": maybe_integer,
    "float": real,
    "float | None": maybe_real,
    "str": text,
    "str | None": maybe_text,
    "bool": boolean,
    "bool | None": maybe_boolean,
    "Word": word,
    "Failure | None": failure,
    "tuple[str, ...]": texts,
    "tuple[float, float, float] | None": interval,
}
"""By the type of a row's field, as it is written there."""


def decoder(kind: str) -> Decoder:
    """The decoder for a type of ``store.rows``; for a set of words it is made once."""
    if kind not in _DECODERS:
        _DECODERS[kind] = one_of(*get_args(getattr(rows, kind)))
    return _DECODERS[kind]


class RowMap(Generic[Row]):
    """Rows of one class from the columns of one table: a field is read from the column of its name.

    Args:
        columns: field to column, where their names differ.
        without: fields that are filled in otherwise.
    """

    def __init__(
        self,
        row: type[Row],
        table: str,
        columns: Mapping[str, str] | None = None,
        without: Collection[str] = (),
    ) -> None:
        self.row = row
        self.table = table
        read = [f for f in fields(row) if f.name not in without]  # type: ignore[arg-type]
        self.fields = tuple(f.name for f in read)
        self.columns = tuple((columns or {}).get(f.name, f.name) for f in read)
        self._decoders = tuple(decoder(str(f.type)) for f in read)

    def select(self, have: frozenset[str]) -> str:
        """The columns of a SELECT; one that an older schema lacks reads as NULL."""
        return ", ".join(f"{self.table}.{c}" if c in have else "NULL" for c in self.columns)

    def make(self, found: Iterable[Sequence[object]]) -> list[Row]:
        """Make the rows of what a SELECT found."""
        # A frozen dataclass assigns each field through object.__setattr__; for thousands of rows of 50 fields
        # that is most of the time, and filling __dict__ gives the same object.
        new, row, names, decoders = object.__new__, self.row, self.fields, self._decoders
        out: list[Row] = []
        for values in found:
            made = new(row)
            made.__dict__.update(
                zip(names, [f(v) for f, v in zip(decoders, values, strict=True)], strict=True)
            )
            out.append(made)
        return out


JOBS = RowMap(JobRow, "job", {"failure": "reason"})
PROBES = RowMap(ProbeRow, "probe")
TRIALS = RowMap(TrialRow, "trial")
STUDIES = RowMap(StudyRow, "study", without=("counts",))
CELLS = RowMap(CellRow, "cell", {"L": "length"}, without=("joint", "parts", "over", "axes"))
EVENTS = RowMap(EventRow, "event")
DEVICES = RowMap(DeviceRow, "device")
NODES = RowMap(NodeRow, "lab")
"""Kept as JSON, for they change every few seconds and no query asks for one."""
COMMANDS = RowMap(CommandRow, "command")
SUPERVISORS = RowMap(SupervisorRow, "supervisor", without=("alive",))
