"""What the supervisor keeps in memory: slots, assignments, running searches.

The lab file is the truth; this is its shadow.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from runners.engine.types import Member, Plan, shape_key
from runners.pool import protocol as m
from runners.pool.devices import Device
from runners.pool.options import Options
from runners.pool.portion import Portion
from runners.pool.protocol import Clock
from runners.pool.thinning import ThinCurve
from runners.search import Candidate, Progress
from runners.spec import Job
from runners.strategies import FRESH_SEEDS
from runners.verdict import Evidence
from store.json import mapping
from store.paths import LabPaths
from store.states import JobState

log = logging.getLogger("labtui.supervisor")


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


@dataclass(eq=False)
class WorkItem:
    """A candidate N of a search, from the moment it could train until its verdict is stored.

    Its rows (``id``, ``trials``) come with the transaction that begins it; its worker with the assignment.
    """

    run: Run
    candidate: Candidate
    speculative: bool = False
    """Tried ahead of its turn."""
    id: int = 0
    """Of its row in the lab (a probe); 0: not begun."""
    trials: list[Trial] = field(default_factory=list)
    began: float = 0.0
    resumed: bool = False
    """It goes on where an earlier run of it left off."""
    plan: str = ""
    """The plan that it began with, as stored."""
    wins: Mapping[tuple[float, int], int] = field(default_factory=dict)
    """How often each (learning rate, seed) has won in its search: those begin first."""
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
    def size(self) -> int:
        """Members."""
        return len(grid_of(self.run.job, self.candidate))

    @property
    def complete(self) -> bool:
        """Every trial has ended, in the lab or on its way there."""
        return all(t.over or t.ended is not None for t in self.trials)

    def fraction(self, budget: int) -> float:
        """Share of the grid's steps that is done, an ended trial counting as whole."""
        each = budget or math.inf  # a program may not say how many steps it takes
        done = sum(1.0 if t.over or t.ended is not None else min(1.0, t.step / each) for t in self.trials)
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
    probes: dict[str, WorkItem]
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

    def trial(self, member: int) -> tuple[WorkItem, Trial] | None:
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
    worker: m.WorkerProcess | None = None
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
    probes: dict[int, WorkItem] = field(default_factory=dict)
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

    @cached_property
    def shape(self) -> str:
        """What the trials of two searches must share to train in one batch."""
        return shape_key(self.job)


