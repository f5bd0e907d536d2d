from __future__ import annotations

import pytest
import torch
from torch import Tensor

from runners.engine import calibrate as room
from runners.engine import device as memory
from runners.engine.calibrate import calibrate, fusing_changes_no_bit
from runners.engine.types import Plan
from runners.models.recurrent import Recurrent
from tests.engine.small_runs import MODELS, cpu, tiny


@pytest.fixture(autouse=True)
def _nothing_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_TIMED", {})


@pytest.mark.parametrize("model", MODELS)
def test_a_plan_for_every_model(model: str) -> None:
    plan = calibrate(tiny(model, steps=1), "cpu")
    assert plan == Plan("cpu", plan.members_at_once, threads=torch.get_num_threads(), note=plan.note)
    assert plan.members_at_once in room.LADDER["cpu"]


def test_fewer_members_where_more_gain_next_to_nothing() -> None:
    assert room._choose({(1, 1): 1.0, (4, 1): 0.99, (16, 1): 0.98}) == (1, 1)
    assert room._choose({(1, 1): 1.0, (4, 1): 0.5, (16, 1): 0.49}) == (4, 1)
    assert room._choose({(1, 1): 1.0, (4, 1): 1.4, (16, 1): 0.9}) == (16, 1)
    assert room._choose({(1, 1): 1.0, (15, 1): 0.5, (8, 2): 0.4}) == (8, 2)


def test_a_kernel_that_sums_otherwise_in_company_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Recurrent.step

    def uneven(
        self: Recurrent, params: Tensor, tokens: Tensor, targets: Tensor, grad: Tensor, dropout: None = None
    ) -> Tensor:
        loss = honest(self, params, tokens, targets, grad, dropout)
        if len(params) > 1:
            grad[-1, 0] *= 1 + 1e-6
        return loss

    monkeypatch.setattr(Recurrent, "step", uneven)
    monkeypatch.setattr(room, "_fastest", lambda *_: 4)
    assert not fusing_changes_no_bit(tiny(), cpu(), 4)
    plan = calibrate(tiny(), "cpu")
    assert plan.members_at_once == 1
    assert "in company" in plan.note


def test_neighbouring_lengths_are_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def fastest(*_: object) -> int:
        timed.append(1)
        return 4

    monkeypatch.setattr(room, "_fastest", fastest)
    monkeypatch.setattr(room, "fusing_changes_no_bit", lambda *_: True)
    for lengths in ((2, 5), (2, 6), (8, 8), (9, 9)):
        assert calibrate(tiny(lengths=lengths), "cpu").members_at_once == 4
    assert len(timed) == 2


def test_little_memory_means_few_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_bytes", lambda _: 0)
    assert calibrate(tiny(), "cpu").members_at_once == 1


def test_memory_that_runs_out_while_calibrating(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(room, "_fastest", full)
    plan = calibrate(tiny(), "cpu")
    assert plan.members_at_once == 1
    assert "memory" in plan.note


def test_a_slow_model_trains_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SLOW_S", 0.0)
    assert calibrate(tiny(), "cpu").members_at_once == 1


def test_what_running_out_of_memory_looks_like() -> None:
    assert memory.is_out_of_memory(MemoryError())
    assert memory.is_out_of_memory(torch.OutOfMemoryError("x"))
    assert memory.is_out_of_memory(
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
    )
    assert memory.is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"))
    assert not memory.is_out_of_memory(RuntimeError("shape mismatch"))
    assert not memory.is_out_of_memory(ValueError("out of memory"))
    assert memory.free_bytes("cpu") > 0
