"""A whole search, the paper's procedure run naively against ours:
python benchmarks/search.py [--quick] [--turns K].

Naive: geometric walk and bisection, every trial of the grid to its whole budget, one after another in eager
PyTorch (benchmarks/baseline.py), the whole validation set at every evaluation. Ours: the log strategy, the
grid fused, stopped at the first success. Each runs until its own bracket has hi/lo <= 1.05 or hi - lo = 1.
Both use one core and the same data; times are seconds of that core, so that other work on the machine does
not count; the calibration of the plan is ours to pay.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch.nn import functional

from benchmarks import baseline
from runners.engine.trainer import Trainer
from runners.engine.types import Control, Ended, Member, Plan, Planned
from runners.search import Evidence, Progress, replay
from runners.spec import Job
from runners.tasks import BatchOrder, BatchStream, DataSource, Vocabulary
from runners.verdict import Outcome

RTOL = 0.05
TASKS: list[dict[str, Any]] = [
    {
        "format": "acot",
        "lengths": {"distribution": "uniform", "length": 7},
        "model": {"kind": "dense_ssm", "hidden": 16},
        "grid": {"learning_rates": (1e-2, 3e-3), "seeds": (10, 20)},
        "training": {"steps": 500, "eval_every": 25, "validation_size": 256},
        "search": {"eps": 1e-3},
    },
    {
        "format": "acot",
        "lengths": {"distribution": "fixed", "length": 7},
        "model": {"kind": "lstm", "hidden": 32},
        "grid": {"learning_rates": (1e-2, 3e-3), "seeds": (10, 20)},
        "training": {"steps": 800, "eval_every": 25, "validation_size": 256},
        "search": {"eps": 1e-2},
    },
    {
        "format": "cot",
        "lengths": {"distribution": "fixed", "length": 6},
        "model": {"kind": "transformer", "layers": 2, "d": 32, "heads": 4, "init_std": 0.15},
        "grid": {"learning_rates": (3e-3,), "seeds": (10, 20)},
        "training": {"batch_size": 32, "steps": 1500, "eval_every": 50, "validation_size": 256},
        "search": {"eps": 1e-2},
    },
]
Probe = Callable[[Job, int], tuple[bool, int]]


def make_job(task: dict[str, Any], quick: bool) -> Job:
    content = {"task": {"kind": "modular_addition", "m": 3}, **task}
    if quick:
        content["training"] = {**content["training"], "steps": 50}
    return Job.model_validate(content)


def searched(job: Job, strategy: str, probe: Probe) -> dict[str, Any]:
    """One search with the given way to decide a candidate; seconds of one core and member-steps."""
    search = job.search.model_copy(update={"strategy": strategy, "rtol": RTOL})
    job = job.model_copy(update={"search": search})
    evidence: list[Evidence] = []
    steps = 0
    begun, wall = time.process_time(), time.perf_counter()
    while True:
        progress = replay(job, evidence)
        if progress.next is None or narrow(progress):
            break
        success, done = probe(job, progress.next.n)
        evidence.append(Evidence(progress.next.n, success))
        steps += done
    return {
        "lo": progress.lo,
        "hi": progress.hi,
        "candidates": len(evidence),
        "member_steps": steps,
        "seconds": time.process_time() - begun,
        "wall_s": time.perf_counter() - wall,
    }


def narrow(progress: Progress) -> bool:
    return progress.hi is not None and progress.lo > 0 and progress.hi / progress.lo <= 1 + RTOL


def module(job: Job) -> torch.nn.Module:
    """The same model of library parts, with initial scales that learn."""
    vocabulary, spec = Vocabulary.of(job), job.model
    inputs, outputs = vocabulary.n_inputs, vocabulary.n_outputs
    if spec.kind == "dense_ssm":
        return baseline.FullSSM(inputs, outputs, spec.hidden)
    if spec.kind == "lstm":
        return baseline.LSTM(inputs, outputs, spec.hidden)
    assert spec.kind == "transformer"
    made = baseline.Transformer(
        inputs, outputs, job.longest_input, spec.layers, spec.d, spec.heads, spec.dropout
    )
    for p in made.parameters():
        if p.dim() == 2:
            p.data.mul_(spec.init_std / 0.02)
    return made


def naive(job: Job, n: int) -> tuple[bool, int]:
    """Every trial to its end, one after another."""
    success = False
    for rate, seed in job.grid.members:
        source = DataSource(job, seed)
        stream = BatchStream(source.training(n), BatchOrder(seed, n, job.training.batch_size))
        held = source.validation()
        torch.manual_seed(seed)
        model = module(job)
        optimiser = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
        for step in range(job.training.steps):
            tokens, targets = stream.block(step, 1)
            optimiser.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(
                model(tokens[0].int()).flatten(0, 1), targets[0].long().flatten(), ignore_index=-1
            )
            torch.autograd.backward(loss)
            optimiser.step()
            if (step + 1) % job.training.eval_every == 0 or step + 1 == job.training.steps:
                model.eval()
                with torch.no_grad():
                    logits = model(held.tokens).flatten(0, 1)
                    value = functional.cross_entropy(
                        logits.double(), held.targets.flatten(), ignore_index=-1
                    ).item()
                model.train()
                success = success or value < job.search.eps
    return success, job.training.steps * len(job.grid.members)


class Ours:
    """The engine; the plan is calibrated at the first candidate and kept, as the lab keeps it."""

    def __init__(self) -> None:
        self.plan: Plan | None = None

    def __call__(self, job: Job, n: int) -> tuple[bool, int]:
        members = [Member("probe", n, rate, seed, job.search.eps) for rate, seed in job.grid.members]
        success, steps = False, 0
        for event in Trainer(job, members, device="cpu", plan=self.plan).run(Control()):
            if isinstance(event, Planned):
                self.plan = event.plan
            elif isinstance(event, Ended):
                success = success or event.outcome is Outcome.SUCCESS
                steps += event.steps
        return success, steps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny budgets, some seconds: shows that it works"
    )
    parser.add_argument("--turns", type=int, default=1, help="paired runs; the median ratio is told")
    parser.add_argument("--only", default="", help="models whose label begins with this")
    parser.add_argument("--json", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # for both sides, though a plain loop would not do it
    print(f"torch {torch.__version__}; one core; until hi/lo <= {1 + RTOL} or hi - lo = 1")
    columns = [f"{who + ' (lo, hi]':>16} {'steps':>8} {'s':>7}" for who in ("naive", "ours")]
    print(f"{'search':32} {columns[0]}   {columns[1]} {'ratio':>6}")
    rows = []
    for task in TASKS:
        job = make_job(task, args.quick)
        if not job.model.label.startswith(args.only):
            continue
        for _ in range(args.turns):
            theirs, ours = searched(job, "paper", naive), searched(job, "log", Ours())
            row = {
                "search": job.label,
                "naive": theirs,
                "ours": ours,
                "ratio": theirs["seconds"] / ours["seconds"],
            }
            rows.append(row)
            cells = [
                f"({r['lo']}, {r['hi']}]".rjust(16) + f" {r['member_steps']:8} {r['seconds']:7.1f}"
                for r in (theirs, ours)
            ]
            print(f"{job.label:32} {cells[0]}   {cells[1]} {row['ratio']:6.1f}", flush=True)
    medians = {}
    for label in dict.fromkeys(str(r["search"]) for r in rows):
        medians[label] = statistics.median(float(r["ratio"]) for r in rows if r["search"] == label)
    if args.turns > 1:
        print("\nmedians: " + "; ".join(f"{label} {value:.1f}x" for label, value in medians.items()))
    if args.json:
        Path(args.json).write_text(
            json.dumps({"torch": torch.__version__, "rows": rows, "medians": medians}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
