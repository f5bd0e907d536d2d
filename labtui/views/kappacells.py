"""One kappa as a cell of a table, and as a chart of the lengths that it is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labtui.text import fit
from labtui.views.lines import Line, crop, thin_bar
from labtui.views.plot import Axis, Level, Series, plot, span
from labtui.views.signs import model_sign, model_style

if TYPE_CHECKING:
    from labtui.analysis.kappa import Kappa


def level(kappa: Kappa) -> int | None:
    """-3 (interference) .. 0 (separate) .. 3 (shared) for the colour; None where nothing can be said."""
    value = {"complete": kappa.value, "upper_bound": kappa.high, "lower_bound": kappa.low}.get(kappa.status)
    if value is None or value <= 0 or (kappa.status != "complete" and kappa.regime is None):
        return None
    steps = math.log2(value)
    size = abs(steps)
    return 0 if size < 0.32 else int(math.copysign(1 if size < 1 else 2 if size < 2 else 3, steps))


def cell_spans(kappas: Sequence[Kappa], width: int) -> Line:
    """One place of the table in ``width`` cells: the number right-aligned in six,
    then what it leaves open.
    """
    if not kappas:
        return ((fit("     ·", width), "faint"),)
    kappa = kappas[0]
    more = f" +{len(kappas) - 1}" if len(kappas) > 1 else ""
    mark = "!" if "fails_above" in kappa.flags else ""
    if kappa.status == "pending":
        room = max(0, min(6, width - 8))
        share = (kappa.have + kappa.joint_in) / (kappa.want + 1)
        return crop((("  ", ""), *thin_bar(share, room), (f" {kappa.have}/{kappa.want}{more}", "dim")), width)
    found = level(kappa)
    ground = f"kappa.{found:+d}" if found is not None else "track"
    if kappa.status in ("incomplete", "unknown"):
        sign, style = ("✗", "bad") if kappa.status == "incomplete" else ("?", "dim")
        word = f" {kappa.status}" if width >= 18 else ""
        return ((fit(sign, 6, ">"), f"{ground} {style}"), (fit(word + more, width - 6), f"{ground} dim"))
    value, _, rest = kappa.text().partition(" [")
    interval = f" [{rest}" if rest and len(rest) + 8 + len(mark + more) <= width else ""
    return ((fit(value, 6, ">"), f"{ground} bold"), (fit(mark + interval + more, width - 6), ground))


def terms_plot(kappa: Kappa, width: int, height: int, chosen: int | None = None) -> list[Line]:
    """N*_n over n with its brackets, censored ones as arrows, and N*_joint as a level;
    ``chosen`` is the n of the cursor.
    """
    style = model_style(kappa.cell.model)
    good = [t for t in kappa.terms if t.status == "bracket" and t.hi is not None]
    points = tuple((float(t.n), _middle(t.lo, t.hi or 1)) for t in good)
    bars = tuple((float(t.n), float(max(t.lo, 0.7)), float(t.hi or 1)) for t in good)
    arrows = tuple((float(t.n), float(t.n_max)) for t in kappa.terms if t.status == "censored")
    values = [b for _, _, b in bars] + [a for _, a, _ in bars] + [y for _, y in arrows]
    joint = kappa.cell.joint
    levels = []
    if joint.status == "bracket" and joint.hi is not None:
        values.append(float(joint.hi))
        levels = [Level(float(joint.hi), "joint", "mark")]
    if not values:
        return []
    series = Series(points, style, model_sign(kappa.cell.model), True, bars, arrows)
    ns = [t.n for t in kappa.terms]
    x = Axis(min(ns) - 0.5, max(ns) + 0.5, False, True)
    places = {*points, *arrows}
    cursor = next(((n, y) for n, y in places if n == chosen), None)
    y = span(values, log=True)
    return plot([series], width, height, x, y, levels=levels, x_label="n", y_format="count", cursor=cursor)


def _middle(lo: int, hi: int) -> float:
    return math.sqrt((lo + 1) * hi)
