"""All values of kappa beside each other on one log axis around 1:
what shares to the right, what interferes to the left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labtui.text import fit
from labtui.views.kappa import name
from labtui.views.lines import Line, Span, crop, joined, linked, rule
from labtui.views.signs import model_sign, model_style

if TYPE_CHECKING:
    from labtui.analysis.kappa import Kappa

LABEL = 34
_TICKS = (
    (0.125, "1/8"),
    (0.25, "1/4"),
    (0.5, "1/2"),
    (1.0, "1"),
    (2.0, "2"),
    (4.0, "4"),
    (8.0, "8"),
    (16.0, "16"),
)


def reach(kappas: Sequence[Kappa]) -> float:
    """Half the axis in powers of two: what the values need, at least 2 and at most 4."""
    ends = [
        abs(math.log2(v))
        for k in kappas
        for v in (k.value, k.low, k.high)
        if v is not None and 0 < v < math.inf
    ]
    return float(min(4, max(2, math.ceil(max(ends, default=2.0)))))


def forest(kappas: Sequence[Kappa], width: int, height: int, chosen: int | None = None) -> list[Line]:
    """One row for each kappa that says something, ``chosen`` being the id of its cell;
    those that do not fit are counted.
    """
    told = list(kappas)
    inner = width - LABEL - 1
    room = height - 2
    if not told or inner < 24 or room < 1:
        return []
    half = reach(told)
    at = next((i for i, k in enumerate(told) if k.cell.id == chosen), 0)
    if len(told) > room:  # what is known first, since not all is in sight
        told.sort(key=lambda k: k.status not in ("complete", "lower_bound", "upper_bound"))
        at = next((i for i, k in enumerate(told) if k.cell.id == chosen), 0)
    top = max(0, min(at - room + 1, len(told) - room))
    shown = told[top : top + room]
    head = rule(
        "κ", width, f"{len(shown)} of {len(told)}" if len(shown) < len(told) else "interferes ←  1  → shares"
    )
    rows = [_row(k, inner, half, k.cell.id == chosen) for k in shown]
    if 2 * len(rows) - 1 <= room:  # room enough for air between them
        air: Line = ((" " * (LABEL + 1), ""), *joined(_guides(inner, half)))
        rows = [line for row in rows for line in (row, air)][:-1]
    return [head, *rows, _axis(inner, half)]


def _place(value: float, half: float, inner: int) -> int:
    share = (math.log2(value) + half) / (2 * half) if value > 0 else 0.0
    return min(inner - 1, max(0, round(share * (inner - 1))))


def _side(kappa: Kappa) -> str:
    """Blue where a mechanism is shared, orange where parts interfere, plain between: no model has these
    colours.
    """
    if kappa.status not in ("complete", "lower_bound", "upper_bound"):
        return "dim"
    return {"shared": "more", "interference": "less"}.get(kappa.regime or "", "strong")


def _row(kappa: Kappa, inner: int, half: float, here: bool) -> Line:
    cell = kappa.cell
    style = _side(kappa)
    cells = _guides(inner, half)
    low = kappa.low if kappa.low is not None else kappa.value
    high = kappa.high if kappa.high is not None else kappa.value
    if kappa.status == "lower_bound" and low is not None:
        first = _place(low, half, inner)
        cells[first:] = [("╌", style)] * (inner - first)
        cells[-1], cells[first] = ("→", style), ("├", style)
    elif kappa.status == "upper_bound" and high is not None:
        last = _place(high, half, inner)
        cells[: last + 1] = [("╌", style)] * (last + 1)
        cells[0], cells[last] = ("←", style), ("┤", style)
    elif kappa.value is not None and low is not None and high is not None:
        first, last = _place(low, half, inner), _place(high, half, inner)
        cells[first : last + 1] = [("━", style)] * (last + 1 - first)
        cells[_place(kappa.value, half, inner)] = ("◆", f"{style} bold")
    else:
        word = (
            f"{kappa.have + kappa.joint_in}/{kappa.want + 1}" if kappa.status == "pending" else kappa.status
        )
        cells[: len(word)] = [(char, "dim") for char in word]
    line: Line = (
        (f"{model_sign(cell.model)} ", model_style(cell.model)),
        (fit(name(cell), LABEL - 2), "dim" if style == "dim" else ""),
        (" ", ""),
        *joined(cells),
    )
    return linked(line, f"kappa:{cell.id}", "cursor" if here else "")


def _guides(inner: int, half: float) -> list[Span]:
    """The upright lines behind the rows, that of 1 the strongest."""
    cells: list[Span] = [(" ", "")] * inner
    for value, _ in _TICKS:
        if abs(math.log2(value)) <= half:
            cells[_place(value, half, inner)] = ("│", "dim") if value == 1.0 else ("┊", "faint")
    return cells


def _axis(inner: int, half: float) -> Line:
    text = [" "] * inner
    for value, told in _TICKS:
        if abs(math.log2(value)) <= half:
            start = min(inner - len(told), max(0, _place(value, half, inner) - len(told) // 2))
            text[start : start + len(told)] = list(told)
    return crop(((" " * (LABEL + 1), ""), ("".join(text), "dim")), LABEL + 1 + inner)
