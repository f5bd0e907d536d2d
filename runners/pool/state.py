"""What the supervisor keeps in memory: slots, assignments, running searches.

The lab file is the truth; this is its shadow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from runners.engine.types import Member, Plan
from runners.pool import protocol as m
from runners.pool.devices import Device
from runners.pool.process import Worker
from runners.pool.thinning import ThinCurve
from runners.search import Candidate, Progress
from runners.spec import Job
from runners.verdict import Evidence
from store.rows import JobState


@dataclass
class Trial:
    """One member of a live probe."""

    id: int
    lr: float
    seed: int
    over: bool
    """Its end is in the lab."""
    stored: str = ""
    """The outcome that this supervisor wrote there."""
    ended: m.TrialEnded | None = None
    """Its end has come up the pipe."""
    step: int = 0
    train: float = float("nan")
    validation: float = float("nan")
    best: float = float("inf")
    best_step: int = 0
    curve: ThinCurve = field(default_factory=ThinCurve)
    changed: bool = False
    earlier_s: float = 0.0
    """Seconds that it took in earlier runs of its probe."""
    heard: float | None = None
    """When its first evaluation of this run came."""

    def wall_s(self, now: float) -> float:
        """Seconds so far, all runs together."""
        return self.earlier_s + (now - self.heard if self.heard is not None else 0.0)


@dataclass
class Probe:
    """A candidate N that is training."""

    id: int
    run: Run
    candidate: Candidate
    speculative: bool
    trials: list[Trial]
    began: float
    checkpoint_step: int = -1
    dropped: bool = False
    """Not wanted any more: whatever still comes for it is late."""
    changed: bool = False
    home: Assignment | None = None
    """Where it trains, or trained last."""
    told: float = 0.0
    """When its progress was last written."""
    earlier_wall_s: float = 0.0
    earlier_device_s: float = 0.0
    """What earlier runs of it took: a pause or a crash forgets no time."""

    @property
    def key(self) -> str:
        return str(self.id)

    @property
    def complete(self) -> bool:
        """Every trial has ended, in the lab or on its way there."""
        return all(t.over or t.ended is not None for t in self.trials)

    def fraction(self, budget: int) -> float:
        """Share of the grid's steps that is done, an ended trial counting as whole."""
        done = sum(1.0 if t.over or t.ended is not None else min(1.0, t.step / budget) for t in self.trials)
        return done / len(self.trials)

    def wall_s(self, now: float) -> float:
        """Seconds so far, all runs together."""
        return self.earlier_wall_s + now - self.began

    def device_s(self, now: float) -> float:
        """Its members' share of the seconds that a device has been at it, all runs together."""
        mine = len(self.trials)
        share = mine / max(mine, len(self.home.members)) if self.home is not None else 1.0
        return self.earlier_device_s + (now - self.began) * share

    def steps(self) -> int:
        """Member-steps so far."""
        return sum(t.ended.ended.steps if t.ended is not None else t.step for t in self.trials)


@dataclass
class Assignment:
    """What one worker trains in one go: the members of one probe or, packed, of several of the same shape."""

    tag: m.Tag
    slot: Slot
    job: Job
    members: tuple[Member, ...]
    """As in the checkpoint, those of dropped probes included."""
    folder: str
    """Of its checkpoints."""
    probes: dict[str, Probe]
    """Those that are wanted, by key."""
    index: list[tuple[str, int]]
    """For each member: the key of its probe and its place in that probe's grid."""
    plan: Plan | None
    device_id: str
    sent: float
    resumed: bool = False
    trained: bool = False
    """Something was evaluated: there is something to lose."""
    stopping: str = ""
    """checkpoint or discard, once asked."""
    stop_by: float = 0.0

    def trial(self, member: int) -> tuple[Probe, Trial] | None:
        """Whose member that is; None if nobody wants it any more or there is no such member."""
        if not 0 <= member < len(self.index):
            return None
        key, place = self.index[member]
        probe = self.probes.get(key)
        return None if probe is None or probe.dropped else (probe, probe.trials[place])

    @property
    def speculative(self) -> bool:
        return all(p.speculative for p in self.probes.values())


