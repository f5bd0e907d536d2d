"""Every model's work on a GPU that is not there: no device mixed, no host read, static shapes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

CARD = Path(__file__).with_name("fake_card.cpp")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that stands in for CUDA."""
    if torch.backends.cuda.is_built():  # type: ignore[no-untyped-call, unused-ignore]
        pytest.skip("this torch is built with CUDA and has a device of its own: tests/engine/test_cuda.py")
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ here, which builds the device that fakes need")
    torch_at = Path(torch.__file__).parent
    if not (torch_at / "include" / "c10").is_dir():
        pytest.skip("this torch came without its headers, which the fake device needs")
    out, lib = tmp_path_factory.mktemp("card") / "card.so", torch_at / "lib"
    flags = ["-shared", "-fPIC", "-O0", "-std=c++20", f"-I{torch_at / 'include'}"]
    libraries = [f"-L{lib}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{lib}"]
    words: list[str | Path] = [compiler, *flags, CARD, *libraries, "-o", out]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def traced(card: Path, *more: str) -> str:
    words: list[str | Path] = [sys.executable, "-m", "tests.engine.trace_on_a_fake_gpu", card, *more]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return str(done.stdout)


@pytest.mark.timeout(300)
def test_nothing_that_a_capture_refuses(card: Path) -> None:
    assert re.fullmatch(r"\d+ traced\n", traced(card))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_that_a_capture_refuses_in_any_shape(card: Path) -> None:
    assert re.fullmatch(r"\d+ traced\n", traced(card, "--all"))
