"""How long training data takes to make, and how much memory: ``python benchmarks/data.py [--sequences N]``.

Every case runs in a process of its own, on one core, so that its peak memory is its own. The first lines lay
out training sets whole (N x L tokens of the smallest integer type); the last tell what a training step pays
for its batch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runners.spec import Job
    from runners.spec.job import Distribution, Format

ROOT = Path(__file__).resolve().parent.parent
TARGET_SECONDS, TARGET_GB = 30.0, 2.0

LAYOUTS = [  # (tokens, L, shortest, distribution)
    (3, 30, 30, "fixed"),
    (3, 30, 2, "uniform"),
    (3, 30, 2, "short_to_long"),
    (100, 30, 2, "uniform"),
    (100, 60, 60, "fixed"),
]
BLOCK = 16
"""Steps that a trainer asks for at once."""
STEPS = [  # (what, m, L, shortest, format, seeds, N)
    ("small job", 3, 7, 2, "acot", 3, 1_000),
    ("small job, cot", 3, 7, 4, "cot", 3, 1_000),
    ("mid-size set", 3, 12, 2, "acot", 3, 400_000),
    ("paper's grid, N_max", 5, 20, 2, "acot", 5, 16_000_000),
]


def _job(
    m: int, length: int, shortest: int, distribution: Distribution, form: Format, steps: int = 250_000
) -> Job:
    from runners.spec import DenseSSM, Job, Lengths, ModularAddition, Training

    return Job(
        task=ModularAddition(m=m),
        format=form,
        lengths=Lengths(distribution=distribution, length=length, min_length=shortest),
        model=DenseSSM(hidden=16),
        training=Training(steps=steps),
    )


def _layout(case: Sequence[Any], n: int, device: str) -> dict[str, float]:
    import torch

    from runners.tasks import DataSource

    torch.set_num_threads(1)
    m, length, shortest, distribution = case
    start = time.perf_counter()
    source = DataSource(_job(m, length, shortest, distribution, "acot"), 10, device)
    source.training(n)
    tokens = source.lay_out(n)
    if device != "cpu":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    gpu = torch.cuda.max_memory_allocated() / 1e9 if device != "cpu" else 0.0
    return {"seconds": seconds, "tokens_gb": tokens.numel() * tokens.itemsize / 1e9, "gpu_gb": gpu}


def _steps(case: Sequence[Any], device: str) -> dict[str, float]:
    import torch

    from runners.tasks import BatchOrder, BatchStream, DataSource

    torch.set_num_threads(1)
    _, m, length, shortest, form, seeds, n = case
    job = _job(m, length, shortest, "uniform", form)
    start = time.perf_counter()
    streams = [
        BatchStream(
            DataSource(job, seed, device).training(n), BatchOrder(seed, n, job.training.batch_size, device)
        )
        for seed in (10, 20, 30, 40, 50)[:seeds]
    ]
    for stream in streams:
        stream.block(0, BLOCK)
    first = time.perf_counter() - start
    count = 2048 // BLOCK * BLOCK
    start = time.perf_counter()
    for step in range(512, 512 + count, BLOCK):
        for stream in streams:
            stream.block(step, BLOCK)
    if device != "cpu":
        torch.cuda.synchronize()
    return {"first_ms": first * 1e3, "step_us": (time.perf_counter() - start) / count * 1e6}


def _child(kind: str, case: str, n: int, device: str) -> None:
    import resource

    sys.path.insert(0, str(ROOT))
    out = _layout(json.loads(case), n, device) if kind == "layout" else _steps(json.loads(case), device)
    out["rss_gb"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    )
    print(json.dumps(out))


def _run(kind: str, case: object, n: int, device: str) -> dict[str, float]:
    command = [
        sys.executable,
        __file__,
        "--child",
        kind,
        json.dumps(case),
        "--sequences",
        str(n),
        "--device",
        device,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    """Print both tables; exit status 1 when a layout of 16 M x 30 on the CPU misses its target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sequences", type=int, default=16_000_000)
    parser.add_argument(
        "--quick", action="store_true", help="two small sets and one batch, to show that it works"
    )
    parser.add_argument("--child", nargs=2, metavar=("KIND", "CASE"))
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.child:
        kind, case = arguments.child
        _child(kind, case, arguments.sequences, arguments.device)
        return
    import torch

    layouts, steps = (LAYOUTS[:2], STEPS[:1]) if arguments.quick else (LAYOUTS, STEPS)
    if arguments.quick:
        arguments.sequences = 20_000
    missed = False
    for device in ["cpu", *(["cuda:0"] if torch.cuda.is_available() else [])]:
        print(f"{device}: a training set of {arguments.sequences:,} sequences laid out, one core")
        for case in layouts:
            r = _run("layout", case, arguments.sequences, device)
            m, length, shortest, distribution = case
            name = (
                f"  m={m} L={shortest}..{length} {distribution}"
                if shortest < length
                else f"  m={m} n={length} {distribution}"
            )
            gpu = f"   on the GPU {r['gpu_gb']:.2f} GB" if device != "cpu" else ""
            print(
                f"{name:34s} {r['seconds']:6.1f} s   peak RSS {r['rss_gb']:5.2f} GB (tokens "
                f"{r['tokens_gb']:.2f}){gpu}",
                flush=True,
            )
            missed |= (
                device == "cpu"
                and length == 30
                and (r["seconds"] > TARGET_SECONDS or r["rss_gb"] > TARGET_GB)
            )
        print(f"{device}: what a step pays for the batches of all seeds, batch size 64")
        for step in steps:
            r = _run("steps", step, arguments.sequences, device)
            print(
                f"  {step[0] + f' ({step[5]} seeds, N={step[6]:,}, L={step[2]} {step[4]})':68s} "
                f"{r['step_us']:7.1f} us/step"
                f"   first block {r['first_ms']:7.1f} ms   peak RSS {r['rss_gb']:5.2f} GB",
                flush=True,
            )
    print(
        f"target: 16 M x 30 below {TARGET_GB:g} GB and {TARGET_SECONDS:g} s on one CPU core: "
        f"{'MISSED' if missed else 'met'}"
    )
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
