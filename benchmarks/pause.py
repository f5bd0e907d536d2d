"""How long a pause takes: python -m benchmarks.pause [--T 60] [--turns 3] [--only lstm] [--quick]
[--json FILE].

The paper's models, batch 64, a grid of 15, on one core. ``worker``: a real worker process is told to stop in
the middle of a calibration, of making data (16 M sequences), of training, of an evaluation; the time until it
says that it has, its checkpoint on disk. ``lab``: the same through the verb and the supervisor, from the
command to the job being paused. Moments are random.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from runners.engine.types import Member, Plan
from runners.pool import protocol as m
from runners.pool.local import LocalWorker
from runners.pool.options import TRAINER
from runners.spec import Job, NamedJob
from store import commands
from store.read import open_lab
from store.write import create_or_open, submit

MODELS: dict[str, dict[str, Any]] = {
    "lstm 768": {"kind": "lstm", "hidden": 768},
    "transformer 6x256": {"kind": "transformer", "layers": 6, "d": 256, "heads": 8, "dropout": 0.1},
    "dense_ssm 256": {"kind": "dense_ssm", "hidden": 256},
}
SMALL: dict[str, dict[str, Any]] = {"lstm 32": {"kind": "lstm", "hidden": 32}}
WHEN = {"calibration": (0.5, 2.5), "data": (0.1, 1.2), "training": (2.0, 7.0), "evaluation": (3.0, 9.0)}
"""Seconds after its beginning at which each phase is stopped; 16 M sequences take longer to lay out."""
SEED = 7


def make_job(model: dict[str, Any], T: int, *, eval_every: int = 1000) -> Job:
    return Job.model_validate(
        {
            "task": {"kind": "modular_addition", "m": 5},
            "format": "acot",
            "lengths": {"distribution": "uniform", "length": T},
            "model": model,
            "training": {"steps": 250_000, "eval_every": eval_every, "validation_size": 2000},
        }
    )


class SupervisorState:
    """One worker process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._serial = 0
        self.worker = LocalWorker("cpu.0", TRAINER, 1, folder / "worker.log")
        self.of(m.Ready)

    def of(self, *kinds: type, timeout_s: float = 300.0) -> m.Up | None:
        """The next message of these kinds; None: none came in time."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            for message in self.worker.receive():
                if isinstance(message, m.Failed):
                    raise SystemExit(f"training failed: {message.text}\n{message.trace}")
                if isinstance(message, kinds):
                    return message
            if self.worker.closed:
                raise SystemExit(f"the worker ended: {self.worker.tail()}")
            time.sleep(0.002)
        return None

    def train(self, job: Job, n: int, plan: Plan | None) -> m.Tag:
        self._serial += 1
        tag = m.Tag(f"1.{self._serial}", 1, self._serial)
        members = tuple(Member("1", n, lr, seed, job.search.eps) for lr, seed in job.grid.members)
        self.worker.send(
            m.Train(tag, job.to_json(), members, "cpu", plan, str(self.folder / tag.assignment), False, ())
        )
        return tag

    def stop(self, tag: m.Tag) -> tuple[float, bool, int]:
        """(seconds until it has stopped, whether a checkpoint was kept, bytes of it)."""
        asked = time.monotonic()
        self.worker.send(m.Stop(tag, "checkpoint"))
        halted = self.of(m.Halted)
        spent = time.monotonic() - asked
        folder = self.folder / tag.assignment
        size = sum(f.stat().st_size for f in folder.iterdir()) if folder.is_dir() else 0
        return spent, isinstance(halted, m.Halted) and halted.kept, size

    def close(self) -> None:
        self.worker.kill()
        self.worker.close()


@contextmanager
def bench() -> Iterator[SupervisorState]:
    with tempfile.TemporaryDirectory() as folder:
        one = SupervisorState(Path(folder))
        try:
            yield one
        finally:
            one.close()


def in_worker(model: dict[str, Any], T: int, turns: int, rng: random.Random) -> list[dict[str, Any]]:
    """One row per phase."""
    job, rows = make_job(model, T), []
    with bench() as one:
        tag = one.train(job, 10_000, None)
        planned = one.of(m.Planned)
        assert isinstance(planned, m.Planned)
        plan = planned.plan
        one.stop(tag)
    for phase in WHEN:
        taken = []
        for _ in range(turns):
            with bench() as one:
                shape = make_job(model, T, eval_every=1) if phase == "evaluation" else job
                n = shape.n_max if phase == "data" else 10_000
                tag = one.train(shape, n, None if phase == "calibration" else plan)
                if phase != "calibration":
                    one.of(m.Planned)
                # With an evaluation after every step nearly all the time is evaluation;
                # a calibration may be over too soon.
                over = m.Planned if phase == "calibration" else m.Finished
                if one.of(over, timeout_s=rng.uniform(*WHEN[phase])) is None:
                    taken.append(one.stop(tag))
        if taken:
            rows.append(
                {
                    "phase": phase,
                    "members_at_once": plan.members_at_once,
                    "median_s": statistics.median(t for t, _, _ in taken),
                    "longest_s": max(t for t, _, _ in taken),
                    "kept": sum(kept for _, kept, _ in taken),
                    "stops": len(taken),
                    "checkpoint_mb": max(size for _, _, size in taken) / 1e6,
                }
            )
    return rows


def in_lab(model: dict[str, Any], T: int, turns: int, rng: random.Random) -> dict[str, Any]:
    """From the verb to the state, while it trains."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Path(folder) / "lab.db"
        create_or_open(lab)
        (job_id,) = submit(lab, NamedJob(name="pause", job=make_job(model, T))).jobs
        command = [sys.executable, "-m", "runners", "--lab", str(lab), "--foreground", "--slots", "1"]
        supervisor = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        taken = []
        try:
            for _ in range(turns):
                reached(lab, job_id, "running")
                time.sleep(rng.uniform(2.0, 12.0))
                asked = time.monotonic()
                commands.pause(lab, [job_id])
                reached(lab, job_id, "paused")
                taken.append(time.monotonic() - asked)
                commands.resume(lab, [job_id])
            with open_lab(lab) as opened:
                killed = sum("ended by signal" in e.text for e in opened.events(limit=1000))
        finally:
            supervisor.terminate()
            supervisor.wait()
    return {
        "phase": "lab",
        "median_s": statistics.median(taken),
        "longest_s": max(taken),
        "stops": turns,
        "killed": killed,
    }


