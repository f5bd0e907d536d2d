"""How a search's losses are shown: as they are, or of a program as its own metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING, Any

from labtui.text import clean
from labtui.views import numbers as figures
from store.json import mapping

if TYPE_CHECKING:
    from store.rows import Curve, JobRow

MOST = 64
"""Settings that a grid may have."""
NEAR = 0.02
"""A program's metric that far from its threshold, as a share of it, is one step of the heat map's ground."""


@dataclass(frozen=True)
class Metric:
    """Of one search."""

    name: str
    """``loss``, ``share wrong`` where the accuracy of sequences is judged, or the program's metric."""
    aim: str
    """What a trial has to reach: ``ε 0.03``, ``≥ 0.95``."""
    eps: float
    """What :meth:`gap` has to be below."""
    level: float
    """The threshold, in the unit that is shown."""
    sign: float = 1.0
    """-1: what is stored is the metric's negative."""
    program: bool = False

    def value(self, loss: float) -> float:
        """What is stored, in the unit that is shown."""
        return loss * self.sign if self.program else loss

    def text(self, loss: float | None) -> str:
        """The same as text of at most seven cells."""
        if loss is None or not self.program or not math.isfinite(loss):
            return figures.loss(loss)
        value = self.value(loss) + 0.0
        forms = ("g" if value == int(value) else ".4g", ".3g", ".1e", ".0e")
        return next((text for form in forms if len(text := f"{value:{form}}") <= 7), f"{value:.0e}")

    def gap(self, loss: float) -> float:
        """How far a loss is off, on a scale whose good values lie below ``eps``."""
        if not self.program or not math.isfinite(loss):
            return loss
        off = loss - self.level * self.sign
        return self.eps / 2 if off <= 0 else self.eps + off / (NEAR * max(abs(self.level), 1e-9))


def loss_below(eps: float) -> Metric:
    """The metric of a search whose losses have to fall below eps."""
    return Metric("loss", f"ε {figures.rate(eps)}", eps, eps)


def metric(job: JobRow) -> Metric:
    """The metric of a stored search."""
    if not job.program and "accuracy" in job.flags:
        return Metric("share wrong", f"< {figures.rate(job.eps)}", job.eps, job.eps)
    if not job.program:
        return loss_below(job.eps)
    sign, least = (-1.0, "≥") if job.distribution == "max" else (1.0, "≤")
    return Metric(clean(job.format), f"{least} {job.eps:g}", 1.0, job.eps, sign, True)


def grid_settings(spec: str) -> dict[float, dict[str, Any]]:
    """The settings of a program's grid by their numbers, from its stored spec."""
    grid = mapping(spec).get("grid")
    axes = grid.get("axes") if isinstance(grid, dict) else None
    if not isinstance(axes, dict) or not axes or not all(isinstance(v, list) for v in axes.values()):
        return {}
    chosen = enumerate(islice(product(*axes.values()), MOST), 1)
    return {float(number): dict(zip(axes, values, strict=True)) for number, values in chosen}


def settings(spec: str) -> Mapping[float, str]:
    """The same as text: ``lr 0.1  width 32``."""
    return {
        number: "  ".join(f"{clean(name)} {_shown(v)}" for name, v in values.items())
        for number, values in grid_settings(spec).items()
    }


def _shown(value: Any) -> str:
    return clean(f"{value:g}" if isinstance(value, float) else str(value), limit=40)


def usage(curve: Curve | None) -> str:
    """What a program's trial took: ``312M``, ``312M, GPU 2.1G 63%``; empty where nothing was sampled."""
    found = curve.usage if curve is not None else None
    if found is None:
        return ""
    memory = figures.size_bytes(found.memory) if found.memory is not None else ""
    card = [figures.size_bytes(found.gpu_memory)] if found.gpu_memory is not None else []
    card += [f"{found.gpu_use:.0%}"] if found.gpu_use is not None else []
    return ", ".join(filter(None, (memory, " ".join(["GPU", *card]) if card else "")))


def setting(job: JobRow | None, lr: float, names: Mapping[float, str] | None = None) -> str:
    """A learning rate, or the setting of a program: its values where they are known, else its number."""
    if job is None or not job.program:
        return figures.rate(lr)
    return f"#{lr:.0f}" if names is None else names.get(lr, "")
