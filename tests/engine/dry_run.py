"""All of benchmarks/gpu.py on a stand-in: python -m tests.engine.dry_run FOLDER [STAGE ...].

Every check runs as on a card, smaller: a program that fails here would waste a card's minutes. A floor is
that the ratio was measured. Imports nothing but torch, numpy, pydantic and the project.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks import gpu
from runners.engine.types import Plan
from tests.engine import fake_gpu

TINY = {
    "dense_ssm": {"kind": "dense_ssm", "hidden": 4},
    "lstm": {"kind": "lstm", "hidden": 4},
    "transformer": {"kind": "transformer", "layers": 1, "d": 4, "heads": 1, "dropout": 0.1},
}


class Plain:
    """Puts something in the place of something, for good."""

    def setattr(self, target: object, name: str, value: object, /) -> None:
        setattr(target, name, value)


def plan(members: int = 64, *, graph: bool = True, streams: int = 1, device: str = "cpu") -> Plan:
    return Plan("cpu", members, graph=graph, streams=streams)


def shrink(patch: fake_gpu.Patch, refuse: Callable[[], None] = lambda: None) -> None:
    """The checks on the stand-in, which is the CPU, in seconds."""
    fake_gpu.install(patch, refuse)
    for name, value in {
        "CUDA": "cpu",
        "SEEDS": (10,),
        "RATES": (1e-2, 1e-3),
        "SHRINK": 50,
        "OWN_S": 0.05,
        "FIRST": (1, 2, 3),
        "MODELS": TINY,
        "LARGER": {model: {} for model in TINY},
        "FLOORS": dict.fromkeys(("dense_ssm 16", "lstm 32", "transformer 2x64"), (0.0, "fp32")),
        "COMPARED": ("--quick", "--batch", "64", "--T", "2", "--at-once", "2"),
        "plan": plan,
    }.items():
        patch.setattr(gpu, name, value)


if __name__ == "__main__":
    shrink(Plain())
    raise SystemExit(gpu.main(["--out", sys.argv[1], *sys.argv[2:]]))
