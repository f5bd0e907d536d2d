"""The trials of a run: what each has done, which are over and why. No torch, no clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from runners.engine.types import ByPosition, Ended, Evaluated, Member
from runners.verdict import Outcome, trial_outcome

CURVE_POINTS = 64


@dataclass(frozen=True)
class Point:
    """One evaluation of one trial."""

    step: int
    train: float
    validation: float
    exact: bool


@dataclass
class Trial:
    """One member's record."""

    member: Member
    budget: int
    steps: int = 0
    outcome: Outcome | None = None
    best_loss: float = math.inf
    best_step: int = 0
    last_loss: float = math.nan
    generalisation: float | None = None
    by_position: ByPosition = ()
    curve: list[Point] = field(default_factory=list)
    evaluations: int = 0

    @property
    def live(self) -> bool:
        return self.outcome is None

    def record(self, point: Point) -> None:
        """Take one evaluation in; the best loss counts exact, finite ones only."""
        self.steps = point.step
        self.evaluations += 1
        self.last_loss = point.validation
        if point.exact and point.validation < self.best_loss:
            self.best_loss, self.best_step = point.validation, point.step
        self.curve.append(point)
        if len(self.curve) > CURVE_POINTS:
            self.curve = thin(self.curve, CURVE_POINTS // 2)


def thin(points: Sequence[Point], keep: int) -> list[Point]:
    """About ``keep`` of the points, evenly by rank; the first,
    the last and the best exact one always stay.
    """
    if len(points) <= keep:
        return list(points)
    best = min(range(len(points)), key=lambda i: (points[i].validation if points[i].exact else math.inf, i))
    step = (len(points) - 1) / (keep - 1)
    chosen = {round(i * step) for i in range(keep)} | {best}
    return [points[i] for i in sorted(chosen)]


class Trials:
    """All trials of a run, in the order in which they were given."""

    def __init__(self, members: Sequence[Member], budget: int, classes: int | None = None) -> None:
        """``classes``: of the head; None where there is no loss of a guess to compare with."""
        self._classes = classes
        self.all = [Trial(member, budget) for member in members]

    def __getitem__(self, i: int) -> Trial:
        return self.all[i]

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.all)

    @property
    def live(self) -> list[int]:
        return [i for i, trial in enumerate(self.all) if trial.live]

    def decide(self, evaluated: Iterable[int], diverged: Iterable[int] = ()) -> list[int]:
        """End the trials that the evaluations just recorded decide;
        their indices, in the order of their ending.

        Each success then supersedes the live trials of its scope, those that still wait included.
        """
        ended: list[int] = []
        bad = set(diverged)
        successes = []
        for i in evaluated:
            trial = self.all[i]
            if not trial.live:
                continue
            last = trial.curve[-1]
            loss, exact = last.validation, last.exact
            if trial.member.generalisation:
                # It trains its whole budget; a success at any evaluation is one.
                if i not in bad and trial.steps < trial.budget:
                    continue
                loss, exact = trial.best_loss, True
            trial.outcome = trial_outcome(
                loss,
                trial.member.eps,
                exact=exact,
                non_finite=i in bad,
                steps=trial.steps,
                budget=trial.budget,
                train=last.train,
                classes=self._classes,
            )
            if trial.outcome is None:
                continue
            if trial.outcome is Outcome.SUCCESS:
                successes.append(trial.member)
            ended.append(i)
        for winner in successes:
            if winner.stop != "never":
                ended += self._supersede(winner.probe, winner.seed if winner.stop == "seed" else None)
        return ended

    def end(self, i: int, outcome: Outcome) -> list[int]:
        """End one trial so, and with a success the live ones of its scope; their indices."""
        self.all[i].outcome = outcome
        winner = self.all[i].member
        if outcome is not Outcome.SUCCESS or winner.stop == "never":
            return [i]
        return [i, *self._supersede(winner.probe, winner.seed if winner.stop == "seed" else None)]

    def drop(self, probes: Iterable[str]) -> list[int]:
        """End all live trials of these probes as superseded."""
        return [i for probe in probes for i in self._supersede(probe, None)]

    def restart(self) -> None:
        """Forget what the live trials have done (the plan has changed under them)."""
        for i in self.live:
            self.all[i] = Trial(self.all[i].member, self.all[i].budget)

    def _supersede(self, probe: str, seed: int | None) -> list[int]:
        out = []
        for i, trial in enumerate(self.all):
            if trial.live and trial.member.probe == probe and (seed is None or trial.member.seed == seed):
                trial.outcome = Outcome.SUPERSEDED
                out.append(i)
        return out

    def ended(self, i: int) -> Ended:
        """The event of a trial that is over."""
        t = self.all[i]
        if t.outcome is None:
            raise ValueError(f"trial {i} is not over")
        return Ended(
            i, t.outcome, t.steps, t.best_loss, t.best_step, t.last_loss, t.generalisation, t.by_position
        )

    def history(self) -> list[Evaluated]:
        """The kept curve points as evaluations, in order of step."""
        by_step: dict[int, list[tuple[int, Point]]] = {}
        for i, trial in enumerate(self.all):
            for point in trial.curve:
                by_step.setdefault(point.step, []).append((i, point))
        return [evaluated(step, by_step[step]) for step in sorted(by_step)]

    def dump(self) -> list[dict[str, Any]]:
        """The records as JSON values; non-finite numbers as strings."""
        return [
            {
                "steps": t.steps,
                "outcome": t.outcome.value if t.outcome else None,
                "best_loss": _text(t.best_loss),
                "best_step": t.best_step,
                "last_loss": _text(t.last_loss),
                "generalisation": t.generalisation,
                "by_position": t.by_position,
                "evaluations": t.evaluations,
                "curve": [[p.step, _text(p.train), _text(p.validation), p.exact] for p in t.curve],
            }
            for t in self.all
        ]

    def load(self, data: Sequence[dict[str, Any]]) -> None:
        """Take over what :meth:`dump` wrote.

        Raises:
            KeyError, ValueError, TypeError: it is not such a dump of as many members.
        """
        self.all = [_loaded(trial.member, trial.budget, d) for trial, d in zip(self.all, data, strict=True)]


def _loaded(member: Member, budget: int, d: dict[str, Any]) -> Trial:
    return Trial(
        member,
        budget,
        steps=int(d["steps"]),
        outcome=Outcome(d["outcome"]) if d["outcome"] else None,
        best_loss=float(d["best_loss"]),
        best_step=int(d["best_step"]),
        last_loss=float(d["last_loss"]),
        generalisation=None if d["generalisation"] is None else float(d["generalisation"]),
        by_position=tuple((int(n), tuple(map(float, a))) for n, a in d.get("by_position", ())),
        evaluations=int(d["evaluations"]),
        curve=[Point(int(s), float(t), float(v), bool(e)) for s, t, v, e in d["curve"]],
    )


def evaluated(step: int, points: Sequence[tuple[int, Point]]) -> Evaluated:
    """One event for the evaluations of several members at the same step."""
    return Evaluated(
        step,
        tuple(i for i, _ in points),
        tuple(p.train for _, p in points),
        tuple(p.validation for _, p in points),
        tuple(p.exact for _, p in points),
    )


def _text(value: float) -> float | str:
    return value if math.isfinite(value) else repr(value)
