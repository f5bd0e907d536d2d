"""How much of the time the slots train: a whole kappa study through the supervisor's own path,
with real workers.

``python -m benchmarks.pipeline [--slots 2] [--preset quick] [--lengths 7]
[--quick]``. While at least as many searches are unfinished as there are slots, every slot could train all the
time: that part is counted, the tail is told apart. Overhead is the supervisor's processor time (events,
storage, search) plus the time that training stood still for checkpoints.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from runners.pool import inbox
from runners.pool import protocol as m
from runners.pool.devices import detect
from runners.pool.fork_server import ForkServer
from runners.pool.local import LocalPool, worker_environment
from runners.pool.options import Options
from runners.pool.state import Assignment, Slot, SupervisorState
from runners.pool.supervisor import Supervisor
from runners.spec import Study, load
from store.locks import SupervisorLock
from store.paths import LabPaths
from store.read import open_lab
from store.write import create_or_open, submit


@dataclass(frozen=True)
class Span:
    """One assignment, in seconds of the monotonic clock."""

    slot: str
    sent: float
    began: float
    ended: float
    setup_s: float
    checkpoint_s: float


def spec(preset: str, lengths: int) -> Study:
    """The preset's recurrent sweep (or all of it), with lengths up to ``lengths``."""
    study = load(preset)
    if not isinstance(study, Study):
        raise SystemExit(f"{preset} is no study")
    sweeps = tuple(
        s.model_copy(update={"L": (min(s.L[0], lengths),)}) for s in study.sweep if s.min_length <= lengths
    )
    return study.model_copy(update={"sweep": sweeps})


def run(study: Study, slots: int, devices: tuple[str, ...]) -> dict[str, Any]:
    """One study; the measured shares."""
    spans: list[Span] = []
    ends: list[float] = []
    ready: list[float] = []
    over, take = inbox._over, inbox.take

    def timed(state: SupervisorState, slot: Slot, assignment: Assignment, message: Any) -> None:
        if isinstance(message, m.Finished):
            now = time.monotonic()
            began = now - message.train_s
            spans.append(Span(slot.name, assignment.sent, began, now, message.setup_s, message.checkpoint_s))
        over(state, slot, assignment, message)

    def heard(state: SupervisorState, slot: Slot, message: Any) -> None:
        if isinstance(message, m.Ready):
            ready.append(time.monotonic())
        take(state, slot, message)

    inbox._over, inbox.take = timed, heard
    with tempfile.TemporaryDirectory() as folder:
        lab = Path(folder) / "lab.db"
        options = Options(lab, slots=slots, devices=devices, until_empty=True)
        forks = ForkServer.begin(worker_environment(options.threads_of_a_worker(), {}))
        create_or_open(lab)
        jobs = len(submit(lab, study).jobs)
        lock = SupervisorLock.acquire(LabPaths(lab))
        supervisor = Supervisor(options, lock, LocalPool(detect(devices), forks))
        began, cpu = time.monotonic(), time.process_time()
        wall_zero = time.time() - began
        code = supervisor.run()
        cpu = time.process_time() - cpu
        with open_lab(lab) as opened:
            rows = opened.jobs()
            ends = sorted((r.finished_at or 0.0) - wall_zero for r in rows)
            done = all(r.state == "done" for r in rows)
            probes = sum(len(opened.probes(r.id)) for r in rows)
    inbox._over, inbox.take = over, take
    if code or not done:
        raise SystemExit(f"the study did not end well (code {code})")
    start, stop = min(ready), ends[-1]
    full = ends[max(0, jobs - slots)]
    """From here on fewer searches are unfinished than there are slots."""
    trained = _within(spans, start, full)
    tail = _within(spans, full, stop)
    checkpoints = sum(s.checkpoint_s for s in spans)
    return {
        "slots": slots,
        "jobs": jobs,
        "probes": probes,
        "first_training_s": min(s.began for s in spans) - began,
        "wall_s": stop - began,
        "full_s": full - start,
        "training_share": trained / (slots * (full - start)),
        "tail_s": stop - full,
        "tail_training_share": tail / (slots * max(1e-9, stop - full)),
        "setup_share": sum(s.setup_s for s in spans) / (slots * (stop - start)),
        "gap_share": sum(s.ended - s.sent - (s.ended - s.began) - s.setup_s for s in spans)
        / (slots * (stop - start)),
        "supervisor_cpu_share": cpu / (slots * (stop - start)),
        "checkpoint_share": checkpoints / (slots * (stop - start)),
    }


def _within(spans: list[Span], begin: float, end: float) -> float:
    return sum(max(0.0, min(s.ended, end) - max(s.began, begin)) for s in spans)


def main() -> None:
    """Print a table on stderr and JSON on stdout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--lengths", type=int, default=7)
    parser.add_argument("--devices", default="cpu")
    parser.add_argument(
        "--quick", action="store_true", help="lengths up to 3: a few seconds, to show that it works"
    )
    args = parser.parse_args()
    handler = signal.getsignal(signal.SIGINT)
    study = spec("demo", 3) if args.quick else spec(args.preset, args.lengths)
    result = run(study, args.slots, (args.devices,))
    signal.signal(signal.SIGINT, handler)
    for name, value in result.items():
        shown = (
            f"{100 * value:.1f} %"
            if name.endswith("share")
            else f"{value:.1f}"
            if isinstance(value, float)
            else value
        )
        print(f"{name:22} {shown}", file=sys.stderr)
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
