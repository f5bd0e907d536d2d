"""The path of a GPU without one (see fake_gpu): what is captured, what a replay does,
and what happens where it fails.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runners.engine import data
from runners.engine.calibrate import calibrate
from runners.engine.cuda_graphs import CaptureRefusedError, CudaGraphs
from runners.engine.device import is_out_of_memory, tf32
from runners.engine.fused_batch import FusedBatch
from runners.engine.loader import Loader as Loader
from runners.engine.trainer import Trainer
from runners.engine.types import Control, Ended, EngineEvent, Evaluated, Plan, Planned, Stopped
from runners.interrupt import Interrupted, Listener, check_interrupt
from runners.kernels import library
from runners.models.matmul import Matmul
from tests.engine import fake_gpu
from tests.engine.small_runs import FORMATS, MODELS, Seen, grid, run, tiny


@pytest.fixture(autouse=True)
def _without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a graph replays is compared with the same operations of torch on a CPU."""
    monkeypatch.setattr(library, "kernel", lambda family: None)


def plan(at_once: int = 64, *, graph: bool = True, streams: int = 1) -> Plan:
    return Plan("cpu", at_once, graph=graph, streams=streams)


def told(seen: Seen) -> list[object]:
    return [seen.of(i) for i in sorted(seen.ended)]


def plans(seen: Seen) -> list[Plan]:
    return [e.plan for e in seen.events if isinstance(e, Planned)]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("model", MODELS)
