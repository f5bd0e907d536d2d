"""Rows as the readers see them: frozen, standard library only.

Times are Unix seconds, losses nats per position. A field is read from the column of its name, by the decoder
of its type (``store.decode.RowMap``): the last word of a set is what any other value reads as.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from store.states import FAILURES, GOALS, NEEDS_WORD, Failure, JobState

Word = str
"""A short name of our own making, such as a format."""
Status = Literal["bracket", "censored", "open"]
"""open: not known yet; bracket: N* in (lo, hi]; censored: N* > n_max (hi is None)."""
ProbeState = Literal["running", "done", "cancelled", "interrupted", "lost"]
TrialOutcome = Literal["running", "success", "failure", "diverged", "superseded", "lost"]
Level = Literal["info", "error", "warning"]
CommandState = Literal["pending", "done", "refused"]
DeviceState = Literal["active", "excluded", "reserved", "lost"]
SupervisorState = Literal["running", "holding", "draining", "waiting", "stopped"]
"""holding: starts nothing new; draining: ends after the running probes; waiting: for disk space or memory."""


@dataclass(frozen=True)
class JobRow:
    """One search."""

    id: int
    hash: str
    name: str
    state: JobState
    priority: int
    position: float
    """Order within a priority; smaller first."""
    attempt: int
    max_attempts: int
    task: str
    """Label: Z3, S5."""
    m: int | None
    """The modulus, where the task is modular addition."""
    model: str
    """Kind: transformer, lstm, dense_ssm, or a plugin's name."""
    model_label: str
    format: Word
    """Of a program: its metric."""
    distribution: Word
    """Of a program: its goal, ``min`` or ``max``; losses of ``max`` are the metric's negative."""
    length: int
    """0: of a program."""
    min_length: int
    strategy: Word
    eps: float
    """Of a program: its threshold, in the metric."""
    n_max: int
    trials_per_probe: int
    steps: int
    """Budget of one trial in optimiser steps."""
    lo: int
    """Largest failing N below hi (0: none); with status open, what is known so far."""
    hi: int | None
    """Smallest N that succeeded = N*; None: none yet."""
    status: Status
    flags: tuple[str, ...]
    """capped, fails_above, max_candidates, contradicted, tf32, bf16, ..."""
    best_loss: float | None
    candidates: int
    """Probes with a verdict that count as evidence."""
    current_n: int | None
    """The N that is training now."""
    progress: float
    """0..1 of the running probe's grid."""
    device: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    wall_s: float
    device_s: float
    member_steps: int
    reason: str | None
    """Why it failed or was put back: a key of FAILURES (or another word),
    and in the lines below it the traceback's end.
    """
    notes: str
    tags: tuple[str, ...]
    archived: bool
    estimate: tuple[float, float, float] | None = None
    """``adaptive``: N* and its 90 % interval."""
    n50: tuple[float, float, float] | None = None
    crashes: int = 0
    """Runs in a row that ended without progress, but for those of a lost supervisor; at ``max_attempts`` the
    job fails. A finished probe or a newer checkpoint resets it.
    """
    wanted: str | None = None
    """``paused`` or ``cancelled``: asked for while it runs, and not yet so."""
    failure: Failure | None = None
    """Of a failed job, or of a queued one that is tried again: what ended its last run."""

    @property
    def program(self) -> bool:
        """Its trials are a program's."""
        return self.distribution in GOALS

    @property
    def needs_word(self) -> bool:
        """It waits for its user to allow its program here."""
        return self.state == "queued" and self.failure == FAILURES[NEEDS_WORD]


@dataclass(frozen=True)
class ProbeRow:
    """One candidate N."""

    id: int
    job_id: int
    ordinal: int
    n: int
    state: ProbeState
    verdict: bool | None
    speculative: bool
    """Trained ahead of its turn and not needed: never evidence."""
    attempt: int
    device: str | None
    slot: str | None
    started_at: float
    ended_at: float | None
    wall_s: float
    member_steps: int
    trials: int
    trials_ended: int
    step: int
    """Furthest optimiser step of its trials."""
    best_loss: float | None
    plan: str
    """JSON of the engine's Plan."""
    seeds: int
    successes: int
    """Seeds with at least one success (strategies adaptive and scan; else 0)."""


@dataclass(frozen=True)
class TrialRow:
    """One training run."""

    id: int
    probe_id: int
    job_id: int
    n: int
    lr: float
    seed: int
    outcome: TrialOutcome
    best_loss: float | None
    best_step: int
    last_loss: float | None
    steps: int
    wall_s: float
    generalisation: float | None


