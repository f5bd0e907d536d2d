"""Length generalisation against kappa: the rank correlation of the paper's Observation 4.5."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from labtui.analysis.kappa import Kappa


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho of kappa and the accuracy at 2L (rescaled to chance = 0)."""

    rho: float | None
    """None where it cannot be told; ``reason`` says why."""
    n: int
    """Cells that count."""
    p: float | None
    """Two-sided, of the hypothesis that the ranks are unrelated."""
    reason: str
    points: tuple[tuple[int, float, float], ...]
    """(cell id, kappa, accuracy at 2L)."""

    def text(self) -> str:
        """``rank correlation 0.83 (n = 9, p = 0.005)`` or why there is none."""
        if self.rho is None:
            return f"no rank correlation: {self.reason}"
        return f"rank correlation {self.rho:.2f} (n = {self.n}, p = {self.p:.2g})"

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "rho": self.rho,
            "n": self.n,
            "p": self.p,
            "reason": self.reason,
            "points": [{"cell": c, "kappa": k, "generalisation": g} for c, k, g in self.points],
        }


def rank_correlation(kappas: Iterable[Kappa]) -> RankCorrelation:
    """Over the cells that have both a kappa (a point, not a bound) and an accuracy at 2L.

    Fewer than three cells, or one of the two the same everywhere, have no rank correlation.
    Bounded cells are left out: where their rank lies is not known.
    """
    found = []
    for k in kappas:
        accuracy = k.cell.joint.generalisation
        if k.value is not None and accuracy is not None and math.isfinite(accuracy):
            found.append((k.cell.id, k.value, accuracy))
    points = tuple(sorted(found))
    n = len(points)
    if n < 3:
        return RankCorrelation(
            None, n, None, f"{n} cells have both a kappa and an accuracy at 2L; expected at least 3", points
        )
    for i, name in ((1, "kappa"), (2, "the accuracy at 2L")):
        if len({p[i] for p in points}) == 1:
            return RankCorrelation(None, n, None, f"{name} is the same in all {n} cells", points)
    from scipy.stats import spearmanr  # 0.3 s, only where it is asked for

    rho, p = spearmanr([x for _, x, _ in points], [y for _, _, y in points])
    return RankCorrelation(float(rho), n, float(p), "", points)