def test_a_replayed_step_is_the_step(model: str, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job, members = tiny(model, format), grid(eps=0.0)
    fake_gpu.install(monkeypatch)
    eager = run(job, members, plan=plan(graph=False))
    assert fake_gpu.Graph.captured == 0
    graph = run(job, members, plan=plan())
    assert fake_gpu.Graph.captured == 2, "one of the step, one of the evaluation"
    assert fake_gpu.Graph.replayed == job.training.steps + 5
    assert told(graph) == told(eager)


@pytest.mark.parametrize("model", MODELS)
def test_verdicts_are_those_of_a_cpu(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job, members = tiny(model, steps=40), grid(eps=1.05, seeds=(1, 2, 3), stop="seed")
    expected = run(job, members)
    fake_gpu.install(monkeypatch)
    seen = run(job, members, plan=plan())
    assert {i: (e.outcome, e.steps) for i, e in seen.ended.items()} == {
        i: (e.outcome, e.steps) for i, e in expected.ended.items()
    }


@pytest.mark.parametrize(("at_once", "streams"), [(64, 1), (2, 1), (3, 2)])
def test_batches_composed_anew_are_captured_anew(
    at_once: int, streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three probes end early; the third goes on in a smaller batch, with a graph of its own."""
    job = tiny(steps=30)
    members = [*grid("a", eps=9.0), *grid("b", eps=9.0), *grid("c", eps=0.0)]
    fake_gpu.install(monkeypatch)
    eager = run(job, members, plan=plan(at_once, graph=False, streams=streams))
    seen = run(job, members, plan=plan(at_once, streams=streams))
    assert fake_gpu.Graph.captured >= 4
    assert told(seen) == told(eager)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("at", [5, 15])
def test_resumed_to_the_bit(model: str, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, members = tiny(model), grid(eps=0.9, seeds=(1, 2, 3))
    fake_gpu.install(monkeypatch)
    whole = run(job, members, plan=plan(4))
    control = Control()

    def each(event: EngineEvent) -> None:
        if isinstance(event, Evaluated) and event.step == at:
            control.stop = "checkpoint"

    run(job, members, plan=plan(4), control=control, each=each, folder=tmp_path)
    again = run(job, members, folder=tmp_path, resume=True)
    assert plans(again) == [plan(4)]
    assert told(again) == told(whole)


def refuse() -> None:
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")


def test_a_refused_capture_ends_the_run_with_a_plan_without_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The allocator of this process may be spoiled: a new one goes on."""
    job, members = tiny(), grid()
    fake_gpu.install(monkeypatch, refuse)
    seen = run(job, members, plan=plan())
    first, second = plans(seen)
    assert first.graph
    assert not second.graph
    assert second.passing
    assert seen.notes == [second.note]
    assert "operation not permitted when stream is capturing); it runs without a CUDA graph" in seen.notes[0]
    assert seen.events[-1] == Stopped(None)
    assert not seen.ended
    assert told(run(job, members, plan=second)) == told(run(job, members, plan=plan(graph=False)))


def test_a_capture_refused_in_calibration_is_calibrated_without_graphs_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_gpu.install(monkeypatch, refuse)
    with pytest.raises(CaptureRefusedError):
        calibrate(tiny(), "cpu", 4)
    trainer = Trainer(tiny(), grid(), device="cpu")
    events = list(trainer.run(Control()))
    [told_plan] = [e.plan for e in events if isinstance(e, Planned)]
    assert told_plan.open
    assert events[-1] == Stopped(None)
    again = list(Trainer(tiny(), grid(), device="cpu", plan=told_plan).run(Control()))
    [chosen] = [e.plan for e in again if isinstance(e, Planned)]
    assert chosen.members_at_once
    assert not chosen.graph
    assert chosen.passing
    assert sum(isinstance(e, Ended) for e in again) == 4


@pytest.mark.parametrize("graph", [False, True])
def test_a_finished_batch_is_freed_before_the_next_is_made(
    graph: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpu.install(monkeypatch)
    made: list[weakref.ref[FusedBatch]] = []
    alive: list[int] = []
    init = FusedBatch.__init__

    def counted(self: FusedBatch, *args: object) -> None:
        alive.append(sum(r() is not None and hasattr(r(), "adam") for r in made))
        made.append(weakref.ref(self))
        init(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(FusedBatch, "__init__", counted)
    gc.collect()
    gc.disable()
    try:
        run(tiny(), [*grid("a", eps=0.0), *grid("b", eps=0.0)], plan=plan(2, graph=graph))
    finally:
        gc.enable()
    assert alive == [0, 0, 0, 0]
    assert not any(r() for r in made), "no cycle holds a batch"


def test_a_batch_composed_anew_takes_memory_after_the_old_one_gave_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_gpu.install(monkeypatch)
    order: list[str] = []

    def told(word: str, was: Callable[[Any], None]) -> Callable[[Any], None]:
        def call(self: Any) -> None:
            order.append(word)
            was(self)

        return call

    monkeypatch.setattr(Loader, "allocate", told("take", Loader.allocate))
    monkeypatch.setattr(FusedBatch, "release", told("give", FusedBatch.release))
    run(tiny(steps=30), [*grid("a", eps=9.0), *grid("b", eps=9.0), *grid("c", eps=0.0)], plan=plan(64))
    assert order == ["take", "give", "take", "give"]


def test_a_stop_is_heard_while_a_step_is_warmed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu.install(monkeypatch)
    graphs = CudaGraphs("cpu")
    state = torch.ones(3)

    def step(place: torch.Tensor) -> None:
        state.add_(1)
        check_interrupt()

    with Listener(lambda: True), pytest.raises(Interrupted):
        graphs.train(1, step, [state])
    assert state.tolist() == [1, 1, 1]
    graphs.train(2, step, [state])
    assert state.tolist() == [3, 3, 3]


def test_memory_out_in_a_run_gives_up_kept_data_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan that follows serves these trials alone."""
    fake_gpu.install(monkeypatch)
    kept = [fake_gpu.TOTAL // 2, 0, 0]
    monkeypatch.setattr(data.CACHE, "forget", lambda device: kept.pop(0))
    left = 2
    advance = FusedBatch.advance

    def short(self: FusedBatch) -> int:
        nonlocal left
        left -= 1
        if left >= 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return advance(self)

    monkeypatch.setattr(FusedBatch, "advance", short)
    seen = run(tiny(), grid(), plan=plan(4))
    assert [(p.members_at_once, p.passing) for p in plans(seen)] == [(4, False), (4, False), (2, True)]
    assert "data that were kept" in seen.notes[0]
    assert len(seen.ended) == 4


def test_kept_data_is_bounded_by_a_share_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu.install(monkeypatch)
    monkeypatch.setattr(data, "CARD_SHARE", 1e-9)
    cache = data.DataCache()
    for seed in (1, 2, 3):
        cache.training(tiny(), seed, 20, "cpu")
    assert len(cache._entries) == 1


@pytest.mark.parametrize(
    "text", ["previous error during capture", "CUBLAS_STATUS_NOT_INITIALIZED when calling"]
)
def test_vague_errors_mean_memory_where_none_is_free(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu.install(monkeypatch)
    error = RuntimeError(f"CUDA error: {text}")
    assert not is_out_of_memory(error, "cpu")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (fake_gpu.TOTAL // 100, fake_gpu.TOTAL))
    assert is_out_of_memory(error, "cpu")
    assert not is_out_of_memory(RuntimeError("CUDA error: too many resources requested for launch"), "cpu")


def test_calibration_leaves_room_for_data(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu.install(monkeypatch)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (fake_gpu.TOTAL // 5, fake_gpu.TOTAL))
    chosen = calibrate(tiny(), "cpu", 4)
    assert (chosen.members_at_once, chosen.streams) == (1, 1)


def test_streams_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuBLAS and the allocator keep memory for every stream that was ever used."""
    fake_gpu.install(monkeypatch)
    made: list[object] = []

    def stream(*_: object) -> fake_gpu.Stream:
        made.append(None)
        return fake_gpu.Stream()

    monkeypatch.setattr(torch.cuda, "Stream", stream)
    run(tiny(), [*grid("a", eps=0.0), *grid("b", eps=0.0), *grid("c", eps=0.0)], plan=plan(2))
    assert len(made) == 2, "one to train on, one to lay data out"


def test_memory_that_runs_out_while_capturing_halves_the_members(monkeypatch: pytest.MonkeyPatch) -> None:
    job, members = tiny(), grid()
    left = 3

    def refuse() -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            # As torch has it: ending the capture fails too, and that error is what one sees.
            try:
                raise torch.OutOfMemoryError("CUDA out of memory")
            except torch.OutOfMemoryError as error:
                raise RuntimeError(
                    "CUDA error: operation failed due to a previous error during capture"
                ) from error

    fake_gpu.install(monkeypatch, refuse)
    seen = run(job, members, plan=plan(8, streams=2))
    assert [(p.members_at_once, p.streams) for p in plans(seen)] == [(8, 2), (8, 1), (2, 1), (1, 1)]
    assert all(p.graph for p in plans(seen))
    assert all("out of memory" in note for note in seen.notes)
    assert len(seen.ended) == 4


def test_who_waits_for_a_gpu_leaves_the_processor_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that blocks costs no core; and no other event is made."""
    fake_gpu.install(monkeypatch)
    made: list[dict[str, object]] = []

    def event(**how: object) -> fake_gpu.Stream:
        made.append(how)
        return fake_gpu.Stream()

    monkeypatch.setattr(torch.cuda, "Event", event)
    run(tiny(), grid(eps=0.0), plan=plan(2))
    assert made
    assert all(how == {"blocking": True} for how in made)


def test_tf32_holds_within_and_what_was_before_comes_back() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        for outside in ("ieee", "tf32"):
            matmul.fp32_precision = outside
            context = tf32()
            for _ in range(2):  # a fused batch enters the same one again and again
                with context:
                    assert matmul.fp32_precision == "tf32"
                assert matmul.fp32_precision == outside
    finally:
        matmul.fp32_precision = before


def test_sums_of_bf16_are_float32_on_a_gpu() -> None:
    product = Matmul(half=True)(torch.zeros(2, 3, 4, device="meta"), torch.zeros(2, 4, 5, device="meta"))
    assert product.dtype == torch.float32
    calls: list[torch.dtype | None] = []
    real = torch.bmm

    def bmm(a: torch.Tensor, b: torch.Tensor, **how: torch.dtype) -> torch.Tensor:
        assert a.dtype == b.dtype == torch.bfloat16
        calls.append(how.get("out_dtype"))
        return real(a, b, **how)  # type: ignore[call-overload, no-any-return, unused-ignore]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "bmm", bmm)
        Matmul(half=True)(torch.zeros(2, 3, 4, device="meta"), torch.zeros(2, 4, 5, device="meta"))
        Matmul(half=True)(torch.zeros(2, 3, 4), torch.zeros(2, 4, 5))
    assert calls == [torch.float32, None], "a CPU has no such product, and rounds once more"


def test_a_plan_is_calibrated_with_graphs_and_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu.install(monkeypatch)
    chosen = calibrate(tiny(), "cpu", 4)
    assert chosen.graph
    assert chosen.note == ""
    assert chosen.members_at_once * chosen.streams <= 4
    # 1 member, 4, and twice 2 side by side: each captures a step and an evaluation.
    assert fake_gpu.Graph.captured == 2 * (1 + 1 + 2)