def reached(lab: Path, job_id: int, state: str) -> None:
    with open_lab(lab) as opened:
        while opened.job(job_id).state != state:
            time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--T", type=int, default=60, help="positions of a sequence")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", default="", help="models whose name begins with this")
    parser.add_argument("--quick", action="store_true", help="a small model, one turn: shows that it works")
    parser.add_argument("--json", default="")
    args = parser.parse_args()
    turns = 1 if args.quick else args.turns
    rng = random.Random(SEED)
    print(f"{'model':18} {'in':12} {'members':>7} {'checkpoint':>10} {'median':>7} {'longest':>8}   stops")
    rows = []
    for name, model in (SMALL if args.quick else MODELS).items():
        if not name.startswith(args.only):
            continue
        found = in_worker(model, args.T, turns, rng)
        found.append(in_lab(model, args.T, turns, rng))
        for row in found:
            rows.append({"model": name, "T": args.T, **row})
            size = f"{row['checkpoint_mb']:.0f} MB" if row.get("kept") else "-"
            told = (
                f"{row['kept']} of {row['stops']} kept"
                if "kept" in row
                else f"{row['stops']}, {row['killed']} killed"
            )
            times = f"{row['median_s']:6.2f}s {row['longest_s']:7.2f}s"
            print(
                f"{name:18} {row['phase']:12} {row.get('members_at_once', ''):>7} {size:>10} {times}   "
                f"{told}",
                flush=True,
            )
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
