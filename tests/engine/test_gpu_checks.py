"""The checks of benchmarks/gpu.py, tried on a stand-in: they pass there, and none passes where nothing is
captured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu
from runners.engine.types import Plan
from tests.engine import fake_gpu

NEED_GRAPHS = (gpu.against_cpu, gpu.graph_against_eager, gpu.repeated, gpu.resumed, gpu.company)


def stand_in(monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    fake_gpu.install(monkeypatch, **more)
    monkeypatch.setattr(gpu, "CUDA", "cpu")
    monkeypatch.setattr(gpu, "SEEDS", (10,))

    def plan(members: int = 64, *, graph: bool = True, streams: int = 1, device: str = "cpu") -> Plan:
        return Plan("cpu", members, graph=graph, streams=streams)

    monkeypatch.setattr(gpu, "plan", plan)


def refuse() -> None:
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing")


@pytest.mark.parametrize("check", NEED_GRAPHS, ids=lambda c: c.__name__)
def test_no_check_passes_where_nothing_is_captured(check: object, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, refuse=refuse)
    passed, detail = gpu.checked(lambda: check("dense_ssm"))  # type: ignore[operator]
    assert not passed
    assert "CaptureRefusedError" in detail["error"] or "NotCapturedError" in detail["error"]


@pytest.mark.slow
def test_a_dry_run_of_what_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)
    assert gpu.main(["works", "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["passed"] for row in told["rows"]] == [True] * 6


def test_a_floor_that_was_not_measured_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    assert gpu.main(["fast", "--out", str(tmp_path)]) == 1
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [row["passed"] for row in rows] == [False] * 3
