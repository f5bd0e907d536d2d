"""The bridge from rows to the analysis: imported when a screen first needs it
(numpy and scipy are loaded by it).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from labtui.filters import holds
from store.rows import CellRow

if TYPE_CHECKING:
    from labtui.analysis.kappa import Kappa


@lru_cache(maxsize=4096)
def sharing(cell: CellRow) -> Kappa:
    """kappa of a cell; the same row is never computed twice."""
    from labtui.analysis.kappa import kappa

    return kappa(cell)


def meets(kappa: Kappa, conditions: tuple[tuple[str, float], ...]) -> bool:
    """Whether a kappa surely meets the conditions: a point by its value,
    a bound where it settles the question.
    """
    for op, bound in conditions:
        value = kappa.value
        if kappa.status == "upper_bound" and op.startswith("<"):
            value = kappa.high
        elif kappa.status == "lower_bound" and op.startswith(">"):
            value = kappa.low
        if not holds(value, ((op, bound),)):
            return False
    return True
