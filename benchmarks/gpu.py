"""All checks that need a GPU: python -m benchmarks.gpu [works] [correct] [fast] [--out FOLDER] [--only NAME].

Three stages. ``works`` (5 minutes): the first steps against the CPU, graphs against eager. ``correct`` (7):
repetition and resuming to the bit, data against the CPU's, a fused member against the same alone,
calibration, running out of memory, agreement of verdicts between plans. ``fast`` (10): the floors of three
models (benchmarks/engine.py). A check takes 100 s at most, needs no other, and fails where a graph was to be
captured and was not. gpu.json and gpu.md in FOLDER are written after each; what was not measured says so.
Exit code 1 if a check failed. Needs torch, numpy and pydantic alone; tests/engine/dry_run.py runs all of it
without a card.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks import engine
from runners.engine.calibrate import calibrate
from runners.engine.data import CACHE
from runners.engine.device import is_gpu, set_up
from runners.engine.fused_batch import FusedBatch, fresh
from runners.engine.loader import Loader
from runners.engine.schedule import Schedule
from runners.engine.trainer import Trainer
from runners.engine.trials import Trials
from runners.engine.types import (
    Checkpointed,
    Control,
    Ended,
    EngineEvent,
    Evaluated,
    Member,
    Note,
    Plan,
    Planned,
)
from runners.spec import Job

ROOT = Path(__file__).resolve().parent.parent
CUDA = "cuda:0"
MODELS: dict[str, dict[str, Any]] = {
    "dense_ssm": {"kind": "dense_ssm", "hidden": 16},
    "lstm": {"kind": "lstm", "hidden": 32},
    "transformer": {
        "kind": "transformer",
        "layers": 2,
        "d": 32,
        "heads": 4,
        "init_std": 0.15,
        "dropout": 0.1,
    },
}
FLOORS = {"dense_ssm 256": (20.0, "fp32"), "lstm 768": (4.0, "fp32"), "transformer 6x256": (6.0, "tf32")}
"""On an H200, a grid of 15, batch 64, geometric mean over T up to 20:
the least ratio, and in which precision.
"""
LARGER: dict[str, dict[str, Any]] = {
    "dense_ssm": {"hidden": 256},
    "lstm": {"hidden": 512},
    "transformer": {"d": 256, "heads": 8},
}
"""Sizes at which 15 members need far more memory than what libraries keep for themselves."""
RATES, SEEDS = (1e-2, 3e-3, 1e-3), (10, 20, 30, 40, 50)
Outcome = tuple[bool, dict[str, Any]]


STAGES = {"works": 5, "correct": 7, "fast": 10}
"""Minutes of each stage; one that fails ends the run."""
CHECK_S = 100
"""A check takes no longer, or has failed."""
FLOOR_S = 80
"""Of that, what the comparison of a floor may take."""
NEAR, FAR = 1e-4, 1e-2
"""How far gradients may be apart by rounding after one step and after ten. The code path of a card run on a
CPU is 2.3e-7 and 8.1e-5 off the CPU's own at most (the transformer's; the others not at all); a factor of
1.001 in a gradient is 1e-3 off (tests/engine/test_gpu_checks.py).
"""
FIRST = (1, 10, 100)
"""Steps after which gradients are compared."""
OWN_S = 1.0
"""How long the trainer's own steps are timed."""
SHRINK = 1
"""A dry run divides the steps of every training by this."""
SIZES = (60, 400)
"""The N at which verdicts of plans are compared."""
COMPARED = ("--batch", "64", "--T", "5", "10", "20", "--turns", "3", "--at-once", "15")
"""How benchmarks/engine.py is asked for a floor."""


class NotCapturedError(RuntimeError):
    """A check of CUDA graphs ran without one."""


