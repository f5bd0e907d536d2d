"""The bridge from rows to the analysis: imported when a screen first needs it (numpy and scipy are loaded by it)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from store.rows import CellRow

if TYPE_CHECKING:
    from labtui.analysis.kappa import Kappa


@lru_cache(maxsize=4096)
def sharing(cell: CellRow) -> Kappa:
    """kappa of a cell; the same row is never computed twice."""
    from labtui.analysis.kappa import kappa

    return kappa(cell)
