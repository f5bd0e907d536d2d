"""Every benchmark runs: for a few seconds, on small sizes. No number is asserted, least of all a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
QUICK = {
    "engine": (["--quick", "--only", "dense_ssm"], "geometric mean"),
    "search": (["--quick", "--only", "dense_ssm"], "dense_ssm 16"),
    "pipeline": (["--quick"], "training_share"),
    "scale": (["--quick"], "verb_p99_s"),
    "store": (["--quick"], "trials"),
    "data": (["--quick"], "us/step"),
    "costs": (["--quick"], "checkpoints while training"),
    "speculation": (["--oracles", "4"], "sequential one"),
}
"""What it is asked, and a word of what it prints."""


def run(name: str, *options: str, timeout: float = 110) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.mark.parametrize("name", QUICK)
def test_it_runs(name: str) -> None:
    options, word = QUICK[name]
    done = run(name, *options)
    assert done.returncode == 0, done.stderr
    assert word in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("name", "option"), [("tui", "--quick"), ("adaptive", "--oracles=10"), ("pause", "--quick")]
)
def test_a_longer_one_runs(name: str, option: str) -> None:
    done = run(name, option, timeout=390)
    assert done.returncode == 0, done.stderr


def test_without_a_gpu_its_benchmark_says_so() -> None:
    pytest.importorskip("torch")
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = run("gpu")
    assert done.returncode == 2
    assert done.stderr == "no CUDA device here: nothing to check\n"