@dataclass
class Slot:
    """A place where one worker runs."""

    name: str
    device: Device
    threads: int
    worker: Worker | None = None
    assignment: Assignment | None = None
    not_before: float = 0.0
    """Monotonic time before which no worker is started here."""
    failures: int = 0
    """Workers that died or lost their device here in a row."""
    retired: bool = False
    """Its device was excluded, reserved, lost or given fewer slots: it takes nothing new."""
    idle_since: float = 0.0
    ending: tuple[str, str] | None = None
    """(reason, text) where the supervisor itself killed the worker."""

    @property
    def kind(self) -> str:
        return self.device.kind

    @property
    def calibration_key(self) -> str:
        """Under what a shape's plan is kept: another torch has other kernels and other needs."""
        ready = self.worker.ready if self.worker is not None else None
        return (
            f"{self.plan_key}/torch {ready.library}" if ready is not None and ready.library else self.plan_key
        )

    @property
    def plan_key(self) -> str:
        """Under what a speed is kept: the kind of card, or the CPU with the threads that a slot has."""
        return f"cpu/{self.threads}" if self.kind == "cpu" else f"{self.kind}/{self.device.name}"


@dataclass
class Run:
    """A job that is running: its search, replayed from what is stored."""

    id: int
    job: Job
    attempt: int
    crashes: int
    evidence: tuple[Evidence, ...] = ()
    known: dict[int, tuple[int, bool]] = field(default_factory=dict)
    """Speculative verdicts ahead of their turn: N -> (probe id, success)."""
    progress: Progress | None = None
    probes: dict[int, Probe] = field(default_factory=dict)
    """Live ones by N."""
    slot: Slot | None = None
    """The last one, by preference the next: its worker has the data."""
    solo: bool = False
    """Crashed: not packed with others until a probe of it has ended."""
    speculate: bool = True
    leaving: JobState | None = None
    """paused or cancelled: the state that it takes once its probes have stopped."""

    @property
    def grid(self) -> int:
        return len(self.job.grid.members)


def members_of(probe: Probe, wins: Mapping[tuple[float, int], int]) -> tuple[Member, ...]:
    """The engine's members for a probe, those that won most often first:
    where they take turns, a success spares the others.

    Args:
        wins: of each (learning rate, seed); where they are equal the order of the grid counts.
    """
    run = probe.run
    search = run.job.search
    if search.strategy in ("adaptive", "scan"):
        stop: str = "seed"
    else:
        stop = "probe" if search.stop_rule == "first_success" else "never"
    generalise = run.job.generalisation and probe.candidate.n == run.job.n_max
    if generalise:  # what is tested at twice the length must depend on the spec alone, so nothing ends early
        stop = "never"
    return tuple(
        Member(probe.key, probe.candidate.n, t.lr, t.seed, search.eps, stop, generalise)  # type: ignore[arg-type]
        for t in sorted(probe.trials, key=lambda t: -wins.get((t.lr, t.seed), 0))
    )


def grid_of(job: Job, candidate: Candidate) -> tuple[tuple[float, int], ...]:
    """(learning rate, seed) of each trial of a candidate, learning rate outermost."""
    if candidate.seeds is None:
        return job.grid.members
    return tuple((lr, seed) for lr in job.grid.learning_rates for seed in candidate.seeds)


def manifest(assignment: Assignment) -> str:
    """The text of the file that lies in a checkpoint's folder: which members it is of, in their order."""
    return json.dumps(
        {
            "device": assignment.device_id,
            "members": [
                [x.probe, x.n, x.lr, x.seed, x.eps, x.stop, x.generalisation] for x in assignment.members
            ],
        }
    )


def read_manifest(text: str) -> tuple[Member, ...] | None:
    """The members of :func:`manifest`; None if the text is not one."""
    try:
        rows = json.loads(text)["members"]
        out = []
        for probe, n, lr, seed, eps, stop, generalisation in rows:
            if stop not in ("probe", "seed", "never"):
                return None
            out.append(
                Member(str(probe), int(n), float(lr), int(seed), float(eps), stop, bool(generalisation))
            )
        return tuple(out) or None
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        return None
