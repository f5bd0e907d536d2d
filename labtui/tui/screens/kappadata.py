"""What the Kappa screen reads: the cells of a study over the axes that were chosen,
and which axes there are to choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from typing import TYPE_CHECKING, Any, TypeAlias

from store.rows import CellRow

if TYPE_CHECKING:
    from labtui.analysis.table import KappaTable

Axes: TypeAlias = "tuple[str, ...]"

LIKED: tuple[tuple[Axes, Axes], ...] = (
    (("model_label", "format"), ("L",)),
    (("model_label",), ("format",)),
    (("format",), ("model_label",)),
    (("model_label", "format"), ("m",)),
    (("m",), ("L",)),
    (("model_label", "format"), ("distribution",)),
    (("model_label", "format"), ("task",)),
)
"""The pairs that answer most, in the order in which one key goes through them."""
FULL = 0.6
"""A table with a smaller share of its places filled is not the first to be shown."""
NAMES = {"model_label": "model", "min_length": "shortest"}


def named(axes: Axes) -> str:
    """Axes as a person calls them: ``model · format``."""
    return " · ".join(NAMES.get(a, a) for a in axes)


@dataclass(frozen=True)
class Layout:
    """A choice of axes, and how the cells lie in it."""

    rows: Axes
    columns: Axes
    pages: int
    filled: int
    places: int
    """Of all pages together."""

    @property
    def axes(self) -> tuple[Axes, Axes]:
        return self.rows, self.columns

    def words(self) -> str:
        """``12 of 18 places, 2 pages``."""
        pages = f", {self.pages} pages" if self.pages > 1 else ""
        return f"{self.filled} of {self.places} places{pages}"


@dataclass(frozen=True)
class KappaData:
    """The tables of one study."""

    tables: tuple[KappaTable, ...]
    layouts: tuple[Layout, ...]
    """Every pair of axes that differ, the liked ones first."""
    liked: int
    """How many of them are liked."""
    request: KappaRequest


@dataclass(frozen=True)
class KappaRequest:
    """What to read."""

    study: int | None = None
    axes: tuple[Axes, Axes] | None = None
    """Rows and columns; None: the pair that shows most."""

    def __call__(self, lab: Any) -> KappaData:
        from labtui.analysis.table import AXES, tables

        cells: list[CellRow] = [c for c in lab.cells(self.study) if c.parts]
        found, liked = layouts(tuple(tuple(getattr(c, axis) for axis in AXES) for c in cells))
        chosen = next((one for one in found if one.axes == self.axes), None) or best(found[:liked] or found)
        return KappaData(
            tables(cells, *chosen.axes) if cells else (), found, liked, replace(self, axes=chosen.axes)
        )


def best(found: Sequence[Layout]) -> Layout:
    """The first that is full enough, else the fullest."""
    return next(
        (one for one in found if one.filled >= FULL * one.places),
        max(found, key=lambda one: one.filled / one.places),
    )


@lru_cache(maxsize=16)
def layouts(cells: tuple[tuple[Any, ...], ...]) -> tuple[tuple[Layout, ...], int]:
    """Every layout of cells, each given by its values of ``analysis.table.AXES``,
    and how many of them are liked.
    """
    from labtui.analysis.table import AXES

    columns = {axis: tuple(c[i] for c in cells) for i, axis in enumerate(AXES)}
    differ = [axis for axis in AXES if len(set(columns[axis])) > 1]
    told = [a for a in differ if a != "model"]  # the label tells the model
    if "m" in told and "task" in told and len(set(columns["m"])) == len(set(columns["task"])):
        told.remove("task")  # the modulus tells the task
    usable = {*told, "model_label"}
    liked = [pair for pair in LIKED if set(pair[1]) <= usable and set(pair[0]) <= usable | {"format"}]
    liked = liked or [(("model_label",), ("format",))]
    free = ["model_label", *(a for a in told if a != "model_label")]
    others: list[tuple[Axes, Axes]] = [((a,), (b,)) for a, b in permutations(free, 2)]
    others += [((a, b), (c,)) for a, b, c in permutations(free, 3)]
    ordered = [*liked, *(pair for pair in others if pair not in liked)]
    return tuple(_layout(columns, differ, *pair) for pair in ordered), len(liked)


def _layout(columns: dict[str, tuple[Any, ...]], differ: Sequence[str], rows: Axes, others: Axes) -> Layout:
    """Pages are the combinations of what the axes leave untold."""

    def keys(axes: Sequence[str]) -> list[tuple[Any, ...]]:
        return list(zip(*(columns[a] for a in axes), strict=True)) if axes else [()] * len(columns["L"])

    places = keys((*rows, *others))
    rest = [a for a in differ if len(set(zip(places, columns[a], strict=True))) > len(set(places))]
    down, across = keys(rows), keys(others)
    pages: dict[tuple[Any, ...], tuple[set[Any], set[Any], set[Any]]] = {}
    for page, row, column in zip(keys(rest), down, across, strict=True):
        seen = pages.setdefault(page, (set(), set(), set()))
        for kept, key in zip(seen, (row, column, (row, column)), strict=True):
            kept.add(key)
    filled = sum(len(found) for _, _, found in pages.values())
    return Layout(
        rows, others, len(pages), filled, max(1, sum(len(r) * len(c) for r, c, _ in pages.values()))
    )
