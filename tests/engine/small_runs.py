"""A small bench for the engine's tests: tiny jobs, and runs collected into what each trial saw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runners.engine.trainer import Trainer
from runners.engine.types import Control, Ended, EngineEvent, Evaluated, Member, Note, Plan, Stopped
from runners.spec import LSTM, DenseSSM, Job, Lengths, ModularAddition, Training, Transformer

MODELS = {
    "dense_ssm": DenseSSM(hidden=8),
    "lstm": LSTM(hidden=8),
    "transformer": Transformer(layers=1, d=8, heads=2, dropout=0.1, init_std=0.15),
}
FORMATS = ("outcome", "cot", "acot")


def tiny(
    model: str = "dense_ssm", format: str = "acot", lengths: tuple[int, int] = (2, 4), **training: Any
) -> Job:
    low, high = lengths
    settings = {"batch_size": 8, "steps": 23, "eval_every": 5, "validation_size": 24, **training}
    return Job.model_validate(
        {
            "task": ModularAddition(m=3),
            "format": format,
            "lengths": Lengths(
                distribution="uniform" if low < high else "fixed", length=high, min_length=low
            ),
            "model": MODELS[model],
            "training": Training(**settings),
        }
    )


def grid(
    probe: str = "a",
    n: int = 20,
    rates: Iterable[float] = (1e-2, 3e-3),
    seeds: Iterable[int] = (10, 20),
    **more: Any,
) -> list[Member]:
    settings = {"eps": 1e-3, "stop": "never", **more}
    return [Member(probe, n, rate, seed, **settings) for rate in rates for seed in seeds]


def cpu(members_at_once: int = 64) -> Plan:
    return Plan("cpu", members_at_once)


@dataclass
class Seen:
    """What a run told, sorted by trial."""

    curves: dict[int, dict[int, tuple[float, float, bool]]] = field(default_factory=dict)
    ended: dict[int, Ended] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    events: list[EngineEvent] = field(default_factory=list)

    def take(self, event: EngineEvent) -> None:
        self.events.append(event)
        if isinstance(event, Evaluated):
            for row in zip(event.members, event.train, event.validation, event.exact, strict=True):
                self.curves.setdefault(row[0], {})[event.step] = row[1:]
        elif isinstance(event, Ended):
            self.ended[event.member] = event
        elif isinstance(event, Note):
            self.notes.append(event.text)

    def of(self, i: int, **index: int) -> tuple[Any, ...]:
        """Everything told of one trial, but for its index."""
        e = self.ended[i]
        return (
            self.curves.get(i),
            e.outcome,
            e.steps,
            e.best_loss,
            e.best_step,
            repr(e.last_loss),
            e.generalisation,
        )


def run(
    job: Job,
    members: list[Member],
    *,
    plan: Plan | None = None,
    control: Control | None = None,
    folder: Path | None = None,
    resume: bool = False,
    each: Callable[[EngineEvent], None] | None = None,
    seen: Seen | None = None,
) -> Seen:
    seen = seen or Seen()
    trainer = Trainer(job, members, device="cpu", plan=plan or cpu(), checkpoint_dir=folder, resume=resume)
    for event in trainer.run(control or Control()):
        seen.take(event)
        if each:
            each(event)
    return seen


class StopAfter(Control):
    """Asks for a checkpoint and a stop at the k-th time that it is looked at."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        super().__init__()

    def __getattribute__(self, name: str):  # type: ignore[no-untyped-def]
        if name == "stop":
            self.looks -= 1
            return "checkpoint" if self.looks < 0 else ""
        return super().__getattribute__(name)


def stopped(seen: Seen) -> bool:
    return isinstance(seen.events[-1], Stopped)


def in_pieces(job: Job, members: list[Member], plan: Plan, folder: Path, looks: Sequence[int]) -> Seen:
    """A run stopped after so many looks, gone on with from its checkpoint, stopped again ...,
    and at last to its end.
    """
    seen = Seen()
    run(job, members, plan=plan, folder=folder, control=StopAfter(looks[0]), seen=seen)
    for more in looks[1:]:
        if stopped(seen):
            run(job, members, folder=folder, resume=True, control=StopAfter(more), seen=seen)
    if stopped(seen):
        run(job, members, folder=folder, resume=True, seen=seen)
    return seen
