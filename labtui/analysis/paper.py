"""Measured cells beside the published ones: direction, order of magnitude, and at whose settings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from labtui.analysis.kappa import ABOUT_ONE, Kappa, kappa
from labtui.analysis.published import PUBLISHED, Published
from labtui.analysis.settings import differences
from labtui.text import spelled
from labtui.views import numbers
from runners.spec import Job
from runners.verdict import answer, diverged
from store.rows import CellRow

Verdict = Literal["agrees", "differs", "undecided"]
Settings = Literal["paper", "reduced", "unknown"]

SAME_ORDER = math.sqrt(10.0)
"""Two numbers are of one order of magnitude within this factor; kappa is ">> 1" beyond it."""
CLOSE = 0.2
"""An accuracy at 2L is "about" 0 or 1 within this."""


@dataclass(frozen=True)
class Comparison:
    """One published statement beside what was measured."""

    published: Published
    cells: tuple[Kappa, ...]
    """One cell; several for a trend."""
    measured: str
    direction: Verdict
    magnitude: Verdict | None
    """None: the statement has no size."""
    settings: Settings
    differences: tuple[str, ...]
    """What is not as in the paper."""

    @property
    def where(self) -> str:
        """``dense_ssm 16 acot Z3 L=2..7``."""
        c = self.cells[0].cell
        lengths = "/".join(str(k.cell.L) for k in self.cells)
        return f"{c.model_label} {c.format} {c.task} L={c.min_length}..{lengths}"

    def text(self, ascii: bool = False) -> str:
        """Two lines: published beside measured with both verdicts, then at whose settings it was measured."""
        size = f", order of magnitude {self.magnitude}" if self.magnitude is not None else ""
        told = (
            f"{self.where}: paper {self.published.text}; measured {self.measured}; "
            f"direction {self.direction}{size}"
        )
        if self.settings == "reduced":
            settings = "reduced settings: " + ", ".join(self.differences)
        else:
            settings = (
                "at the paper's settings"
                if self.settings == "paper"
                else "settings not known: specs are missing"
            )
        text = f"{told}\n  {settings}"
        return spelled(text) if ascii else text

    def to_dict(self) -> dict[str, Any]:
        """JSON form; what is published stands under ``published`` alone."""
        p = self.published
        return {
            "published": {
                "quantity": p.quantity,
                "relation": p.relation,
                "value": p.value,
                "text": p.text,
                "source": p.source,
            },
            "cells": [k.cell.id for k in self.cells],
            "where": self.where,
            "measured": spelled(self.measured),
            "direction": self.direction,
            "magnitude": self.magnitude,
            "settings": self.settings,
            "differences": list(self.differences),
        }


def compare_paper(cells: Sequence[CellRow], specs: Mapping[int, Job] | None = None) -> tuple[Comparison, ...]:
    """Every cell that the paper says something of, statement by statement.

    Args:
        cells: measured ones; those over modular addition or S_5 with lengths uniform over 2..L can
            be compared.
        specs: job id -> its spec, for as many jobs as are at hand:
            they tell at whose settings a cell was measured.
    """
    specs = specs or {}
    kappas = [kappa(c) for c in cells if c.distribution == "uniform" and (c.m is not None or c.task == "S5")]
    out: list[Comparison] = []
    for p in PUBLISHED:
        matching = [k for k in kappas if _matches(p, k.cell)]
        if p.quantity == "trend":
            out += _trends(p, matching, specs)
        else:
            out += [c for k in matching if (c := _compare(p, k, specs)) is not None]
    return tuple(out)


def _matches(p: Published, c: CellRow) -> bool:
    return c.model in p.models and c.format in p.formats and p.m in (None, c.m) and p.L in (None, c.L)


def _compare(p: Published, k: Kappa, specs: Mapping[int, Job]) -> Comparison | None:
    settings, differing = _settings([k.cell], specs)
    if p.quantity == "generalisation":
        accuracy = k.cell.joint.generalisation
        if accuracy is None:
            return None
        verdict: Verdict = "agrees" if abs(accuracy - p.value) <= CLOSE else "differs"
        return Comparison(p, (k,), f"{accuracy:.2f}", verdict, None, settings, differing)
    if p.quantity == "kappa":
        if k.want == 0:
            return None
        low, high, text = *_range(k), k.text()
    else:
        joint = k.cell.joint
        if joint.status == "open" or diverged(joint):
            return None
        low, high = _nstar_range(k.cell)
        text = f"N* {numbers.nstar(joint)}"
    direction, magnitude = _judge(p, low, high)
    return Comparison(p, (k,), text, direction, magnitude, settings, differing)


def _range(k: Kappa) -> tuple[float, float]:
    """The kappas that the cell allows; 0 and infinity where it says nothing."""
    return (k.low if k.low is not None else 0.0), (k.high if k.high is not None else math.inf)


def _nstar_range(c: CellRow) -> tuple[float, float]:
    found = answer(c.joint)
    return found.low or 0.0, math.inf if found.high is None else found.high


def _judge(p: Published, low: float, high: float) -> tuple[Verdict, Verdict | None]:
    """(direction, order of magnitude): undecided where the range of what was measured holds both answers."""
    below, above = ABOUT_ONE
    if p.relation == "at_most_about":
        return _inside(low, high, 0.0, above * p.value), None
    if p.relation == "about":
        return _inside(low, high, below * p.value, above * p.value), None
    if p.relation == "much_more":
        direction = _inside(low, high, above * p.value, math.inf)
        return direction, _inside(low, high, SAME_ORDER * p.value, math.inf)
    size = _inside(low, high, p.value / SAME_ORDER, p.value * SAME_ORDER)
    if p.quantity != "kappa":
        return size, size
    return (_inside(low, high, 0.0, below) if p.value < 1 else _inside(low, high, above, math.inf)), size


def _inside(low: float, high: float, a: float, b: float) -> Verdict:
    if a <= low and high <= b:
        return "agrees"
    return "differs" if high < a or low > b else "undecided"


def _trends(p: Published, kappas: Iterable[Kappa], specs: Mapping[int, Job]) -> list[Comparison]:
    """N*_joint at the smallest and the largest L of cells that differ in L alone."""

    def rest(k: Kappa) -> tuple[str, str, str, int]:
        c = k.cell
        return (c.model_label, c.format, c.task, c.min_length)

    out = []
    known = [k for k in kappas if k.cell.joint.status != "open" and not diverged(k.cell.joint)]
    for _, group in groupby(sorted(known, key=lambda k: (rest(k), k.cell.L)), key=rest):
        series = list({k.cell.L: k for k in group}.values())
        if len(series) < 2:
            continue
        first, last = _nstar_range(series[0].cell), _nstar_range(series[-1].cell)
        verdict: Verdict = (
            "agrees" if last[1] < first[0] else "differs" if last[0] > first[1] else "undecided"
        )
        text = " → ".join(numbers.nstar(k.cell.joint) for k in series)
        out.append(
            Comparison(p, tuple(series), text, verdict, None, *_settings([k.cell for k in series], specs))
        )
    return out


def _settings(cells: Iterable[CellRow], specs: Mapping[int, Job]) -> tuple[Settings, tuple[str, ...]]:
    """Paper where every job's spec is at hand and none differs; reduced where one differs; else unknown."""
    jobs = [part.job_id for c in cells for part in (c.joint, *c.parts)]
    found = tuple(dict.fromkeys(d for i in jobs if i in specs for d in differences(specs[i])))
    if found:
        return "reduced", found
    return ("paper", ()) if jobs and all(i in specs for i in jobs) else ("unknown", ())