def members_of(probe: WorkItem, wins: Mapping[tuple[float, int], int]) -> tuple[Member, ...]:
    """The engine's members for a probe, those that won most often first:
    where they take turns, a success spares the others.

    Args:
        wins: of each (learning rate, seed); where they are equal the order of the grid counts.
    """
    run = probe.run
    search = run.job.search
    if search.strategy in FRESH_SEEDS:
        stop: str = "seed"
    else:
        stop = "probe" if search.stop_rule == "first_success" else "never"
    generalise = run.job.generalisation and probe.candidate.n == run.job.n_max
    if search.strategy == "adaptive":  # of all probes at N_max the first, whose seeds the spec alone says
        generalise = generalise and run.job.grid.seeds[0] in (probe.candidate.seeds or ())
    if generalise:  # what is tested at twice the length must depend on the spec alone, so nothing ends early
        stop = "never"
    return tuple(
        Member(probe.key, probe.candidate.n, t.lr, t.seed, run.job.bound, stop, generalise)  # type: ignore[arg-type]
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
    """Read the members of :func:`manifest`; None if the text is not one."""
    try:
        rows = mapping(text)["members"]
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


@dataclass(frozen=True)
class Returned:
    """A probe that came back without its end."""

    probe: WorkItem
    assignment: Assignment
    reason: Literal["stopped", "failed", "out_of_memory", "device", "lost", "stale"]
    text: str = ""
    kept: bool = False
    """A checkpoint was written at the stop."""
    void: bool = False
    """What its trials told cannot be: they are trained anew."""


@dataclass(frozen=True)
class Remark:
    """An event to be."""

    kind: str
    text: str
    level: Literal["info", "warning", "error"] = "info"
    job_id: int | None = None
    probe_id: int | None = None


@dataclass
class SupervisorState:
    """Everything that a turn reads and changes.

    Only what a transaction has committed is removed from the lists.
    """

    options: Options
    paths: LabPaths
    clock: Clock = time.monotonic
    epoch: int = 0
    slots: list[Slot] = field(default_factory=list)
    runs: dict[int, Run] = field(default_factory=dict)
    returned: list[Returned] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    plans: list[tuple[Assignment, Plan]] = field(default_factory=list)
    saved: list[tuple[Assignment, int]] = field(default_factory=list)
    speeds: list[tuple[str, int, str, float]] = field(default_factory=list)
    """(model label, T, device key, member-steps per second)."""
    holding: bool = False
    draining: bool = False
    wake: bool = True
    """Something may be runnable that was not before."""
    waiting: str = ""
    """Why work stands still: no room, no memory, no worker starts."""
    obstacle: str = ""
    """Why nothing new begins: no checkpoint could be kept."""
    unallowed: set[int] = field(default_factory=set)
    """Queued jobs whose program this user has not allowed."""
    allowed_at: float = 0.0
    """When what is allowed was last changed."""
    lost: list[Device] = field(default_factory=list)
    """Devices that went, not yet told to the lab."""
    completed: bool = False
    """Every trial of some probe has ended, and its verdict is not written yet."""
    written: Portion = field(default_factory=lambda: Portion(30))
    """Trials whose ends, or progress, one transaction writes."""
    begun: Portion = field(default_factory=lambda: Portion(32))
    """Slots that one transaction gives work."""
    serial: int = 0
    late: int = 0
    """Messages of dead attempts that were dropped."""

    def remark(
        self,
        kind: str,
        text: str,
        level: Literal["info", "warning", "error"] = "info",
        *,
        job_id: int | None = None,
        probe_id: int | None = None,
    ) -> None:
        """Write a remark to the log at once, to the lab with the next transaction."""
        log.log(
            {"info": 20, "warning": 30, "error": 40}[level],
            "%s: %s",
            kind,
            text.strip().replace("\n", " | ")[:1000],
        )
        self.remarks.append(Remark(kind, text, level, job_id, probe_id))

    @property
    def assignments(self) -> list[Assignment]:
        """All that are out."""
        return [s.assignment for s in self.slots if s.assignment is not None]

    @property
    def width(self) -> int:
        """How many candidates of one search may be under way at once;
        never shrinks while slots come and go.
        """
        return max(1, len(self.slots))

    def next_tag(self, lead: int) -> m.Tag:
        """A tag that no earlier hand-out of this lab has had."""
        self.serial += 1
        return m.Tag(f"{lead}.{self.serial}", self.epoch, self.serial)

    def folder(self, probe_id: int) -> Path:
        return self.paths.probe_checkpoints(probe_id)

    def stop(
        self, assignment: Assignment, mode: Literal["checkpoint", "discard"], patience_s: float | None = None
    ) -> None:
        """Ask a worker to end its assignment; asked again, a stronger word replaces a weaker one.

        Args:
            patience_s: until it is killed; None: ``Options.stop_s``, for somebody waits.
        """
        if assignment.stopping in (mode, "discard") or assignment.slot.worker is None:
            return
        assignment.stopping = mode
        patience = self.options.stop_s if patience_s is None else patience_s
        if assignment.job.program is not None:
            patience = max(patience, assignment.job.program.grace + 2.0)
        assignment.stop_by = self.clock() + patience
        assignment.slot.worker.send(m.Stop(assignment.tag, mode))

    def forget(self, probe: WorkItem) -> None:
        """A probe that is not wanted any more (its row says so already):
        tell its worker, free what is free.
        """
        probe.dropped = True
        if probe.run.probes.get(probe.candidate.n) is probe:
            del probe.run.probes[probe.candidate.n]
        home = probe.home
        if home is None or home.probes.pop(probe.key, None) is None or home.slot.assignment is not home:
            return
        if not home.probes:
            self.stop(home, "discard")
        elif home.slot.worker is not None:
            home.slot.worker.send(m.Drop(home.tag, (probe.key,)))
