"""The checks of benchmarks/gpu.py, tried on a stand-in: they pass there, none passes where nothing is
captured, and rounding alone fails none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from runners.engine import schedule
from runners.engine.adam import Adam
from runners.engine.types import Plan
from runners.kernels import library
from runners.models import attention, gelu, matmul, recurrent, transformer
from tests.engine import dry_run, fake_gpu

ROOT = Path(__file__).parents[2]
NEED_GRAPHS = (gpu.against_cpu, gpu.graph_against_eager, gpu.repeated, gpu.resumed, gpu.company)
PACKAGES = {
    "torch", "torchgen", "functorch", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2",
    "markupsafe", "filelock", "fsspec", "numpy", "pydantic", "pydantic_core", "annotated_types",
    "typing_inspection",
}  # fmt: skip
"""torch, numpy and pydantic with what they need."""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python with PACKAGES alone, of its children too."""
    links = tmp_path / "packages"
    links.mkdir()
    for entry in Path(torch.__file__).parents[1].iterdir():
        if entry.name.partition(".")[0].partition("-")[0] in PACKAGES:
            (links / entry.name).symlink_to(entry)
    (links / "sitecustomize.py").write_text(
        "import sys\nsys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
    )
    return {**os.environ, "PYTHONPATH": str(links)}


def refuse() -> None:
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing")


@pytest.mark.parametrize("check", NEED_GRAPHS, ids=lambda c: c.__name__)
def test_no_check_passes_where_nothing_is_captured(check: object, monkeypatch: pytest.MonkeyPatch) -> None:
    dry_run.shrink(monkeypatch, refuse)
    passed, detail = gpu.checked(lambda: check("dense_ssm"))  # type: ignore[operator]
    assert not passed
    assert "CaptureRefusedError" in detail["error"] or "NotCapturedError" in detail["error"]


@pytest.mark.timeout(600)
def test_all_three_stages_with_torch_numpy_and_pydantic_alone(tmp_path: Path, bare: dict[str, str]) -> None:
    words = [sys.executable, "-m", "tests.engine.dry_run", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, env=bare, capture_output=True, text=True, timeout=590, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {row["stage"]: row["passed"] for row in rows} == dict.fromkeys(gpu.STAGES, True)
    assert len(rows) == 6 + 1 + 6 * 3 + 3


def test_other_packages_are_not_there(bare: dict[str, str]) -> None:
    words = [sys.executable, "-c", "import psutil"]
    done = subprocess.run(words, env=bare, capture_output=True, text=True, check=False)
    assert "No module named 'psutil'" in done.stderr


def test_a_floor_that_was_not_measured_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dry_run.shrink(monkeypatch)
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    assert gpu.main(["fast", "--out", str(tmp_path)]) == 1
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [row["passed"] for row in rows] == [False] * 3


def test_a_check_that_takes_too_long_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "CHECK_S", 1)

    def endless() -> gpu.Outcome:
        while True:
            pass

    passed, detail = gpu.checked(endless)
    assert not passed
    assert "not measured" in detail["error"]


def as_on_a_card(patch: pytest.MonkeyPatch) -> None:
    """The code path of a GPU on the CPU: by rows, all members at once, torch's own products and kernels."""
    patch.setattr(library, "kernel", lambda family: None)
    patch.setattr(matmul.Matmul, "_by_numpy", lambda *_: False)
    patch.setattr(attention, "by_columns", lambda T, like: False)
    patch.setattr(recurrent.Recurrent, "_alone", lambda *_: False)
    init = transformer.TransformerModel.__init__

    def together(self: transformer.TransformerModel, *args: object) -> None:
        init(self, *args)  # type: ignore[arg-type]
        self.sequential_on_cpu = False

    patch.setattr(transformer.TransformerModel, "__init__", together)
    patch.setattr(
        gelu,
        "forward",
        lambda u, ws, name: torch.ops.aten.gelu.out(
            u, approximate="tanh", out=ws(f"{name}.active", *u.shape)
        ),
    )
    patch.setattr(
        gelu,
        "backward_",
        lambda d, u, active, ws, name: torch.ops.aten.gelu_backward.grad_input(
            d, u, approximate="tanh", grad_input=d
        ),
    )


def gradients(model: str, steps: int) -> torch.Tensor:
    schedule._cpu_model.cache_clear()
    plan = Plan("cpu", 64)
    return gpu.gradients(gpu.make_job(model), gpu.grid(), plan, steps)


@pytest.mark.parametrize("model", gpu.MODELS)
def test_rounding_alone_fails_no_check_and_a_wrong_term_does(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "SEEDS", (10, 20))
    steps = gpu.FIRST[:2]
    here = {n: gradients(model, n) for n in steps}
    with monkeypatch.context() as patch:
        as_on_a_card(patch)
        there = {n: gradients(model, n) for n in steps}
    off = {n: gpu.deviation(there[n], here[n]) for n in steps}
    assert off[1] < gpu.NEAR / 100
    assert off[10] < gpu.FAR / 20
    real = Adam.step

    def spoilt(self: Adam) -> None:
        self.grad.mul_(1.001)
        real(self)

    monkeypatch.setattr(Adam, "step", spoilt)
    schedule._cpu_model.cache_clear()
    assert gpu.deviation(gradients(model, 1), here[1]) > gpu.NEAR


def test_the_stand_in_runs_out_of_memory() -> None:
    memory = fake_gpu.Memory()
    memory.share(100 / fake_gpu.TOTAL)
    memory.take(90)
    with pytest.raises(torch.OutOfMemoryError):
        memory.take(20)
    memory.give(90)
    memory.take(20)
    assert memory.peak == 90