def make_job(model: str, format: str = "acot", m: int = 3, **training: Any) -> Job:
    settings = {"steps": 200, "eval_every": 50, "validation_size": 256, **training}
    for name in ("steps", "eval_every"):
        settings[name] = max(1, settings[name] // SHRINK)
    return Job.model_validate(
        {
            "task": {"kind": "modular_addition", "m": m},
            "format": format,
            "lengths": {"distribution": "uniform", "length": 7, "min_length": 4},
            "model": MODELS[model],
            "training": settings,
        }
    )


def grid(n: int = 400, eps: float = 0.0, probe: str = "a") -> list[Member]:
    return [Member(probe, n, rate, seed, eps, "never") for rate in RATES for seed in SEEDS]


def plan(members: int = 64, *, graph: bool = True, streams: int = 1, device: str = CUDA) -> Plan:
    return Plan(device, members, graph=graph, streams=streams)


def run(
    job: Job, members: list[Member], by: Plan | None, control: Control | None = None, **more: Any
) -> list[EngineEvent]:
    """All events of a run.

    Raises:
        NotCapturedError: the step was to be captured and was not: such a run would equal an eager one to
            the bit.
    """
    device = by.device if by else CUDA
    events = list(Trainer(job, members, device=device, plan=by, **more).run(control or Control()))
    captured = all(e.plan.graph for e in events if isinstance(e, Planned))
    if (by is None or by.graph) and not captured:
        raise NotCapturedError("; ".join(e.text for e in events if isinstance(e, Note)))
    return events


def curves(events: Sequence[EngineEvent]) -> dict[tuple[int, int], tuple[float, float]]:
    """(member, step) -> training and validation loss."""
    out = {}
    for e in events:
        if isinstance(e, Evaluated):
            for i, train, loss in zip(e.members, e.train, e.validation, strict=True):
                out[i, e.step] = (train, loss)
    return out


def endings(events: Sequence[EngineEvent]) -> dict[int, Ended]:
    return {e.member: e for e in events if isinstance(e, Ended)}


def lane(job: Job, members: list[Member], by: Plan) -> FusedBatch:
    set_up(by.device, 1)
    shape = Schedule(job, by.device, by, Trials(members, job.training.steps)).shape()
    return FusedBatch(
        shape, fresh(shape, range(len(members)), members), members, min(job.training.batch_size, members[0].n)
    )


def endless(job: Job) -> Job:
    """The job without an end and without an evaluation."""
    training = job.training.model_copy(update={"steps": 1 << 40, "eval_every": 1 << 40})
    return job.model_copy(update={"training": training})


def gradients(job: Job, members: list[Member], by: Plan, steps: int) -> torch.Tensor:
    """Adam's running mean of the gradients, [E, P] on the CPU, after some steps without an evaluation.

    Not the parameters: one whose gradient is exactly zero (the key's part of an attention's bias) moves by
    a whole learning rate on rounding noise, here one way and there the other.
    """
    one = lane(endless(job), members, by)
    while one.steps[0] < steps:
        one.advance(steps - one.steps[0])
    one.wait()
    return one.adam.mean.cpu()


def deviation(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest relative difference of a member's gradients, in the norm."""
    return float(((a - b).norm(dim=1) / b.norm(dim=1)).max())


def against_cpu(model: str) -> Outcome:
    """The first steps agree with the CPU up to rounding; later ones part, as training is chaotic."""
    job, members = make_job(model), grid()
    by_step = {}
    for steps in FIRST[:2]:
        there, here = (gradients(job, members, plan(device=d, graph=d == CUDA), steps) for d in (CUDA, "cpu"))
        by_step[steps] = deviation(there, here)
    return by_step[FIRST[0]] < NEAR and by_step[FIRST[1]] < FAR, {"relative deviation after steps": by_step}


def graph_against_eager(model: str) -> Outcome:
    """A captured step does what the step does, dropout and evaluation included."""
    job, members = make_job(model), grid()
    eager, graph = (curves(run(job, members, plan(graph=g))) for g in (False, True))
    first = job.training.eval_every
    worst = max(abs(eager[k][1] - graph[k][1]) / max(eager[k][1], 1e-9) for k in eager if k[1] == first)
    return eager.keys() == graph.keys() and worst < 0.05, {
        "equal to the bit": eager == graph,
        "deviation at the first evaluation": worst,
    }


def repeated(model: str) -> Outcome:
    """The same plan gives the same bits again."""
    job, members = make_job(model), grid()
    first, second = (curves(run(job, members, plan(6, streams=2))) for _ in range(2))
    return first == second, {"evaluations": len(first)}


def resumed(model: str) -> Outcome:
    """Stopped in the middle and gone on with: the same bits as undisturbed."""
    job, members = make_job(model, steps=120, eval_every=30), grid(eps=0.05)
    whole = run(job, members, plan(9))
    with tempfile.TemporaryDirectory() as folder:
        control = Control()
        trainer = Trainer(job, members, device=CUDA, plan=plan(9), checkpoint_dir=Path(folder))
        for event in trainer.run(control):
            if isinstance(event, Evaluated) and event.step == 2 * job.training.eval_every:
                control.stop = "checkpoint"
        again = run(job, members, None, checkpoint_dir=Path(folder), resume=True)
    a, b = curves(whole), curves(again)
    same = all(a[k] == b[k] for k in a) and {i: repr(e) for i, e in endings(whole).items()} == {
        i: repr(e) for i, e in endings(again).items()
    }
    return same, {"evaluations": len(a), "checkpoints": sum(isinstance(e, Checkpointed) for e in again)}


def company(model: str) -> Outcome:
    """How far a fused member is from the same member alone (batched kernels sum in another order)."""
    job, members = make_job(model), grid()
    together = {s: gradients(job, members, plan(), s) for s in FIRST}
    some = [0, len(members) // 2, len(members) - 1]
    out = {}
    for steps, fused in together.items():
        alone = torch.cat([gradients(job, [members[i]], plan(), steps) for i in some])
        out[steps] = deviation(fused[some], alone)
    return out[FIRST[0]] < NEAR, {"relative deviation after steps": out}


def laid_out(job: Job, members: list[Member], device: str) -> list[torch.Tensor]:
    """All batches of two halves of the members, laid out side by side on two streams of a GPU."""
    CACHE.clear()
    set_up(device, 1)
    halves = [members[::2], members[1::2] or members]
    loaders = [Loader(job, half, [0] * len(half), 64, device) for half in halves]
    for loader in loaders:
        loader.allocate()
    streams = [torch.cuda.Stream() if is_gpu(device) else None for _ in loaders]
    for stream in streams:
        if stream is not None:
            stream.wait_stream(torch.cuda.current_stream())
    parts: list[list[torch.Tensor]] = [[] for _ in loaders]
    done = [0 for _ in loaders]
    while min(done) < job.training.steps:
        for i, (loader, stream) in enumerate(zip(loaders, streams, strict=True)):
            if done[i] < job.training.steps:
                with torch.cuda.stream(stream):
                    loader.refill()
                    parts[i].append(torch.cat((loader.tokens, loader.targets), -1)[: loader.left].clone())
                    done[i] += loader.left
                    loader.cursor += loader.left
                    loader.ahead()
    for loader, stream in zip(loaders, streams, strict=True):
        if stream is not None:
            stream.synchronize()
        loader.wait()
    return [torch.cat(part).cpu() for part in parts]


def data(model: str) -> Outcome:
    """Batches that are computed from their places, side by side on two streams, are the CPU's to the bit.

    With TORCH_CUDA_SANITIZER=1 torch also says where one stream reads what another still writes.
    """
    job = make_job(model, m=6, steps=1100)
    n = job.training_space
    members = [Member("a", n, 1e-3, seed, 0.0, "never") for seed in SEEDS]
    held = CACHE.training(job, SEEDS[0], n, "cpu").held
    same = all(
        torch.equal(a, b)
        for a, b in zip(laid_out(job, members, CUDA), laid_out(job, members, "cpu"), strict=True)
    )
    return same and not held, {"sequences": n, "held in memory": held}


def verdicts(model: str) -> Outcome:
    """How often two plans (and the CPU) give a trial, and a candidate N, the same verdict;
    rounding can turn a close one.
    """
    job = make_job(model, steps=500, eval_every=25)
    plans = {"fused": plan(), "alone": plan(1), "cpu": plan(device="cpu", graph=False)}
    found: dict[str, dict[tuple[int, int], bool]] = {name: {} for name in plans}
    for n in SIZES:
        for name, by in plans.items():
            for i, e in endings(run(job, grid(n, eps=1e-2), by)).items():
                found[name][n, i] = e.outcome == "success"
    out: dict[str, Any] = {}
    every = range(len(grid()))
    for name in ("alone", "cpu"):
        same = [found["fused"][k] == found[name][k] for k in found["fused"]]
        by_n = [
            any(found["fused"][n, i] for i in every) == any(found[name][n, i] for i in every) for n in SIZES
        ]
        out[f"fused against {name}"] = {
            "trials": f"{sum(same)}/{len(same)}",
            "candidates": f"{sum(by_n)}/{len(by_n)}",
        }
    return True, out


def out_of_memory(model: str) -> Outcome:
    """A member that fits in a little memory, a grid that does not: halved, said, and finished."""
    job, members = make_job(model, steps=20, eval_every=10, batch_size=512), grid(600)
    job = job.model_copy(update={"model": job.model.model_copy(update=LARGER[model])})
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run(job, members[:1], plan(1))
    one = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run(job, members, plan())
    all_of_them = torch.cuda.max_memory_reserved()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (one + (all_of_them - one) * 0.6) / total))
    try:
        events = run(job, members, plan())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    plans = [e.plan.members_at_once for e in events if isinstance(e, Planned)]
    notes = [e.text for e in events if isinstance(e, Note)]
    return len(endings(events)) == len(members) and len(plans) > 1, {
        "members at once": plans,
        "notes": notes,
        "MiB for one, all": (one >> 20, all_of_them >> 20),
    }


def calibrated(model: str) -> Outcome:
    """What calibration chooses for the grid, how long it takes, and what graphs gain."""
    job, members = make_job(model, steps=2000, eval_every=500), grid()
    begun = time.perf_counter()
    chosen = calibrate(job, CUDA, len(members))
    took = time.perf_counter() - begun
    speed = {}
    for name, by in {"graph": chosen, "eager": replace(chosen, graph=False)}.items():
        begun = time.perf_counter()
        run(job, members, by)
        speed[name] = len(members) * job.training.steps / (time.perf_counter() - begun)
    detail = {
        "members at once": chosen.members_at_once,
        "streams": chosen.streams,
        "graph": chosen.graph,
        "note": chosen.note,
    }
    return True, {**detail, "calibration s": took, "member-steps/s with start and evaluation": speed}


def own_step(model: str, precision: str) -> float:
    """Microseconds of a member-step as the trainer does it: repeatable kernels, batches laid out, a graph."""
    job = next(
        job
        for kind, variants in engine.SIZES + engine.OTHERS
        for sizes in variants
        if (job := engine.make_job(kind, sizes, 10, 64, 5, precision, 0.0)).model.label == model
    )
    members = grid()
    one = lane(endless(job), members, plan())
    for _ in range(4):
        one.advance()
    one.wait()
    begun, done = time.perf_counter(), one.steps[0]
    while time.perf_counter() - begun < OWN_S and one.steps[0] - done < 1000:
        one.advance()
    one.wait()
    return 1e6 * (time.perf_counter() - begun) / (one.steps[0] - done) / len(members)


def floor(model: str, folder: Path) -> Outcome:
    """A grid of 15 fused against one model after another, through benchmarks/engine.py; passes where the
    floor of the model is reached, in the precision that the floor is for. What breaks or takes too long is
    not measured, and fails.
    """
    wanted, precision = FLOORS[model]
    target = folder / f"engine-{model.replace(' ', '-')}.json"
    target.unlink(missing_ok=True)
    command = [sys.executable, str(ROOT / "benchmarks" / "engine.py"), "--device", CUDA.partition(":")[0]]
    command += ["--precision", precision, *COMPARED, "--only", model, "--json", str(target)]
    subprocess.run(command, check=True, timeout=FLOOR_S)
    told = json.loads(target.read_text())
    rows = [r for r in told["rows"] if r["model"] == model and r["T"] <= 20]
    if not rows:
        return False, {"floor": wanted, "ratio": "not measured"}
    ratio = told["geometric_means"][f"{model}, batch 64"]
    return ratio >= wanted, {
        "floor": wanted,
        "ratio": ratio,
        "precision": precision,
        "member-step us at T = 10": next((r["member_step_us"] for r in rows if r["T"] == 10), "not measured"),
        "the trainer's own": own_step(model, precision),
        "of FLOP/s": max(r["flops_per_s"] for r in rows) / told["ceiling_flops"],
        "of bytes/s": max(r["bytes_per_s"] for r in rows) / told["ceiling_bytes"],
    }


def checks(stage: str, folder: Path) -> list[tuple[str, Callable[[], Outcome]]]:
    """The checks of a stage, by name, the cheapest first."""
    if stage == "works":
        each: tuple[Callable[[str], Outcome], ...] = (against_cpu, graph_against_eager)
    elif stage == "correct":
        each = (repeated, resumed, company, calibrated, out_of_memory, verdicts)
    else:
        return [(f"floor {model}", partial(floor, model, folder)) for model in FLOORS]
    once: list[tuple[str, Callable[[], Outcome]]] = []
    if stage == "correct":
        once.append(("data", partial(data, "dense_ssm")))
    return once + [(f"{c.__name__} {model}", partial(c, model)) for c in each for model in MODELS]


def checked(check: Callable[[], Outcome]) -> Outcome:
    """The outcome of a check; one that breaks or takes longer than ``CHECK_S`` has failed."""

    def late(*_: object) -> None:
        raise TimeoutError(f"it took longer than {CHECK_S} s: not measured")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(CHECK_S)
    try:
        return check()
    except Exception as error:
        where = traceback.format_exc()[-2000:]
        return False, {"error": f"{type(error).__name__}: {error}", "where": where}
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="*", help=f"of {', '.join(STAGES)}; all of them, in this order")
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--only", default="", help="checks whose name begins with this")
    args = parser.parse_args(argv)
    if unknown := set(args.stages) - set(STAGES):
        parser.error(f"there is no stage {unknown.pop()!r}; expected one of {', '.join(STAGES)}")
    if not is_gpu(CUDA) or (CUDA != "cpu" and not torch.cuda.is_available()):
        print("no CUDA device here: nothing to check", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for stage in args.stages or STAGES:
        end = time.perf_counter() + 60 * STAGES[stage]
        for name, check in checks(stage, args.out):
            if not name.startswith(args.only):
                continue
            begun = time.perf_counter()
            late = {"error": f"the {STAGES[stage]} minutes of the stage {stage!r} were over: not measured"}
            passed, detail = checked(check) if begun < end else (False, late)
            seconds = time.perf_counter() - begun
            rows.append(
                {"check": name, "stage": stage, "passed": passed, "seconds": seconds, "detail": detail}
            )
            told = json.dumps(detail, default=str)
            print(f"{'ok' if passed else 'FAILED':6} {name:32} {seconds:6.1f} s  {told}", flush=True)
            write(args.out, rows)
        if not all(r["passed"] for r in rows if r["stage"] == stage):
            print(f"the stage {stage!r} has failed; what comes after it was not run", file=sys.stderr)
            return 1
    return 0


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    device = {"device": torch.cuda.get_device_name(0), "torch": torch.__version__, "cuda": torch.version.cuda}
    (folder / "gpu.json").write_text(json.dumps({**device, "rows": rows}, indent=1, default=str) + "\n")
    lines = [
        f"{device['device']}, torch {device['torch']}, CUDA {device['cuda']}",
        "",
        "| check | passed | s | what was seen |",
        "|---|---|---|---|",
    ]
    for r in rows:
        seen = (
            "; ".join(f"{k}: {v}" for k, v in r["detail"].items() if k != "where")
            .replace("|", "/")
            .replace("\n", " ")
        )
        lines.append(f"| {r['check']} | {'yes' if r['passed'] else 'NO'} | {r['seconds']:.0f} | {seen} |")
    (folder / "gpu.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
