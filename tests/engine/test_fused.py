"""A fused member comes out to the bit as it does alone (CPU):
any company, chunking, packing, compaction, order.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runners.engine.calibrate import fusing_changes_no_bit
from runners.engine.fused_batch import FusedBatch, fresh
from runners.engine.schedule import Schedule
from runners.engine.trials import Trials
from runners.engine.types import Member
from runners.spec import Job
from tests.engine.small_runs import FORMATS, MODELS, cpu, grid, run, tiny


def fused(job: Job, members: list[Member]) -> FusedBatch:
    shape = Schedule(job, "cpu", cpu(), Trials(members, job.training.steps)).shape()
    batch = min(job.training.batch_size, members[0].n)
    return FusedBatch(shape, fresh(shape, range(len(members)), members), members, batch)


def to(target: int, one: FusedBatch) -> FusedBatch:
    while one.steps[0] < target:
        one.advance(target - one.steps[0])
        if rows := one.due():
            one.evaluate(rows, [0] * len(rows), [0.0] * len(rows))
    return one


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("model", MODELS)
def test_parameters_and_moments_are_those_of_the_member_alone(model: str, format: str) -> None:
    job = tiny(model, format)
    members = grid(seeds=(10, 20, 30))
    together = to(12, fused(job, members)).rows
    for e, member in enumerate(members):
        alone = to(12, fused(job, [member])).rows
        for a, b in zip(together.select([e]).tensors, alone.tensors, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("model", MODELS)
def test_composing_a_batch_anew_disturbs_nobody(model: str, format: str) -> None:
    job = tiny(model, format)
    members = grid(seeds=(10, 20, 30))
    whole = to(12, fused(job, members)).rows
    first = to(7, fused(job, members))
    keep = [4, 1]
    newcomer = Member("b", 15, 1e-2, 7, 1e-3)
    rows = first.rows.select(keep).join(fresh(first.shape, [9], [newcomer]))
    second = FusedBatch(first.shape, rows, [members[4], members[1], newcomer], first.batch)
    to(12, second)
    for a, b in zip(second.rows.select([0, 1]).tensors, whole.select(keep).tensors, strict=True):
        assert torch.equal(a, b)
    alone = to(5, fused(job, [newcomer])).rows
    for a, b in zip(second.rows.select([2]).tensors, alone.tensors, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_packing_tells_the_same_of_every_trial(model: str, data: st.DataObject) -> None:
    format = data.draw(st.sampled_from(FORMATS))
    job = tiny(model, format, steps=13, eval_every=4)
    n = st.sampled_from([3, 8, 11, 20])
    rate = st.sampled_from([1e-2, 3e-3, 0.3])
    eps = st.sampled_from([1e-3, 0.9])
    member = st.builds(Member, st.sampled_from("ab"), n, rate, st.integers(1, 3), eps, st.just("never"))
    members = data.draw(st.lists(member, min_size=1, max_size=6, unique=True))
    at_once = data.draw(st.integers(1, 7))
    packed = run(job, members, plan=cpu(at_once))
    alone = [run(job, [m]) for m in members]
    for i, one in enumerate(alone):
        assert packed.of(i) == one.of(0)


def test_of_a_packed_probe_everything_but_superseded_steps_is_as_alone() -> None:
    job = tiny("lstm", "acot", steps=30)
    probes = {"a": 0.0, "b": 1.05, "c": 1.2}
    members = [m for p, eps in probes.items() for m in grid(p, eps=eps, stop="probe")]
    packed = run(job, members, plan=cpu(3))
    for probe in probes:
        own = [i for i, m in enumerate(members) if m.probe == probe]
        alone = run(job, [members[i] for i in own], plan=cpu(1))
        verdict = {packed.ended[i].outcome == "success" for i in own}
        assert verdict == {alone.ended[k].outcome == "success" for k in range(len(own))} | verdict & {False}
        for k, i in enumerate(own):
            if "superseded" not in (packed.ended[i].outcome, alone.ended[k].outcome):
                assert packed.of(i) == alone.of(k)


@pytest.mark.parametrize("at_once", [2, 5, 15])
@pytest.mark.parametrize(
    "model",
    [
        {"kind": "dense_ssm", "hidden": 16},
        {"kind": "lstm", "hidden": 32},
        {"kind": "gru", "hidden": 32},
        {"kind": "rnn", "hidden": 16},
        {"kind": "transformer", "layers": 2, "d": 16, "heads": 2, "init_std": 0.15},
        {"kind": "transformer", "layers": 2, "d": 32, "heads": 4, "init_std": 0.15},
        {"kind": "transformer", "layers": 2, "d": 64, "heads": 2, "init_std": 0.15},
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_the_sizes_of_the_presets(model: dict[str, object], format: str, at_once: int) -> None:
    job = Job.model_validate(
        {**tiny(format=format, lengths=(2, 7), batch_size=64).model_dump(), "model": model}
    )
    assert fusing_changes_no_bit(job, cpu(), at_once)


@pytest.mark.parametrize("model", MODELS)
def test_the_check_made_at_calibration_passes(model: str) -> None:
    assert fusing_changes_no_bit(tiny(model), cpu(), 4)
