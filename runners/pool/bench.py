"""The supervisor's working memory, shared by the steps of a turn: intake, ledger, dispatch, verbs."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runners.engine.types import Plan
from runners.pool import protocol as m
from runners.pool.devices import Device
from runners.pool.options import Options
from runners.pool.process import Clock
from runners.pool.state import Assignment, Probe, Run, Slot
from store.paths import LabPaths

log = logging.getLogger("labtui.supervisor")


@dataclass(frozen=True)
class Returned:
    """A probe that came back without its end."""

    probe: Probe
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
class Bench:
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
    lost: list[Device] = field(default_factory=list)
    """Devices that went, not yet told to the lab."""
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
        """To the log at once, to the lab with the next transaction."""
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
        assignment.stop_by = self.clock() + (self.options.stop_s if patience_s is None else patience_s)
        assignment.slot.worker.send(m.Stop(assignment.tag, mode))

    def forget(self, probe: Probe) -> None:
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
