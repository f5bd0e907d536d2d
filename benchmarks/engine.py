"""Fused training against one model after another, and against JAX:
python benchmarks/engine.py [--device cuda] [--quick] [--jax quick] [--json FILE].

Each ratio is (seconds per member-step of the baseline) / (seconds per member-step here), both measured in
turn within one run; the median over the turns is told. A step is forward, backward and Adam, on batches that
are ready, the same on both sides. Members at once is the best of a few values, as the engine calibrates it;
on a CPU one where a step takes long. With ``--jax`` there is a second ratio, against the program of
``jax_peer`` (extra ``bench``); on a CPU all sides share one core, to which the process pins itself. Calls are
what Python's profiler counts in one step of a fused batch: functions of Python's and of C's.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks import baseline
from runners.engine.adam import Adam
from runners.models import build
from runners.spec import (
    GRU,
    LSTM,
    PDSSM,
    RNN,
    SLSTM,
    DeltaNet,
    DenseSSM,
    Diagonal,
    Job,
    Mamba,
    Transformer,
)

MEMBERS = 15
LONG_S = 0.3
"""A fused step longer than this is not tried on a CPU:
such models gain nothing from company, and 15 of them take minutes.
"""
LARGE_S = 0.02
"""Seconds of a step of ours from which ``--jax quick`` has no column unless told otherwise: XLA takes minutes
to compile such.
"""
Group = tuple[str, list[dict[str, Any]]]
SIZES: list[Group] = [
    ("dense_ssm", [{"hidden": h} for h in (16, 32, 64, 128, 256)]),
    ("lstm", [{"hidden": h} for h in (16, 32, 64, 128, 256, 768)]),
    ("rnn", [{"hidden": h} for h in (64, 16, 32, 128)]),
    ("gru", [{"hidden": h} for h in (64, 16, 32, 128)]),
    (
        "transformer",
        [
            {"layers": n, "d": d, "heads": max(2, d // 32)}
            for n, d in ((2, 16), (2, 32), (2, 64), (2, 128), (2, 256), (6, 256))
        ],
    ),
]
"""Models at several sizes."""
OTHERS: list[Group] = [
    ("slstm", [{"hidden": 64}]),
    ("diagonal", [{"hidden": 64, "range": r} for r in ("[0,1]", "[-1,1]", "complex")]),
    ("dense_ssm", [{"hidden": 64, "structure": s} for s in ("block", "rotation", "diagonal", "factored")]),
    ("dense_ssm", [{"hidden": 64, "init": "near_identity"}]),
    ("pd_ssm", [{"hidden": 64}]),
    ("deltanet", [{"d": 64, "heads": 1}]),
    ("mamba", [{"d": 64, "states": 16}]),
    (
        "transformer",
        [{"layers": 2, "d": 64, "heads": 2, "position": p} for p in ("rope", "nope", "alibi", "sinusoidal")],
    ),
]
"""Models at one, or at another (:func:`of_width`)."""
Row = dict[str, Any]


def of_width(groups: list[Group], width: int) -> list[Group]:
    """The models with so many hidden units, or so wide a stream."""
    heads = {"heads": max(2, width // 32)}

    def sized(sizes: dict[str, Any]) -> dict[str, Any]:
        wide = {"hidden" if "hidden" in sizes else "d": width}
        return sizes | wide | (heads if "position" in sizes else {})

    return [(kind, [sized(sizes) for sizes in variants]) for kind, variants in groups]


def make_job(kind: str, sizes: dict[str, Any], T: int, B: int, m: int, precision: str, dropout: float) -> Job:
    model = {"kind": kind, **sizes} | ({"dropout": dropout} if kind == "transformer" else {})
    return Job.model_validate(
        {
            "task": {"kind": "modular_addition", "m": m},
            "format": "acot",
            "lengths": {"distribution": "fixed", "length": T},
            "model": model,
            "training": {"batch_size": B, "precision": precision},
        }
    )


def chosen(groups: list[Group], only: str, quick: bool) -> list[tuple[str, dict[str, Any]]]:
    """Those of these models to measure: the one that is called ``only``, else those whose label begins with
    it; with ``quick`` the first of each group.
    """
    labelled = [
        [(make_job(kind, sizes, 5, 16, 5, "fp32", 0.0).model.label, kind, sizes) for sizes in variants]
        for kind, variants in groups
    ]
    called = [[one for one in group if one[0] == only] for group in labelled]
    begun = [[one for one in group if one[0].startswith(only)] for group in labelled]
    found = called if any(called) else begun
    return [(kind, sizes) for group in found for _, kind, sizes in (group[:1] if quick else group)]


def baselines(job: Job, m: int, T: int, batches: list[Any]) -> list[baseline.Loop]:
    """The same model by the library that is its reference, or written out where there is none."""
    spec = job.model
    made: Sequence[torch.nn.Module]
    match spec:
        case DenseSSM() if spec.plain:
            both = (True, False) if T * spec.hidden**2 < 2**24 else (False,)
            made = [baseline.FullSSM(m, m, spec.hidden, all_at_once=way) for way in both]
        case DenseSSM() | Diagonal() | PDSSM():
            made = [baseline.LinearState(spec, m, m)]
        case LSTM(hidden=h):
            made = [baseline.LSTM(m, m, h)]
        case RNN(hidden=h) | GRU(hidden=h):
            cell = torch.nn.RNN if spec.kind == "rnn" else torch.nn.GRU
            made = [baseline.Recurrent(cell, m, m, h)]
        case SLSTM(hidden=h):
            made = [baseline.SLSTM(m, m, h)]
        case DeltaNet(d=d, heads=heads):
            made = [baseline.DeltaNet(m, m, d, heads)]
        case Mamba(d=d, states=N):
            made = [baseline.Mamba(m, m, d, N, scan=way) for way in (True, False)]
        case Transformer(layers=n, d=d, heads=heads) if spec.variant:
            made = [baseline.XTransformer(m, m, 2 * T, n, d, heads, spec.position)]
        case Transformer(layers=n, d=d, heads=heads):
            made = [baseline.Transformer(m, m, 2 * T, n, d, heads, spec.dropout)]
        case _:
            raise TypeError(f"there is no other implementation of {spec.label} here")
    return [baseline.Loop(model, batches) for model in made]


class Fused:
    """E members trained in one batch; on CUDA the step is one graph."""

    def __init__(
        self, job: Job, E: int, m: int, batch: tuple[torch.Tensor, torch.Tensor], device: str
    ) -> None:
        self.model = build(job, device, n_inputs=m, n_outputs=m)
        params = self.model.init(10).to(device).repeat(E, 1)
        self.adam = Adam(params, [1e-3] * E)
        self.tokens, self.targets = (x.expand(E, *x.shape).contiguous() for x in batch)
        self.loss = torch.zeros(E, device=device)
        self.graph: Any = None
        if device.startswith("cuda"):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    self.once()
            torch.cuda.current_stream().wait_stream(side)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.once()

    def once(self) -> None:
        self.loss.add_(self.model.step(self.adam.params, self.tokens, self.targets, self.adam.grad))
        self.adam.step()

    def run(self, steps: int) -> None:
        for _ in range(steps):
            if self.graph is None:
                self.once()
            else:
                self.graph.replay()


def clock(run: Callable[[int], None], steps: int, device: str) -> float:
    """Seconds per step: of the wall clock on CUDA, of this process's one core on the CPU
    (whoever else uses the machine).
    """
    if not device.startswith("cuda"):
        start = time.process_time()
        run(steps)
        return (time.process_time() - start) / steps
    torch.cuda.synchronize()
    start = time.perf_counter()
    run(steps)
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def steps_for(run: Callable[[int], None], seconds: float, device: str) -> int:
    clock(run, 1, device)
    return max(1, min(2000, int(seconds / max(clock(run, 2, device), 1e-6))))


def flops(job: Job, T: int, B: int, m: int) -> float:
    """Multiplications and additions that one member-step needs, whoever does them, forward and backward; 0
    for a model of which they are not counted.
    """
    spec = job.model
    if isinstance(spec, DenseSSM) and spec.plain:
        h = spec.hidden
        return 6.0 * h * h * (T * B + m * spec.embedding)
    if spec.kind in ("lstm", "rnn", "gru"):
        gates = {"lstm": 4, "rnn": 1, "gru": 3}[spec.kind]
        return 6.0 * gates * spec.hidden**2 * (T * B + m)
    if not isinstance(spec, Transformer) or spec.variant:
        return 0.0
    return 6.0 * B * T * (12 * spec.layers * spec.d**2 + spec.layers * T * spec.d)


def ceiling(device: str) -> float:
    """FLOP/s of one large product of matrices, in the precision that is set."""
    n = 8192 if device.startswith("cuda") else 1024
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    out = torch.empty_like(a)

    def run(steps: int) -> None:
        for _ in range(steps):
            torch.mm(a, b, out=out)

    run(2)
    return 2.0 * n**3 / min(clock(run, 5, device) for _ in range(3))


def moved(parameters: int) -> float:
    """Bytes that one member-step reads and writes at least: parameters in both passes, the gradient once,
    and Adam reads four such buffers and writes three. Activations, which a cache may hold, are not counted.
    """
    return 10.0 * 4 * parameters


def bandwidth(device: str) -> float:
    """Bytes a second, read and written, of one large copy."""
    source = torch.zeros(1 << (28 if device.startswith("cuda") else 25), device=device)
    target = torch.empty_like(source)

    def run(steps: int) -> None:
        for _ in range(steps):
            target.copy_(source)

    run(2)
    return 2.0 * 4 * source.numel() / min(clock(run, 5, device) for _ in range(3))


def calls_of(step: Callable[[], None]) -> int:
    """Calls that one step makes, of Python's functions and of C's."""
    step()
    count = 0

    def seen(_frame: object, event: str, _what: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        step()
    finally:
        sys.setprofile(None)
    return count


def peer(job: Job, T: int, m: int, x: torch.Tensor, y: torch.Tensor, how: str) -> Any:
    """The JAX program for a job; None where none is written."""
    from benchmarks import jax_peer  # jax takes a second, and reads how many cores it has

    if not jax_peer.written(job):
        return None
    return jax_peer.Peer(job, T, m, x.numpy(), y.numpy(), quick=how == "quick")


def measure(
    job: Job,
    T: int,
    B: int,
    m: int,
    device: str,
    turns: int,
    seconds: float,
    at_once: list[int],
    jax: str,
    jax_s: float,
) -> Row:
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, m, (4, B, T), generator=generator)
    y = (x.cumsum(-1) % m).to(device)
    x = x.to(device)
    theirs = baselines(job, m, T, list(zip(x, y, strict=True)))
    ours = {1: Fused(job, 1, m, (x[0], y[0]), device)}
    ours[1].run(1)  # the first step of a process loads the kernel, and perhaps compiles it
    alone = clock(ours[1].run, 1, device)
    for E in at_once:
        if E > 1 and (device.startswith("cuda") or E * alone < LONG_S):
            ours[E] = Fused(job, E, m, (x[0], y[0]), device)
    counts = [steps_for(t.run, seconds, device) for t in theirs]
    own = {E: steps_for(f.run, seconds, device) for E, f in ours.items()}
    ratios: dict[int, list[float]] = {E: [] for E in ours}
    base: list[float] = []
    other = None
    if jax == "full" or (jax == "quick" and alone <= jax_s):
        other = peer(job, T, m, x, y, jax)
    ahead: dict[int, list[float]] = {E: [] for E in ours}
    theirs_s: list[float] = []
    for _ in range(turns):
        reference = min(clock(t.run, c, device) for t, c in zip(theirs, counts, strict=True))
        base.append(reference)
        if other is not None:
            theirs_s.append(other.seconds())
        for E, f in ours.items():
            spent = clock(f.run, own[E], device) / E
            ratios[E].append(reference / spent)
            if other is not None:
                ahead[E].append(theirs_s[-1] / spent)
    best = max(ours, key=lambda E: statistics.median(ratios[E]))
    ratio, reference = statistics.median(ratios[best]), statistics.median(base)
    return {
        "model": job.model.label,
        "T": T,
        "batch": B,
        "ratio": ratio,
        "members_at_once": best,
        "ratios": {E: statistics.median(r) for E, r in ratios.items()},
        "baseline_us": reference * 1e6,
        "member_step_us": reference / ratio * 1e6,
        "flops_per_s": flops(job, T, B, m) / (reference / ratio),
        "bytes_per_s": moved(ours[best].model.n_parameters) / (reference / ratio),
        "calls": None if device.startswith("cuda") else calls_of(ours[best].once),
        "jax_us": statistics.median(theirs_s) * 1e6 if theirs_s else None,
        "ahead_of_jax": statistics.median(ahead[best]) if theirs_s else None,
        "jax_flops_per_s": flops(job, T, B, m) / statistics.median(theirs_s) if theirs_s else None,
    }


def jax_columns(row: Row, top: float) -> str:
    if row["jax_us"] is None:
        return ""
    return f" {row['jax_us']:8.1f}us {row['ahead_of_jax']:6.2f} {row['jax_flops_per_s'] / top:9.2f}"


def geometric_means(rows: list[Row]) -> dict[str, float]:
    """The means over T up to 20: each shape against eager PyTorch, and each kind of model against JAX."""
    means: dict[str, float] = {}
    short = [r for r in rows if r["T"] <= 20]
    for model, B in dict.fromkeys((r["model"], r["batch"]) for r in short):
        means[f"{model}, batch {B}"] = statistics.geometric_mean(
            r["ratio"] for r in short if (r["model"], r["batch"]) == (model, B)
        )
    for kind in dict.fromkeys(r["model"].split()[0] for r in short if r["ahead_of_jax"]):
        chosen = [r["ahead_of_jax"] for r in short if r["ahead_of_jax"] and r["model"].split()[0] == kind]
        means[f"{kind}, ahead of JAX"] = statistics.geometric_mean(chosen)
    return means


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "tf32", "bf16"])
    parser.add_argument("--quick", action="store_true", help="a few small shapes, some seconds")
    parser.add_argument(
        "--only", default="", help="the model of this label, or those whose label begins with it"
    )
    parser.add_argument(
        "--which", choices=["sizes", "others"], default=None, help="models at several sizes, or at one"
    )
    parser.add_argument("--heads", type=int, default=None, help="of the transformers, instead of d / 32")
    parser.add_argument("--width", type=int, default=64, help="hidden units or d of the models at one size")
    parser.add_argument("--T", type=int, nargs="+", default=None)
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 16])
    parser.add_argument("--m", type=int, default=5, help="the modulus")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 3, 8, MEMBERS])
    parser.add_argument("--turns", type=int, default=None)
    parser.add_argument(
        "--jax",
        default="no",
        choices=["no", "quick", "full"],
        help="a column for JAX: the forms that are mostly the fastest, or all (a minute a row to compile)",
    )
    parser.add_argument(
        "--jax-s",
        type=float,
        default=LARGE_S,
        metavar="SECONDS",
        help="of a step of ours above which quick has no column: XLA takes minutes to compile such",
    )
    parser.add_argument("--core", type=int, default=0, help="of a CPU, counted from the last")
    parser.add_argument("--json", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(
        True
    )  # for both sides, though a plain loop would not do it: small losses underflow
    cuda = args.device.startswith("cuda")
    if args.jax != "no" and cuda:
        parser.error("--jax is measured on one core of a CPU")
    os.umask(0o077)  # XLA keeps what it compiles
    if not cuda and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0), reverse=True)
        os.sched_setaffinity(0, {cores[min(args.core, len(cores) - 1)]})
    if args.precision != "fp32":
        torch.set_float32_matmul_precision("high")
    lengths = args.T or ([5, 10] if args.quick else [5, 10, 20, 60])
    turns, seconds = (
        args.turns or (1 if args.quick else 5 if cuda else 3),
        0.02 if args.quick else (0.5 if cuda else 0.1),
    )
    top, widest = ceiling(args.device), bandwidth(args.device)
    name = torch.cuda.get_device_name() if cuda else "CPU, one core"
    print(
        f"{name}; torch {torch.__version__}; {args.precision}; m = {args.m}; ceiling {top / 1e9:.0f} GFLOP/s",
        end="",
    )
    print(f", {widest / 1e9:.0f} GB/s", flush=True)
    columns = f"{'ratio':>6} {'at once':>7} {'baseline':>10} {'ours':>10} {'of FLOP/s':>9} {'of bytes/s':>10}"
    columns += f" {'calls':>5}" + (f" {'JAX':>10} {'ahead':>6} {'of FLOP/s':>9}" if args.jax != "no" else "")
    print(f"{'model':26} {'T':>3} {'B':>3} {columns}")
    about = {"device": name, "torch": torch.__version__, "precision": args.precision, "m": args.m}
    about |= {"ceiling_flops": top, "ceiling_bytes": widest}
    rows: list[Row] = []
    others = of_width(OTHERS, args.width)
    which = {"sizes": SIZES, "others": others, None: SIZES + others}[args.which]
    for kind, sizes in chosen(which, args.only, args.quick):
        for B in args.batch[:1] if args.quick else args.batch:
            for T in lengths:
                more = {"heads": args.heads} if args.heads and kind == "transformer" else {}
                job = make_job(kind, sizes | more, T, B, args.m, args.precision, args.dropout)
                try:
                    row = measure(
                        job, T, B, args.m, args.device, turns, seconds, args.at_once, args.jax, args.jax_s
                    )
                except ModuleNotFoundError as missing:
                    print(f"{job.model.label:26} left out: its reference needs {missing.name}")
                    continue
                row["model"] += f" heads {args.heads}" if more else ""
                rows.append(row)
                if args.json:  # after each: who runs out of time keeps what was measured
                    told = {**about, "rows": rows, "geometric_means": geometric_means(rows)}
                    Path(args.json).write_text(json.dumps(told, indent=1) + "\n")
                gc.collect()
                print(
                    f"{row['model']:26} {T:3} {B:3} {row['ratio']:6.2f} {row['members_at_once']:7} "
                    f"{row['baseline_us']:8.0f}us {row['member_step_us']:8.1f}us "
                    f"{row['flops_per_s'] / top:9.2f} "
                    f"{row['bytes_per_s'] / widest:10.2f} {row['calls'] or '-':>5}" + jax_columns(row, top),
                    flush=True,
                )
    print("\ngeometric mean over T up to 20")
    for title, ratio in geometric_means(rows).items():
        print(f"{title:28} {ratio:6.2f}")


if __name__ == "__main__":
    main()
