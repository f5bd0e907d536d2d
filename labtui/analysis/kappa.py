"""The sharing factor: kappa = (sum of N*_n over n) / N*_joint,
with what its brackets leave open (docs/science.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from labtui.text import spelled
from labtui.views import numbers
from runners.verdict import FLAGS, answer, diverged
from store.rows import CellRow, NStar, Status
from store.states import JobState

KappaStatus = Literal["complete", "pending", "upper_bound", "lower_bound", "unknown", "incomplete"]
IntervalKind = Literal["resolution", "credible", "mixed", "none"]
Regime = Literal["shared", "separate", "interference"]

ABOUT_ONE = (0.8, 1.25)
"""What "kappa is about 1" means, ends included: on every screen, in tables and beside the paper."""


@dataclass(frozen=True)
class Term:
    """One N*_n of the sum, for the drill-down."""

    n: int
    job_id: int
    state: JobState
    status: Status
    lo: int
    hi: int | None
    n_max: int
    flags: tuple[str, ...]
    estimate: tuple[float, float, float] | None
    name: str = ""
    """Of a program: its value on the axis of the sum."""
    n50: tuple[float, float, float] | None = None

    @property
    def label(self) -> str:
        """What it is called in a table: its length, or its name."""
        return self.name or str(self.n)

    @property
    def is_in(self) -> bool:
        """Its search is over with an answer: a bracket, or censored."""
        return _is_in(self)


@dataclass(frozen=True)
class Kappa:
    """kappa of one cell, or what is known of it."""

    cell: CellRow
    status: KappaStatus
    value: float | None
    """The point, where all parts have a bracket: (sum hi_n) / hi_joint, or the ratio of the estimates."""
    low: float | None
    """Lower end of the interval, or the lower bound."""
    high: float | None
    """Upper end of the interval, or the upper bound."""
    interval: IntervalKind
    """resolution: what the brackets leave open; credible: 90 %, from adaptive searches; mixed:
    both kinds of part.
    """
    have: int
    """Lengths whose N*_n is in."""
    want: int
    """Lengths of the sum."""
    joint_in: bool
    flags: tuple[str, ...]
    terms: tuple[Term, ...]
    notes: tuple[str, ...]

    @property
    def regime(self) -> Regime | None:
        """shared (kappa > 1), separate (about 1) or interference (< 1);
        of a bound only where it settles it.
        """
        if self.status == "complete" and self.value is not None:
            return regime_of(self.value)
        if self.status == "lower_bound" and self.low is not None and self.low > ABOUT_ONE[1]:
            return "shared"
        if self.status == "upper_bound" and self.high is not None and self.high < ABOUT_ONE[0]:
            return "interference"
        return None

    def text(self, ascii: bool = False) -> str:
        """As a table shows it: ``3.1 [2.9, 3.4]``, ``≤ 0.4``, ``pending 4/6``, ``unknown``."""
        text = self._text()
        return spelled(text) if ascii else text

    def _text(self) -> str:
        if self.status == "complete":
            return numbers.interval(self.value, self.low, self.high)
        if self.status == "upper_bound" and self.high is not None:
            return numbers.bound("<=", self.high)
        if self.status == "lower_bound" and self.low is not None:
            return numbers.bound(">=", self.low)
        if self.status == "pending":
            return f"pending {self.have + self.joint_in}/{self.want + 1}"
        return self.status

    def to_dict(self, floors: Mapping[int, float] = MappingProxyType({})) -> dict[str, Any]:
        """JSON form: the cell's axes, kappa, and every N* that it is made of, each with its coverage floor
        where ``floors`` has it by job.
        """
        cell = self.cell

        def told(part: NStar | Term) -> dict[str, Any]:
            return _nstar_dict(part) | {"floor": floors.get(part.job_id)}

        return {
            "id": cell.id,
            "study_id": cell.study_id,
            "task": cell.task,
            "m": cell.m,
            "model": cell.model,
            "model_label": cell.model_label,
            "format": cell.format,
            "distribution": cell.distribution,
            "L": cell.L,
            "min_length": cell.min_length,
            "over": cell.over,
            "axes": dict(cell.axes),
            "kappa": {
                "status": self.status,
                "value": self.value,
                "low": self.low,
                "high": self.high,
                "interval": self.interval,
                "regime": self.regime,
                "have": self.have,
                "want": self.want,
                "text": self.text(ascii=True),
            },
            "flags": list(self.flags),
            "notes": list(self.notes),
            "joint": told(cell.joint) | {"generalisation": cell.joint.generalisation},
            "parts": [{"n": term.n, "name": term.label} | told(term) for term in self.terms],
        }


def kappa(cell: CellRow) -> Kappa:
    """kappa of a cell with its resolution interval, bounds under censoring, or what is missing.

    A failed or cancelled part makes it incomplete, one that is not in yet pending; N*_joint censored gives
    kappa <= sum(hi_n) / (N_max + 1), an N*_n censored kappa >= sum(lo_n + 1, or N_max_n + 1) / hi_joint,
    both: unknown.
    """
    terms = tuple(_term(p) for p in sorted(cell.parts, key=lambda p: p.n or 0))
    joint = cell.joint
    want = max(cell.L - cell.min_length + 1, len(terms)) if terms else 0
    have = sum(t.is_in for t in terms)
    everything: tuple[NStar | Term, ...] = (joint, *terms)
    flags = tuple(sorted({f for part in everything for f in part.flags}))
    notes = [f"{FLAGS[f]} ({_where(f, everything)})" for f in FLAGS if f in flags and f != "capped"]
    status: KappaStatus
    value = low = high = None
    kind: IntervalKind = "none"
    lost = [part for part in everything if _is_lost(part)]
    if want == 0:
        status = "unknown"
        notes.insert(0, "only N* was asked for, so there is no sum over lengths")
    elif lost:
        status = "incomplete"
        notes.insert(0, ", ".join(f"{_name(part)}{_why_lost(part)}" for part in lost))
    elif have < want or not _is_in(joint):
        status = "pending"
    else:
        censored = [t for t in terms if t.status == "censored"]
        if joint.status == "censored" and censored:
            status = "unknown"
            notes.insert(0, "the joint task and a part are both censored")
        elif joint.status == "censored":
            status, high = "upper_bound", sum(_top(t) for t in terms) / (joint.n_max + 1)
            notes.insert(0, f"N*_joint > {numbers.exact(joint.n_max)}")
        elif censored:
            status, low = "lower_bound", sum(_bottom(t) for t in terms) / _top(joint)
            notes.insert(0, ", ".join(f"{_name(t)} > {numbers.exact(t.n_max)}" for t in censored))
        else:
            status = "complete"
            value, low, high, kind = _complete(terms, joint)
            if kind == "mixed":
                one = ", ".join(_name(part) for part in everything if part.estimate is None)
                notes.insert(0, f"one bisection each, {numbers.SCATTER}: {one}")
    return Kappa(cell, status, value, low, high, kind, have, want, _is_in(joint), flags, terms, tuple(notes))


def regime_of(value: float) -> Regime:
    """What a kappa means."""
    if value > ABOUT_ONE[1]:
        return "shared"
    return "interference" if value < ABOUT_ONE[0] else "separate"


def _where(flag: str, parts: tuple[NStar | Term, ...]) -> str:
    names = [_name(part) for part in parts if flag in part.flags]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _complete(terms: tuple[Term, ...], joint: NStar) -> tuple[float, float, float, IntervalKind]:
    parts: tuple[Term | NStar, ...] = (*terms, joint)
    with_estimate = sum(p.estimate is not None for p in parts)
    if with_estimate:
        from labtui.analysis.posterior import (
            ratio_interval,
        )  # numpy: only where an adaptive search is among the parts

        value = sum(_point(t) for t in terms) / _point(joint)
        low, high = ratio_interval([_spread(t) for t in terms], _spread(joint))
        return value, low, high, "credible" if with_estimate == len(parts) else "mixed"
    top = sum(_top(t) for t in terms)
    return top / _top(joint), sum(_bottom(t) for t in terms) / _top(joint), top / _bottom(joint), "resolution"


def _term(part: NStar) -> Term:
    if part.n is None:
        raise ValueError(f"job {part.job_id} is a part of a sum without its length; expected n")
    return Term(
        part.n, part.job_id, part.state, part.status, part.lo, part.hi, part.n_max, part.flags, part.estimate,
        part.name, part.n50,
    )  # fmt: skip


def _is_in(part: NStar | Term) -> bool:
    return part.state == "done" and part.status != "open" and not diverged(part)


def _is_lost(part: NStar | Term) -> bool:
    over_without = part.state == "done" and (part.status == "open" or diverged(part))
    return part.state in ("failed", "cancelled") or over_without


def _why_lost(part: NStar | Term) -> str:
    return ": all trials diverged" if part.state == "done" and diverged(part) else f" {part.state}"


def _name(part: NStar | Term) -> str:
    return "N*_joint" if part.n is None else f"N*_{part.name or part.n}"


def _point(part: NStar | Term) -> float:
    return _known(answer(part).value)


def _top(part: NStar | Term) -> float:
    """The largest N* that the part allows: hi, or the upper end of its 90 % interval."""
    return _known(answer(part).high)


def _bottom(part: NStar | Term) -> float:
    return _known(answer(part).low)


def _known(value: float | None) -> float:
    assert value is not None, "asked of parts that are in alone"
    return value


def _spread(part: NStar | Term) -> tuple[tuple[float, float, float], bool]:
    """((value, low, high), whether it is a 90 % interval rather than a bracket)."""
    low, high = _bottom(part), _top(part)
    if answer(part).kind == "estimate":
        return (_point(part), low, high), True
    return (math.sqrt(low * high), low, high), False


def _nstar_dict(part: NStar | Term) -> dict[str, Any]:
    return {
        "job_id": part.job_id,
        "state": part.state,
        "status": part.status,
        "lo": part.lo,
        "hi": part.hi,
        "n_max": part.n_max,
        "flags": list(part.flags),
        "estimate": list(part.estimate) if part.estimate is not None else None,
    }
