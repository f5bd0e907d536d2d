"""The path of a GPU without one (see fake_gpu): what is captured, what a replay does,
and what happens where it fails.
"""

from __future__ import annotations

from pathlib import Path

import fake_gpu
import pytest
import torch
from engine_bench import FORMATS, MODELS, Seen, grid, run, tiny

from runners.engine.calibrate import calibrate
from runners.engine.types import Control, EngineEvent, Evaluated, Plan, Planned


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
def test_lanes_composed_anew_are_captured_anew(
    at_once: int, streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three probes end early; the third goes on in a smaller lane, with a graph of its own."""
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


def test_a_step_that_cannot_be_captured_runs_without_a_graph_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, members = tiny(), grid()

    def refuse() -> None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    fake_gpu.install(monkeypatch, refuse)
    seen = run(job, members, plan=plan())
    assert [p.graph for p in plans(seen)] == [True, False]
    assert seen.notes == [plans(seen)[1].note]
    assert "operation not permitted when stream is capturing); it runs without a CUDA graph" in seen.notes[0]
    assert told(seen) == told(run(job, members, plan=plan(graph=False)))
    chosen = calibrate(job, "cpu", 4)
    assert not chosen.graph
    assert "without a CUDA graph" in chosen.note


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


def test_a_plan_is_calibrated_with_graphs_and_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu.install(monkeypatch)
    chosen = calibrate(tiny(), "cpu", 4)
    assert chosen.graph
    assert chosen.note == ""
    assert chosen.members_at_once * chosen.streams <= 4
    # 1 member, 4, and twice 2 side by side: each captures a step and an evaluation.
    assert fake_gpu.Graph.captured == 2 * (1 + 1 + 2)
