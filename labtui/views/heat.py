"""The grid of one candidate as a heat map: learning rates down, seeds across,
each trial's best loss and how it ended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from labtui.text import fit
from labtui.views import numbers as figures
from labtui.views.bracket import outcome_of
from labtui.views.lines import LEVELS, Line, Span
from labtui.views.metric import Metric
from labtui.views.plot import steps_axis
from labtui.views.signs import OUTCOME_SIGN
from store.rows import Curve, TrialRow

LABEL = 7


def heat_level(best: float | None, eps: float) -> int:
    """0: below eps; then one level for each factor of about six above it, up to 5."""
    if best is None or not math.isfinite(best):
        return 5
    if best < eps:
        return 0
    above = best / eps if eps > 0 else math.inf
    return min(5, 1 + int(math.log(above) / math.log(6))) if math.isfinite(above) else 5


def heat_map(
    trials: Sequence[TrialRow],
    shown_as: Metric,
    width: int,
    height: int,
    curves: Mapping[int, Curve] | None = None,
    budget: int = 0,
    names: Mapping[float, str] | None = None,
    *,
    moving: bool = True,
) -> list[Line]:
    """At most ``height`` lines; seeds that do not fit are counted. Where a cell has the room, the trial's
    validation loss stands in it as it falls, over the steps of ``budget`` reached so far: the foot of the
    cell is eps. ``moving``: a trial that is stored as running is in training.
    Of a program ``names`` are of its settings, which stand where others have learning rates.
    """
    curves, eps = {i: _gaps(c, shown_as) for i, c in (curves or {}).items()}, shown_as.eps
    top = max((v for c in curves.values() for v in c.validation if math.isfinite(v)), default=0.0)
    last = max((c.steps[-1] for c in curves.values() if c.steps), default=0)
    span = steps_axis(last, budget).high
    rates = sorted({t.lr for t in trials}, reverse=True)
    seeds = sorted({t.seed for t in trials})
    if not trials or width < LABEL + 4:
        return []
    room = width - LABEL
    cell = min(11, max(3, room // len(seeds)))
    if cell < 9:
        cell = 3 if cell < 5 else cell
    shown = seeds[: max(1, room // cell)]
    by_place = {(t.lr, t.seed): t for t in trials}
    step = 3 if height >= len(rates) * 3 + 1 and cell >= 9 else 2 if height >= len(rates) * 2 + 1 else 1
    more = len(seeds) - len(shown)
    head: list[Span] = [(fit("grid" if shown_as.program else "lr", LABEL - 1), "dim"), (" ", "")]
    head += [(fit(_end_of(s, cell - 1), cell, "^"), "dim") for s in shown]
    if more > 0:
        head.append((f" +{more}", "dim"))
    lines: list[Line] = [tuple(head)]
    for rate in rates:
        block: list[list[Span]] = [[(" " * LABEL, "")] for _ in range(step)]
        middle = 0 if curves else step // 2 if step == 3 else 0
        block[middle][0] = (fit(_label(rate, shown_as, names or {}), LABEL - 1, ">") + " ", "dim")
        for seed in shown:
            trial = by_place.get((rate, seed))
            curve = curves.get(trial.id) if trial is not None else None
            fall = (
                falling(curve, eps, top, span, cell - 1, step - 1) if curve is not None and step > 1 else []
            )
            for i, spans in enumerate(block):
                if trial is not None and i and fall:
                    spans.append((fall[i - 1], "ok" if _level(trial, shown_as) == 0 else "quiet"))
                elif step == 2 and i == 1 and not curves:
                    spans.append((" " * (cell - 1), ""))
                else:
                    spans.extend(_cell(trial, shown_as, cell - 1, i == middle, moving))
                spans.append((" ", ""))
        lines += [tuple(spans) for spans in block]
    return lines[:height]


def _end_of(seed: int, width: int) -> str:
    """A seed, or its last digits where there is no room: those tell fresh ones apart."""
    text = str(seed)
    return text if len(text) <= width else f"…{text[1 - width :]}"


def falling(curve: Curve, eps: float, top: float, span: float, width: int, height: int) -> list[str]:
    """A validation loss as columns in ``width`` x ``height`` cells over steps 0 to ``span``, on a log scale
    from eps (nothing) to ``top`` (full), resolved to an eighth of a cell; no lines where there is no scale.
    """
    if width < 5 or not 0 < eps < top or not curve.validation:
        return []
    text: list[int] = []
    at, floor = 0, math.log(eps)  # logarithms, then the difference: loss / eps may be too large for a float
    for x in range(width):
        if x and curve.steps[-1] <= x * span / width:
            text.append(0)  # not trained so far
            continue
        while at + 1 < len(curve.steps) and curve.steps[at + 1] <= (x + 1) * span / width:
            at += 1
        loss = curve.validation[at]
        share = (math.log(loss) - floor) / (math.log(top) - floor) if 0 < loss < math.inf else 1.0
        text.append(max(0, min(8 * height, round(share * 8 * height))))
    return ["".join(LEVELS[max(0, min(8, n - 8 * (height - 1 - y)))] for n in text) for y in range(height)]


def _gaps(curve: Curve, shown_as: Metric) -> Curve:
    return replace(curve, validation=tuple(map(shown_as.gap, curve.validation)))


def _label(rate: float, shown_as: Metric, names: Mapping[float, str]) -> str:
    """A learning rate; of a program its setting, as much of it as there is room for."""
    if not shown_as.program:
        return figures.rate(rate)
    name = names.get(rate, "")
    value = name.partition(" ")[2] if "  " not in name else ""
    return next((text for text in (name, value) if text and len(text) < LABEL), f"#{rate:.0f}")


def _level(trial: TrialRow, shown_as: Metric) -> int:
    return heat_level(None if trial.best_loss is None else shown_as.gap(trial.best_loss), shown_as.eps)


def _cell(trial: TrialRow | None, shown_as: Metric, width: int, middle: bool, moving: bool) -> list[Span]:
    if trial is None:
        return [(" " * width, "track")]
    level = _level(trial, shown_as)
    ground = f"heat.{level}"
    if not middle:
        return [(" " * width, ground)]
    sign = OUTCOME_SIGN.get(outcome_of(trial, moving), "?")
    if width < 5:  # no room for the loss: how far it is above eps, as a column
        far = "" if trial.best_loss is None else " ▂▃▅▆▇"[level]
        return [(fit(f"{sign}{far}".rstrip(), width, "^"), f"{ground} bold")]
    text = shown_as.text(trial.best_loss)
    head = next((h for h in (f" {sign} ", f"{sign} ", sign) if len(h) + len(text) <= width), "")
    if not head:  # no digits rather than the first ones
        return [(fit(f" {sign}", width), f"{ground} bold")]
    return [(head, f"{ground} bold"), (fit(text, width - len(head)), ground)]
