"""Rows as JSON and as CSV, written while they are read:
a table of 190,000 trials need not fit into memory.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, TextIO, TypeVar

Row = TypeVar("Row")
PAGE = 1000
"""Rows read at once."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def pages(read: Callable[[Sequence[int]], list[Row]], ids: Sequence[int]) -> Iterator[Row]:
    """The rows of these ids, a page at a time."""
    for start in range(0, len(ids), PAGE):
        yield from read(ids[start : start + PAGE])


def plain(value: Any) -> Any:
    """Rows and their like as JSON's own types; what is not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Iterable):
        return [plain(v) for v in value]
    return str(value)


_ENCODE = json.JSONEncoder(
    allow_nan=False, default=plain
).encode  # in C, which json.dump with an indent is not


def line_of(row: Any) -> str:
    """One row as JSON in one line."""
    try:
        return _ENCODE(row)
    except (ValueError, TypeError):  # NaN, or keys that are no texts
        return _ENCODE(plain(row))


def write_json(rows: Iterable[Any], out: TextIO) -> None:
    """Write a JSON array with one row in each line."""
    before = "["
    for row in rows:
        out.write(f"{before}\n{line_of(row.__dict__ if is_dataclass(row) else row)}")
        before = ","
    out.write("[]\n" if before == "[" else "\n]\n")


def write_csv(rows: Iterable[Mapping[str, Any]], out: TextIO, columns: Sequence[str]) -> None:
    """RFC 4180 with a heading, which the first row gives; ``columns`` where there is none."""
    rows = iter(rows)
    first = next(rows, None)
    names = list(columns if first is None or set(first) == set(columns) else first)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    if first is None:
        return
    writer.writerow([safe(first[name]) for name in names])
    writer.writerows([safe(row.get(name)) for name in names] for row in rows)


def safe(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: such texts get an apostrophe before them.

    Numbers stay numbers.
    """
    kind = type(value)
    if kind is int:
        return value
    if kind is float:
        return value if math.isfinite(value) else ""
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    if isinstance(value, list | tuple | dict):
        value = json.dumps(plain(value), sort_keys=True)
    if isinstance(value, str):
        if not value.isprintable():
            value = "".join(
                c if c.isprintable() or c in "\t\n" else "\N{REPLACEMENT CHARACTER}" for c in value
            )
        return (
            "'" + value
            if value.lstrip(" \u00a0").startswith(_FORMULA) or value.startswith(_FORMULA)
            else value
        )
    return value
