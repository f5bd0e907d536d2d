"""Rows as a Parquet file, through pyarrow (extra ``parquet``), a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labtui.export.records import Record

NO_PYARROW = "Parquet needs pyarrow, which is not installed; add it with: pip install 'labtui[parquet]'"
BATCH = 20_000


def missing() -> str:
    """Why no Parquet can be written here, as a sentence; empty where it can."""
    return "" if find_spec("pyarrow") is not None else NO_PYARROW


def write(rows: Iterable[Record], record: type[Record], path: str) -> None:
    """Write all rows with the types that the record names; a number beyond its type is left empty."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {
        "str": pa.string(),
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "tuple[str, ...]": pa.list_(pa.string()),
        "tuple[float, ...]": pa.list_(pa.float64()),
        "tuple[int, ...]": pa.list_(pa.int64()),
    }
    names = {f.name: str(f.type).removesuffix(" | None") for f in fields(record)}
    schema = pa.schema([(name, kinds.get(kind, pa.string())) for name, kind in names.items()])
    rows = iter(rows)
    with parquet.ParquetWriter(path, schema) as writer:
        while batch := list(islice(rows, BATCH)):
            columns = {
                name: [_fitting(getattr(r, name), kind) for r in batch] for name, kind in names.items()
            }
            writer.write_table(pa.table(columns, schema=schema))


def _fitting(value: Any, kind: str) -> Any:
    """A value that its column can hold: a damaged lab may have any."""
    if isinstance(value, tuple):
        inner = kind.removeprefix("tuple[").removesuffix(", ...]")
        return [_fitting(v, inner) for v in value]
    if kind == "float":
        return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else None
    if kind == "int":
        return int(value) if isinstance(value, int) and -(1 << 63) <= value < 1 << 63 else None
    if kind == "bool":
        return value if isinstance(value, bool) else None
    if value is None:
        return None
    return str(value).encode("utf-8", "replace").decode("utf-8")
