"""The kernels as a processor with AVX2 alone runs them: on one that can do more, and says less."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runners.kernels import library

ROOT = Path(__file__).resolve().parents[2]
SAYS_LESS = """
import llvmlite.binding as llvm

found = llvm.get_host_cpu_features()
for name in found:
    found[name] = found[name] and not name.startswith(("avx512", "evex", "avx10", "amx"))
llvm.get_host_cpu_features = lambda: found
llvm.get_host_cpu_name = lambda: "haswell"
"""


@pytest.mark.slow  # it compiles every family, and runs all tests of the kernels
@pytest.mark.timeout(900)
@pytest.mark.skipif(library.lanes() != 16, reason="this processor has no more than AVX2, or numba is missing")
def test_the_kernels_hold_with_vectors_of_eight_numbers(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SAYS_LESS)
    kernels = tmp_path / "kernels"
    env = {**os.environ, "PYTHONPATH": str(tmp_path), library.PLACE: str(kernels)}
    asked = "from runners.kernels import library; print(library.lanes(), library.processor())"
    told = subprocess.run([sys.executable, "-c", asked], env=env, cwd=ROOT, capture_output=True, text=True)
    assert told.stdout.split() == ["8", "haswell"], told.stderr
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/models/test_kernels.py"]
    ran = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert {file.name.partition("-")[0] for file in kernels.glob("*.o")} >= {
        "lstm",
        "gru",
        "rnn",
        "slstm",
        "structured",
        "dense_ssm",
        "transformer",
        "decoder",
        "deltanet",
        "mamba",
    }
