"""What is spent beside training: python -m benchmarks.costs [--quick] [--json FILE].

Shares of one core's time. Evaluations: of the paper's models with 2,000 sequences every 500 steps (a step and
an evaluation timed apart, for 500 steps of the largest take minutes), and of every model and format of the
presets, where two candidates of the longest lengths are trained as a search trains them. Checkpoints: what
one blocks, and what writing it takes of the processor, against the interval that the engine then keeps.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from runners.engine.checkpoint import INTERVAL_OVER_COST, MIN_INTERVAL_S, Saver, snapshot
from runners.engine.fused_batch import FusedBatch
from runners.engine.schedule import Schedule
from runners.engine.trainer import Trainer
from runners.engine.trials import Trials
from runners.engine.types import Checkpointed, Control, Member, Plan
from runners.spec import Job, Study, load

LARGE: dict[str, tuple[dict[str, Any], int]] = {
    "lstm 768": ({"kind": "lstm", "hidden": 768}, 3),
    "transformer 6x256": ({"kind": "transformer", "layers": 6, "d": 256, "heads": 8, "dropout": 0.1}, 1),
    "dense_ssm 256": ({"kind": "dense_ssm", "hidden": 256}, 4),
}
"""Model, and members at once."""
SMALL: dict[str, tuple[dict[str, Any], int]] = {"dense_ssm 16": ({"kind": "dense_ssm", "hidden": 16}, 15)}
CANDIDATES = (20, 200)
"""Of the presets: as a rule one that fails, so that its whole budget is trained, and one that succeeds."""


def paper(model: dict[str, Any], T: int) -> Job:
    return Job.model_validate(
        {
            "task": {"kind": "modular_addition", "m": 5},
            "format": "acot",
            "lengths": {"distribution": "uniform", "length": T},
            "model": model,
            "training": {"steps": 250_000, "eval_every": 500, "validation_size": 2000},
        }
    )


def scheduled(job: Job, members: int) -> tuple[Schedule, Trials, FusedBatch]:
    """A schedule whose one fused batch trains so many members."""
    chosen = [Member("a", 10_000, lr, seed, job.search.eps) for lr, seed in job.grid.members[:members]]
    trials = Trials(chosen, job.training.steps)
    schedule = Schedule(job, "cpu", Plan("cpu", members), trials)
    schedule.compose()
    return schedule, trials, schedule.batches[0]


def evaluation(job: Job, fused: FusedBatch, steps: int) -> dict[str, float]:
    """Of the paper's settings: seconds for a step and for an evaluation of the batch, and the share."""
    for _ in range(2):
        fused.advance(1)
    begun = time.process_time()
    done = 0
    while done < steps:
        done += fused.advance(steps - done)
    step = (time.process_time() - begun) / steps
    rows = range(len(fused.slots))
    begun = time.process_time()
    fused.evaluate(rows, [0] * len(rows), [0.0] * len(rows))
    spent = time.process_time() - begun
    return {"step_s": step, "evaluation_s": spent, "share": spent / (job.training.eval_every * step)}


def checkpoint(schedule: Schedule, trials: Trials) -> dict[str, float]:
    """One checkpoint as the engine makes it while it trains."""
    with tempfile.TemporaryDirectory() as folder:
        saver = Saver(Path(folder))
        saver.save(
            1, lambda: snapshot("", "cpu", schedule.plan, trials, schedule.batch_size, schedule.rows())
        )
        (event,) = saver.finish()
        assert isinstance(event, Checkpointed), event
        size = Path(event.path).stat().st_size
    interval = max(MIN_INTERVAL_S, INTERVAL_OVER_COST * saver.cost_s)
    share = saver.cost_s / (interval + saver.cost_s)
    return {
        "mb": size / 1e6,
        "blocked_s": event.blocked_s,
        "cost_s": saver.cost_s,
        "interval_s": interval,
        "share": share,
    }


class Clocked:
    """Processor time within one method of a fused batch."""

    def __init__(self, name: str) -> None:
        self.name, self.spent = name, 0.0
        self.honest = getattr(FusedBatch, name)

    def __enter__(self) -> Clocked:
        def timed(*args: Any) -> Any:
            begun = time.process_time()
            try:
                return self.honest(*args)
            finally:
                self.spent += time.process_time() - begun

        setattr(FusedBatch, self.name, timed)
        return self

    def __exit__(self, *_: object) -> None:
        setattr(FusedBatch, self.name, self.honest)


def preset(job: Job) -> float:
    """Share of the evaluations in some candidates of a preset."""
    with Clocked("advance") as training, Clocked("evaluate") as evaluating:
        for n in CANDIDATES:
            members = [
                Member("a", min(n, job.n_max), lr, seed, job.search.eps) for lr, seed in job.grid.members
            ]
            for _ in Trainer(job, members, device="cpu", plan=Plan("cpu", len(members))).run(Control()):
                pass
    return evaluating.spent / training.spent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--T", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument(
        "--quick", action="store_true", help="a small model and no preset: shows that it works"
    )
    parser.add_argument("--json", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)
    out: dict[str, Any] = {"evaluation": {}, "presets": {}, "checkpoint": {}}
    print("evaluations at 2,000 sequences every 500 steps (wanted: <= 5 % of training)")
    for name, (model, members) in (SMALL if args.quick else {**SMALL, **LARGE}).items():
        job = paper(model, args.T)
        schedule, trials, fused = scheduled(job, members)
        row = out["evaluation"][name] = evaluation(job, fused, args.steps)
        told = f"a step {row['step_s']:.4f} s, an evaluation {row['evaluation_s']:.2f} s"
        print(f"  {name:18} {told}: {100 * row['share']:.1f} %", flush=True)
        out["checkpoint"][name] = checkpoint(schedule, trials)
    print("checkpoints while training (wanted: < 1 % of the time)")
    for name, row in out["checkpoint"].items():
        told = (
            f"blocked {row['blocked_s']:.2f} s, {row['cost_s']:.2f} s of a core in all, "
            f"every {row['interval_s']:.0f} s"
        )
        print(f"  {name:18} {row['mb']:.0f} MB: {told}: {100 * row['share']:.2f} %")
    if not args.quick:
        print("evaluations in the presets (wanted: <= 10 %)")
        for name in ("quick", "demo"):
            study = load(name)
            assert isinstance(study, Study)
            largest: dict[str, Job] = {}
            for job in study.jobs():
                key = f"{name}: {job.model.label}, {job.format}"
                if key not in largest or job.longest_input > largest[key].longest_input:
                    largest[key] = job
            for key, job in largest.items():
                out["presets"][key] = share = preset(job)
                print(f"  {key:34} {100 * share:.1f} %", flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