@dataclass(frozen=True)
class Usage:
    """What was sampled of a program's trial; None: not known."""

    memory: float | None
    """The most bytes that it and all that it started held at once."""
    gpu_memory: float | None
    """The most bytes on its GPU."""
    gpu_use: float | None
    """Of the GPU's time, the mean, 0..1."""


@dataclass(frozen=True)
class Curve:
    """A trial's losses at its evaluations (thinned to at most 32 points; first, best and last kept)."""

    steps: tuple[int, ...]
    train: tuple[float, ...]
    validation: tuple[float, ...]
    exact: tuple[bool, ...] = ()
    """Whether a validation loss is that of the whole set; one of a first part, which showed that it is not
    below eps, is an estimate. Empty: not known.
    """
    by_position: tuple[tuple[int, tuple[float, ...]], ...] = ()
    """(length, rescaled accuracy at each position) where a trial was tested at further lengths."""
    usage: Usage | None = None
    """Of a program's trial."""

    def estimates(self) -> list[tuple[int, float]]:
        """(step, validation loss) where the loss is one."""
        rows = zip(self.steps, self.validation, self.exact, strict=False)
        return [(step, loss) for step, loss, exact in rows if not exact]


@dataclass(frozen=True)
class StudyRow:
    """A study with the counts of its jobs by state."""

    id: int
    name: str
    notes: str
    tags: tuple[str, ...]
    created_at: float
    archived: bool
    counts: dict[str, int]
    spec: str
    """JSON of runners.spec.Study."""


class NStar(NamedTuple):
    """What is known of one N*: a term of kappa's sum, or its denominator.

    A tuple, because a kappa table needs 10,000.
    """

    job_id: int
    n: int | None
    """The length of an N*_n; None for the joint job."""
    state: JobState
    status: Status
    lo: int
    hi: int | None
    n_max: int
    flags: tuple[str, ...]
    estimate: tuple[float, float, float] | None = None
    generalisation: float | None = None
    """Joint job: rescaled accuracy at 2L of the trial with the lowest validation loss at N_max."""
    name: str = ""
    """Of a program's part: its value on the axis of the sum."""
    n50: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class CellRow:
    """One kappa cell of a study: its axes, its joint N* and its N*_n in order of n."""

    id: int
    study_id: int
    task: str
    m: int | None
    model: str
    model_label: str
    format: Word
    distribution: Word
    L: int
    min_length: int
    joint: NStar
    parts: tuple[NStar, ...]
    over: str = ""
    """Of a program: the axis that its sum is over."""
    axes: tuple[tuple[str, str], ...] = ()
    """Of a program: its other axes and their values."""

    @property
    def program(self) -> bool:
        """Its searches are a program's."""
        return self.distribution in GOALS


@dataclass(frozen=True)
class EventRow:
    """Something that happened."""

    id: int
    at: float
    kind: str
    level: Level
    job_id: int | None
    probe_id: int | None
    text: str
    data: str
    """JSON."""


@dataclass(frozen=True)
class CommandRow:
    """A verb that somebody asked for."""

    id: int
    at: float
    kind: str
    payload: str
    """JSON."""
    state: CommandState
    result: str
    """One sentence: what was done, or why not."""
    finished_at: float | None


@dataclass(frozen=True)
class DeviceRow:
    """A device that the supervisor uses."""

    id: str
    """cpu, cuda:0."""
    name: str
    slots: int
    state: DeviceState
    note: str


NodeState = Literal["active", "starting", "silent", "refused", "gone"]


@dataclass(frozen=True)
class NodeRow:
    """A machine of a cluster that the supervisor uses, as it was a moment ago."""

    name: str
    state: NodeState
    note: str = ""
    """Why it is refused, or what is unlike the others; in words."""
    address: str = ""
    slots: int = 0
    workers: int = 0
    """That live."""
    busy: int = 0
    """That train."""
    messages_per_s: float = 0.0
    versions: str = ""
    """labtui, Python and torch there."""


@dataclass(frozen=True)
class SupervisorRow:
    """The supervisor that holds, or last held, the lab."""

    epoch: int
    pid: int
    process_started: float
    host: str
    boot_id: str
    version: str
    started_at: float
    heartbeat_at: float
    state: SupervisorState
    message: str
    alive: bool
    """Its lock is held right now."""
