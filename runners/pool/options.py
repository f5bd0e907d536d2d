"""How a supervisor behaves; every number here has its reason in docs/reliability.md."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TRAINER = "runners.engine.trainer:Trainer"
PROGRAMS = "runners.programs.trainer:ProgramTrainer"
"""Of workers that have programs alone to run: it is imported without torch."""
MAX_THREADS = 1024


@dataclass(frozen=True)
class Options:
    """From the command line."""

    lab: Path
    engine: str = "local"
    """Where workers run: on this machine, or by ``ray`` on the nodes of a cluster."""
    address: str = "auto"
    """Of the Ray cluster: auto, local (one of this machine's own) or HOST:PORT."""
    rejoin: str = ""
    """HOST:PORT of the Ray cluster whose head went: waited for, then joined at ``address`` again."""
    devices: tuple[str, ...] = ()
    """Device ids (cpu, cuda:0); empty: every CUDA device, or the CPU where there is none.
    On a cluster also node-3/cuda:1, or cuda for all.
    """
    slots: int | None = None
    """Slots of the CPU; None: one per core. A CUDA device has one unless the lab says otherwise."""
    threads: int | None = None
    """Threads of a worker's maths; None: OMP_NUM_THREADS where it is set, else one."""
    trainer: str = TRAINER
    until_empty: bool = False
    """End when nothing is queued or running."""
    daemon: bool = False
    """Stay when idle."""
    idle_s: float = 600.0
    """End by itself after this long with nothing to do."""
    lease_s: float = 30.0
    """A worker that has said nothing for this long is killed (it beats every second)."""
    stall_s: float = 1800.0
    """A worker that beats but whose trainer has not looked up for this long is killed."""
    stop_s: float = 4.0
    """How long a worker may take to stop, its checkpoint written, before it is killed:
    paused is said within 5 s.
    """
    grace_s: float = 20.0
    """The same where nobody waits: workers of a supervisor that ends or has died."""
    missing_s: float = 30.0
    """How long a lab file that is not at its place any more is waited for before the supervisor ends."""
    backoff_s: float = 2.0
    """Delay before a job's second attempt; doubles with each further one."""
    backoff_max_s: float = 300.0
    speculate: bool = True
    pack: bool = True
    notify: tuple[str, ...] = ()
    """The person's own command that is told of what ends; empty: none."""
    keep_checkpoints_days: float | None = None
    """Checkpoints that no live search goes on from are deleted after so long; None: never."""
    keep_logs_mb: float = 2.0
    """A log that has grown beyond this is begun anew; what went before is kept as ``.1``."""
    memory_reserve: float = 0.05
    """Share of the machine's memory that is left alone."""

    def threads_of_a_worker(self) -> int:
        """The same on every machine and for any number of slots: last bits depend on it."""
        if self.threads is not None:
            return self.threads
        first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
        return int(first) if first.isdecimal() and 0 < int(first) <= MAX_THREADS else 1
