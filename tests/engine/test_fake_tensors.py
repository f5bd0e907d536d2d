"""Every model's work on a GPU that is not there: no device mixed, no host read, static shapes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

GUARD = """#include <c10/core/impl/DeviceGuardImplInterface.h>
namespace {
c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA> guard;
struct Register {
  Register() { c10::impl::device_guard_impl_registry[(size_t)c10::DeviceType::CUDA].store(&guard); }
} now;
}
"""
"""Lets fakes of a GPU be sliced where torch was built without CUDA: switching to the device does nothing."""


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if torch.backends.cuda.is_built():  # type: ignore[no-untyped-call, unused-ignore]
        pytest.skip("this torch is built with CUDA and has a guard of its own: tests/engine/test_cuda.py")
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ here, which builds the device guard that fakes need")
    folder = tmp_path_factory.mktemp("guard")
    (folder / "guard.cpp").write_text(GUARD)
    include = Path(torch.__file__).parent / "include"
    if not (include / "c10").is_dir():
        pytest.skip("this torch came without its headers, which the device guard needs")
    out = folder / "guard.so"
    subprocess.run(
        [
            *(compiler, "-shared", "-fPIC", "-O0", "-std=c++20", "guard.cpp", "-I", include, "-o", out),
            *("-L", include.parent / "lib", "-lc10"),
        ],
        cwd=folder,
        check=True,
        timeout=120,
    )
    return out


def traced(guard: Path, *more: str) -> str:
    script = Path(__file__).with_name("trace_on_a_fake_gpu.py")
    done = subprocess.run([sys.executable, script, guard, *more], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout


def test_nothing_that_a_capture_refuses(guard: Path) -> None:
    assert re.fullmatch(r"\d+ traced\n", traced(guard))


@pytest.mark.slow
def test_nothing_that_a_capture_refuses_in_any_shape(guard: Path) -> None:
    assert re.fullmatch(r"\d+ traced\n", traced(guard, "--all"))
