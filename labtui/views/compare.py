"""Two jobs, or two labs, side by side: what the Compare screen and ``labtui compare`` tell of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from labtui.views.grid import grid, shown
from labtui.views.job import summary
from labtui.views.kappa import name, sharing
from labtui.views.numbers import NONE
from labtui.views.spec import spec_rows
from store.rows import CellRow, JobRow

if TYPE_CHECKING:
    from labtui.analysis.kappa import Kappa

_AXES = ("task", "model_label", "format", "distribution", "L", "min_length")


class Pair(NamedTuple):
    """One cell in two labs."""

    cell: CellRow
    here: Kappa | None
    there: Kappa | None

    @property
    def differs(self) -> bool:
        """Whether both have a kappa and tell another one."""
        return self.here is not None and self.there is not None and self.here.text() != self.there.text()


def lab_pairs(here: Iterable[CellRow], there: Iterable[CellRow]) -> list[Pair]:
    """Pair the cells with a sum over lengths of two labs by their axes, in this lab's order first."""
    ours, theirs = ({_place(c): c for c in cells if c.parts} for cells in (here, there))

    def kappa(cell: CellRow | None) -> Kappa | None:
        return None if cell is None else sharing(cell)

    every = ours | {key: cell for key, cell in theirs.items() if key not in ours}
    return [Pair(cell, kappa(ours.get(key)), kappa(theirs.get(key))) for key, cell in every.items()]


def _place(cell: CellRow) -> tuple[Any, ...]:
    return tuple(getattr(cell, axis) for axis in _AXES)


def lab_lines(pairs: Sequence[Pair]) -> list[str]:
    """Write each kappa here and there; ``≠`` where they do not tell the same."""
    rows = []
    for p in pairs:
        told = (NONE if k is None else k.text() for k in (p.here, p.there))
        rows.append([name(p.cell), *told, "≠" if p.differs else ""])
    return grid(["kappa", "here", "there", ""], rows)


def job_pair_lines(
    a: JobRow, b: JobRow, spec_a: Mapping[str, Any], spec_b: Mapping[str, Any], supervised: bool = True
) -> list[str]:
    """Write two jobs side by side: what is told of either, then only what differs in their specs."""
    left, right = (dict(shown(summary(job, supervised))) for job in (a, b))
    rows = [[key, left.get(key, ""), right.get(key, "")] for key in dict.fromkeys([*left, *right])]
    differing = [row for row in spec_rows(spec_a, spec_b) if row[1] != row[2]]
    out = grid(["", f"job {a.id}", f"job {b.id}"], rows)
    if not differing:
        return [*out, "", "the specs are equal"]
    return [*out, "", *grid(["spec differs in", f"job {a.id}", f"job {b.id}"], differing)]
