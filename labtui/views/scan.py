"""A success curve as text: the share of seeds that succeed at each N, with its 90 % interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labtui.text import clean
from labtui.views import numbers
from labtui.views.grid import grid
from store.rows import JobRow

if TYPE_CHECKING:
    from labtui.analysis.scan import SuccessCurve

BAR = 40


def curve_lines(job: JobRow, curve: SuccessCurve) -> list[str]:
    """One row for each N: counts, share, interval, a bar with the interval marked and the fitted
    curve as a dot.
    """
    rows = []
    for p in curve.points:
        fitted = curve.fit(p.n) if curve.fit is not None and p.in_fit else None
        told = f"{p.share:.2f} [{p.low:.2f}, {p.high:.2f}]" + ("" if p.in_fit else " above the curve")
        rows.append([p.n, f"{p.successes}/{p.seeds}", told, bar(p.share, p.low, p.high, fitted)])
    out = [
        clean(f"job {job.id}: {job.name}"),
        "",
        *grid(["N", "seeds", "share", "0" + " " * (BAR - 2) + "1"], rows, right="N seeds"),
    ]
    if curve.fit is not None:
        f = curve.fit
        out.append(
            f"fit: half-way at N = {numbers.count(f.centre)}, slope {f.slope:.2g}, guess {f.guess:.2g}, "
            f"lapse {f.lapse:.2g}"
        )
    else:
        out.append(f"no fit: {curve.reason}")
    if job.estimate is not None:
        out.append(f"N* = {numbers.count_interval(job.estimate)} (90 %)")
    if job.n50 is not None:
        out.append(f"N_50 = {numbers.count_interval(job.n50)} (90 %)")
    return out


def bar(share: float, low: float, high: float, fitted: float | None) -> str:
    """``─`` over the interval, ``█`` at the share, ``·`` where the fit lies."""
    cells = [" "] * BAR

    def at(x: float) -> int:
        return min(BAR - 1, max(0, int(x * BAR)))

    for i in range(at(low), at(high) + 1):
        cells[i] = "─"
    if fitted is not None:
        cells[at(fitted)] = "·"
    cells[at(share)] = "█"
    return "".join(cells).rstrip()
