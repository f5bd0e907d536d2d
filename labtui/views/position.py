"""Accuracy by position of trials that were tested at further lengths; on the Job screen and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labtui.views import numbers as figures
from labtui.views.grid import grid
from labtui.views.lines import Line, Span
from labtui.views.plot import Axis, Series, plot
from labtui.views.signs import rate_inks
from store.json import mapping
from store.rows import Curve, JobRow, ProbeRow, TrialRow

Tested = tuple[tuple[TrialRow, Curve], ...]


def asked_lengths(spec: str) -> tuple[int, ...]:
    """The further lengths that a stored spec names, ascending."""
    found = mapping(spec).get("generalisation_lengths")
    if not isinstance(found, list):
        return ()
    return tuple(sorted({n for n in found if type(n) is int and 0 < n < 1 << 31}))


def positions_of_trials(lab: Any, job: JobRow, probes: Sequence[ProbeRow], spec: str) -> Tested:
    """The trials at N_max that have accuracies by position, the one with the lowest loss first."""
    probe = next((p for p in probes if p.n == job.n_max and p.state == "done"), None)
    if probe is None or not asked_lengths(spec):
        return ()
    curves: Mapping[int, Curve] = lab.curves(probe.id)
    found = [(t, curves[t.id]) for t in lab.trials(probe_id=probe.id) if t.id in curves]
    found = [(t, c) for t, c in found if c.by_position]
    return tuple(sorted(found, key=lambda x: x[0].best_loss if x[0].best_loss is not None else float("inf")))


def at_length(curve: Curve, length: int) -> float | None:
    """Rescaled accuracy of the last state of sequences of a length: where what is told rests on what was
    read so far, that is the same position of longer ones."""
    for told, accuracies in curve.by_position:
        if length == told or (length < told == curve.by_position[-1][0] and len(curve.by_position) == 1):
            return accuracies[length - 1] if 0 < length <= len(accuracies) else None
    return None


def position_plot(tested: Tested, L: int, width: int, height: int) -> list[Line]:
    """Accuracy over positions, one colour per learning rate, the trial with the lowest loss on top."""
    inks = rate_inks(t.lr for t, _ in tested)
    longest = max(len(told) for _, c in tested for _, told in c.by_position)
    series = [
        Series(
            tuple((float(i), max(-0.1, value)) for i, value in enumerate(told, 1)),
            inks[trial.lr].style,
            dash=inks[trial.lr].dash,
        )
        for trial, curve in reversed(tested)
        for _, told in curve.by_position
    ]
    marks: list[Span] = [("lr  ", "dim")]
    for lr, ink in inks.items():
        marks += [(f"{ink.sample} ", ink.style), (f"{figures.rate(lr)}  ", "dim")]
    marks.append((f"trained up to {L}", "dim"))
    body = plot(
        series,
        width,
        height - 1,
        Axis(1.0, float(max(2, longest)), False, True),
        Axis(-0.1, 1.05, False),
        x_label="position",
    )
    return [tuple(marks), *body] if body else []


def position_lines(tested: Tested, lengths: Sequence[int]) -> list[str]:
    """One line for each trial: rescaled accuracy at each of the lengths."""
    rows: list[list[object]] = []
    for trial, curve in tested:
        values = (at_length(curve, n) for n in lengths)
        rows.append(
            [figures.rate(trial.lr), trial.seed, figures.loss(trial.best_loss), *map(figures.share, values)]
        )
    heads = ["lr", "seed", "best loss", *map(str, lengths)]
    return grid(heads, rows, right=" ".join(("lr seed", *map(str, lengths))))
