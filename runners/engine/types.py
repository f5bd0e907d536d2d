"""What goes into the engine and what comes out, without torch:
shared with the worker and with stand-in trainers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal

from runners.spec import SCIENCE_VERSION, Job
from runners.verdict import Outcome


class EngineError(RuntimeError):
    """Training cannot go on; ``str(error)`` is one sentence for a person."""


def shape_key(job: Job) -> str:
    """What two jobs must share for their trials to train in one fused batch: 32 hex digits.

    Task, format, lengths, model, budget, batch, validation set, precision and what is
    judged; not the grid, not the search.
    """
    parts = {"task", "format", "lengths", "model", "training"}
    whole = job.without_later(job.model_dump(mode="json"))
    data = {name: part for name, part in whole.items() if name in parts}
    if job.search.criterion != "loss" or job.search.fresh is not None:
        data["judged"] = [job.search.criterion, job.search.fresh]
    if job.generalisation_lengths:
        data["tested"] = job.generalisation_lengths
    data["science_version"] = SCIENCE_VERSION
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:32]


StopScope = Literal["probe", "seed", "never"]
"""Where one success ends the other trials: in the whole probe, among the trials of its seed, or nowhere."""


@dataclass(frozen=True)
class Member:
    """One trial in a fused batch."""

    probe: str
    """Which probe it belongs to; a batch may hold several, of several jobs of one shape."""
    n: int
    """Training set size N, in sequences."""
    lr: float
    seed: int
    eps: float
    stop: StopScope = "probe"
    generalisation: bool = False
    """Train the whole budget, evaluate exactly, and test the parameters of the best evaluation at twice the
    length."""


@dataclass(frozen=True)
class Plan:
    """Everything that can change the order of floating-point sums;
    stored with the probe and reused on resume.
    """

    device: str
    """``cpu`` or ``cuda:0``."""
    members_at_once: int
    """Members trained in one fused batch; the rest wait their turn in chunks."""
    threads: int = 1
    """Intra-op threads (CPU)."""
    graph: bool = False
    """The training step is captured in a CUDA graph."""
    precision: str = "fp32"
    streams: int = 1
    """Chunks that run side by side on a GPU."""
    note: str = ""
    """Why this plan and not a faster one, in words (capture refused, out of memory)."""
    kernels: str = ""
    """Which compiled kernels there are for it (CPU): their signature, or empty where torch does it all."""
    passing: bool = False
    """Its reason may pass (memory that others held, a capture that was refused): it serves the trials that
    it was
    made for, and is not kept as what suits the shape."""

    @property
    def open(self) -> bool:
        """How many members train at once is still to be found out."""
        return self.members_at_once == 0


@dataclass(frozen=True)
class Evaluated:
    """An evaluation of the members that are training now, at one step."""

    step: int
    members: tuple[int, ...]
    """Indices into the list of members."""
    train: tuple[float, ...]
    """Mean training loss since the last evaluation, one per member."""
    validation: tuple[float, ...]
    """Validation loss, one per member; where ``exact`` is false,
    the mean over the part of the set that decided.
    """
    exact: tuple[bool, ...]
    """False: a partial sum already proved "not below eps" and the rest was not evaluated;
    such a value is an estimate for the curve and never the trial's best loss."""


ByPosition = tuple[tuple[int, tuple[float, ...]], ...]
"""(length, rescaled accuracy at each position) of sequences of some lengths."""


@dataclass(frozen=True)
class Ended:
    """One trial is over."""

    member: int
    outcome: Outcome
    steps: int
    """Optimiser steps that it did."""
    best_loss: float
    """Lowest exact validation loss; inf if there was no finite one."""
    best_step: int
    last_loss: float
    """Validation loss at its last evaluation, exact for a trial that was not superseded;
    nan before the first.
    """
    generalisation: float | None = None
    """Rescaled accuracy at twice the length, if asked for."""
    by_position: ByPosition = ()
    """Likewise at further lengths."""
    usage: tuple[float, ...] = ()
    """Of a program: its most bytes of memory, its most bytes on its GPU and the mean use of it, 0..1; nan is
    not known."""


@dataclass(frozen=True)
class Checkpointed:
    """A checkpoint is on disk."""

    path: str
    step: int
    blocked_s: float
    """Seconds that training stood still for it."""


@dataclass(frozen=True)
class Note:
    """Something a person should know: a halved batch after out of memory, a plan without graphs."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class Planned:
    """The plan that training goes by, before the first step and again whenever it has to change
    (out of memory).
    """

    plan: Plan


@dataclass(frozen=True)
class Stopped:
    """Training was asked to stop and has; with a checkpoint if ``path`` is given.

    Unasked after a refused capture: this process should train no more; a new one goes on by the last plan.
    """

    path: str | None


@dataclass(frozen=True)
class Began:
    """A trial begins that will be evaluated late, or but once (a program): its time counts from here."""

    member: int


EngineEvent = Began | Evaluated | Ended | Checkpointed | Note | Planned | Stopped


@dataclass
class Control:
    """What the outside asks of a running trainer; polled at least every second,
    ``stop`` wherever work looks up.
    """

    stop: Literal["", "checkpoint", "discard"] = ""
    checkpoint_now: bool = False
    drop: set[str] = field(default_factory=set)
    """Probes whose trials end as superseded now (a cancelled job, a speculation that is not needed)."""
