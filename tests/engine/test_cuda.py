"""What only a GPU can show; benchmarks/gpu.py has the larger checks with their numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from runners.engine.calibrate import calibrate
from runners.engine.trainer import Trainer
from runners.engine.types import Control, EngineEvent, Evaluated, Member, Plan, Planned
from runners.spec import Job
from tests.engine.small_runs import FORMATS, MODELS, Seen, grid, tiny

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def run(
    job: Job,
    members: list[Member],
    *,
    graph: bool = True,
    at_once: int = 64,
    streams: int = 1,
    **more: object,
) -> Seen:
    seen = Seen()
    plan = Plan("cuda:0", at_once, graph=graph, streams=streams)
    control = more.pop("control", Control())
    each = more.pop("each", None)
    for event in Trainer(job, members, device="cuda:0", plan=plan, **more).run(control):  # type: ignore[arg-type]
        seen.take(event)
        if each:
            each(event)  # type: ignore[operator]
    return seen


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("model", MODELS)
def test_a_graph_does_what_the_step_does(model: str, format: str) -> None:
    job, members = tiny(model, format), grid()
    graph, eager = run(job, members), run(job, members, graph=False)
    for i in range(4):
        assert list(graph.curves[i]) == list(eager.curves[i]) == [5, 10, 15, 20, 23]
        assert graph.curves[i][5] == pytest.approx(eager.curves[i][5], rel=1e-3)


@pytest.mark.parametrize("model", MODELS)
def test_the_same_plan_gives_the_same_bits(model: str) -> None:
    job, members = tiny(model), grid()
    assert run(job, members, at_once=2, streams=2).curves == run(job, members, at_once=2, streams=2).curves


@pytest.mark.parametrize("model", MODELS)
def test_resumed_to_the_bit(model: str, tmp_path: Path) -> None:
    job, members = tiny(model), grid(eps=0.9, seeds=(1, 2, 3))
    whole = run(job, members)
    control = Control()

    def each(event: EngineEvent) -> None:
        if isinstance(event, Evaluated) and event.step == 10:
            control.stop = "checkpoint"

    run(job, members, control=control, each=each, checkpoint_dir=tmp_path)
    again = run(job, members, checkpoint_dir=tmp_path, resume=True)
    assert [again.of(i) for i in range(6)] == [whole.of(i) for i in range(6)]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_every_precision_trains_under_a_calibrated_plan(precision: str) -> None:
    job = tiny("transformer", precision=precision)
    plan = calibrate(job, "cuda:0", 4)
    assert plan.precision == precision
    seen = Seen()
    for event in Trainer(job, grid(), device="cuda:0", plan=plan).run(Control()):
        seen.take(event)
    assert isinstance(seen.events[0], Planned)
    assert all(seen.ended[i].best_loss < 2.0 for i in range(4))
