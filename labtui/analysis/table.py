"""kappa over any axes: what varies becomes rows and columns, the rest one table each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from labtui.analysis.kappa import Kappa, kappa
from store.rows import CellRow

Value: TypeAlias = "str | int | None"
Key: TypeAlias = "tuple[Value, ...]"

_LENGTHS = ("L", "min_length")
"""A program has none."""
AXES = ("task", "m", "model", "model_label", "format", "distribution", "L", "min_length")
"""What a cell is told by; ``m`` is None where the task is not modular addition."""
ORDER: dict[str, tuple[str, ...]] = {
    "model": ("transformer", "lstm", "dense_ssm"),
    "format": ("outcome", "cot", "acot", "icot"),
    "distribution": ("fixed", "uniform", "short_to_long"),
}
"""The paper's order, before any other name."""


@dataclass(frozen=True)
class KappaTable:
    """One page: rows x columns of kappa, for one value of every other axis."""

    fixed: dict[str, Value]
    """The axes that vary in the study and neither are rows nor columns, with this page's value."""
    row_axes: tuple[str, ...]
    column_axes: tuple[str, ...]
    rows: tuple[Key, ...]
    columns: tuple[Key, ...]
    cells: dict[tuple[Key, Key], tuple[Kappa, ...]]
    """More than one kappa stands at a place where cells differ in nothing that the axes tell
    (a grid, a budget).
    """

    @property
    def title(self) -> str:
        """``format acot, L 10``; empty where nothing else varies."""
        return ", ".join(f"{axis} {'-' if value is None else value}" for axis, value in self.fixed.items())

    def at(self, row: Key, column: Key) -> tuple[Kappa, ...]:
        """What stands at one place; empty where the study has no such cell."""
        return self.cells.get((row, column), ())

    def text(self, row: Key, column: Key, ascii: bool = False) -> str:
        """One place as text, several kappas apart by `` / ``."""
        return " / ".join(k.text(ascii) for k in self.at(row, column))

    def to_dict(self) -> dict[str, Any]:
        """JSON form; each entry carries its axes."""
        return {
            "title": self.title,
            "fixed": self.fixed,
            "row_axes": list(self.row_axes),
            "column_axes": list(self.column_axes),
            "rows": [list(r) for r in self.rows],
            "columns": [list(c) for c in self.columns],
            "cells": [
                {"row": list(r), "column": list(c), "kappas": [k.to_dict() for k in self.at(r, c)]}
                for r in self.rows
                for c in self.columns
            ],
        }


def varying(cells: Iterable[CellRow]) -> tuple[str, ...]:
    """The axes in which the cells differ; of two that tell the same (``task`` and ``m``, model and label)
    the short one, where every cell has one: a group that is not modular addition has no m.
    """
    cells = list(cells)
    found = [axis for axis in axes_of(cells) if len(_values(cells, axis)) > 1]
    if "task" in found and any(c.axes for c in cells) and all(c.program for c in cells):
        found.remove("task")  # a program's axes tell it
    for long, short in (("task", "m"), ("model_label", "model")):
        if {long, short} <= set(found):
            # the long one determines the short one, so they tell the same where they have as many values
            said = _values(cells, short)
            found.remove(short if (None,) in said or len(_values(cells, long)) > len(said) else long)
    return tuple(found)


def tables(
    cells: Sequence[CellRow], rows: str | Sequence[str] = "model", columns: str | Sequence[str] = "format"
) -> tuple[KappaTable, ...]:
    """kappa of every cell that has a sum over lengths, pivoted.

    Args:
        cells: of one study or of a whole lab.
        rows: an axis of :data:`AXES` or several.
        columns: the same.

    Returns:
        One table for each combination of values of the other varying axes, in the paper's order.

    Raises:
        ValueError: an axis that does not exist, or stands twice.
    """
    row_axes, column_axes = _axes(rows), _axes(columns)
    cells = [c for c in cells if c.parts]
    known = axes_of(cells)
    for axis in row_axes + column_axes:
        if axis not in known:
            raise ValueError(f"the axis {axis!r} does not exist; expected one of {', '.join(known)}")
    if len(set(row_axes + column_axes)) < len(row_axes + column_axes):
        raise ValueError(f"an axis stands twice in {', '.join(row_axes + column_axes)}; expected each once")
    told = _implied(cells, row_axes + column_axes)
    rest = tuple(a for a in varying(cells) if a not in told)
    pages: dict[Key, dict[tuple[Key, Key], list[Kappa]]] = {}
    for c in sorted(cells, key=lambda c: _sort_key(rest, _key(c, rest))):
        places = pages.setdefault(_key(c, rest), {})
        places.setdefault((_key(c, row_axes), _key(c, column_axes)), []).append(kappa(c))
    out = []
    for page, places in pages.items():
        row_keys = sorted({r for r, _ in places}, key=lambda k: _sort_key(row_axes, k))
        column_keys = sorted({c for _, c in places}, key=lambda k: _sort_key(column_axes, k))
        entries = {place: tuple(ks) for place, ks in places.items()}
        fixed = dict(zip(rest, page, strict=True))
        out.append(KappaTable(fixed, row_axes, column_axes, tuple(row_keys), tuple(column_keys), entries))
    return tuple(out)


def axes_of(cells: Iterable[CellRow]) -> tuple[str, ...]:
    """The axes that cells are told by: :data:`AXES`, and those of programs."""
    return (*AXES, *dict.fromkeys(name for c in cells for name, _ in c.axes if name not in AXES))


def value_of(cell: CellRow, axis: str) -> Value:
    """The value of a cell on an axis; None where it has none. A program's own axis comes before one of ours
    that is called the same.
    """
    if cell.program and (axis in _LENGTHS or axis in dict(cell.axes)):
        return dict(cell.axes).get(axis)
    if axis in AXES:
        found: Value = getattr(cell, axis)
        return found
    return dict(cell.axes).get(axis)


def _axes(axes: str | Sequence[str]) -> tuple[str, ...]:
    return (axes,) if isinstance(axes, str) else tuple(axes)


def _key(cell: CellRow, axes: Sequence[str]) -> Key:
    return tuple(value_of(cell, axis) for axis in axes)


def _values(cells: Iterable[CellRow], *axes: str) -> set[Key]:
    return {_key(c, axes) for c in cells}


def _implied(cells: Sequence[CellRow], axes: tuple[str, ...]) -> set[str]:
    """The axes whose value follows from the given ones in these cells: they need no page of their own."""
    return {a for a in axes_of(cells) if len(_values(cells, *axes, a)) == len(_values(cells, *axes))}


def _sort_key(axes: Sequence[str], key: Key) -> tuple[tuple[int, float, str], ...]:
    out = []
    for axis, value in zip(axes, key, strict=True):
        known = ORDER.get("model" if axis == "model_label" else axis, ())
        word = str(value).split(" ")[0] if axis == "model_label" else value
        if word in known:
            out.append((0, float(known.index(str(word))), str(value) if word != value else ""))
        elif isinstance(value, int):
            out.append((1, float(value), ""))
        elif axis == "task" and (cyclic := re.fullmatch(r"Z(\d{1,9})", str(value))):
            out.append((1, float(cyclic[1]), ""))  # Z5 before Z10, and both before other groups
        else:
            out.append((2, 0.0, str(value)))
    return tuple(out)
