"""A run that is stopped and gone on with ends like one that was never disturbed, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runners.engine import checkpoint
from runners.engine import loader as loader
from runners.engine.types import Checkpointed, Control, Ended, EngineEvent, Member, Planned, Stopped
from runners.kernels import library
from runners.spec import GRU, LSTM, RNN, Transformer
from tests.engine.small_runs import FORMATS, MODELS, StopAfter, cpu, grid, in_pieces, run, tiny


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "LONGEST", 2)  # requests are heard between blocks: stop anywhere


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_stopped_anywhere_and_often(
    model: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("run")
    job = tiny(model, data.draw(st.sampled_from(FORMATS)), steps=17, eval_every=4)
    members = [*grid(), *grid("b", n=6, eps=0.9, stop="seed")]
    plan = cpu(data.draw(st.integers(1, 6)))
    whole = run(job, members, plan=plan)
    looks = [data.draw(st.integers(0, 12)), *data.draw(st.lists(st.integers(1, 12), max_size=4))]
    seen = in_pieces(job, members, plan, folder, looks)
    for i in range(len(members)):
        assert seen.of(i) == whole.of(i)


KERNELS = [
    LSTM(hidden=16),
    GRU(hidden=16),
    RNN(hidden=16),
    *(Transformer(layers=1, d=d, heads=n, init_std=0.15) for d, n in ((32, 2), (32, 4), (16, 2), (18, 6))),
]


@pytest.mark.parametrize("model", KERNELS, ids=str)
def test_a_model_with_a_kernel_goes_on_to_the_bit(
    model: LSTM | GRU | RNN | Transformer, tmp_path: Path
) -> None:
    job = tiny("lstm", "outcome", steps=17, eval_every=4).model_copy(update={"model": model})
    members = [*grid(), *grid("b", n=6, eps=0.9, stop="seed")]
    whole = run(job, members, plan=cpu(3))
    seen = in_pieces(job, members, cpu(3), tmp_path, [5, 7, 3])
    for i in range(len(members)):
        assert seen.of(i) == whole.of(i)


def test_a_checkpoint_from_before_a_kernel_took_its_heads_is_begun_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny().model_copy(update={"model": Transformer(layers=1, d=16, heads=2, init_std=0.15)})
    members = grid()
    with monkeypatch.context() as earlier:
        earlier.setattr(library, "signature", lambda: "of kernels for wider heads alone")
        earlier.setattr(library, "kernel", lambda family: None)
        run(job, members, folder=tmp_path, control=StopAfter(6))
    seen = run(job, members, folder=tmp_path, resume=True)
    assert "other compiled kernels" in seen.notes[0]
    assert "begins afresh" in seen.notes[-1]
    whole = run(job, members)
    assert [seen.of(i) for i in range(4)] == [whole.of(i) for i in range(4)]


def test_a_resumed_run_tells_its_plan_then_what_was_known(tmp_path: Path) -> None:
    job, members = tiny(), [*grid(eps=0.0), *grid("b", eps=9.0, stop="probe")]
    first = run(job, members, folder=tmp_path, control=StopAfter(8), plan=cpu(5))
    assert set(first.ended) == {4, 5, 6, 7}
    again = run(job, members, folder=tmp_path, resume=True, control=StopAfter(0), plan=cpu(2))
    assert isinstance(again.events[0], Planned)
    assert again.events[0].plan.members_at_once == 5, "the stored plan counts"
    assert again.curves == first.curves
    assert [again.of(i) for i in range(4, 8)] == [first.of(i) for i in range(4, 8)]
    assert isinstance(again.events[-1], Stopped)


def test_a_stop_tells_where_the_checkpoint_is(tmp_path: Path) -> None:
    seen = run(tiny(), grid(), folder=tmp_path, control=StopAfter(5))
    *_, written, last = seen.events
    assert isinstance(written, Checkpointed)
    assert last == Stopped(written.path)
    assert checkpoint.files(tmp_path) == [Path(written.path)]


def test_discard_writes_nothing(tmp_path: Path) -> None:
    seen = run(tiny(), grid(), folder=tmp_path, control=Control(stop="discard"))
    assert seen.events[-1] == Stopped(None)
    assert not list(tmp_path.iterdir())


def checkpoints(count: int) -> tuple[Control, object]:
    control = Control()

    def each(event: EngineEvent) -> None:
        nonlocal count
        if isinstance(event, Checkpointed):
            count -= 1
        if count:
            control.checkpoint_now = True
        else:
            control.stop = "discard"

    return control, each


@pytest.mark.parametrize("damage", ["flip", "cut", "both"])
def test_a_damaged_checkpoint_is_passed_over_with_a_word(tmp_path: Path, damage: str) -> None:
    job, members = tiny("lstm", steps=40), grid()
    whole = run(job, members)
    control, each = checkpoints(2)
    run(job, members, folder=tmp_path, control=control, each=each)  # type: ignore[arg-type]
    newest, older = checkpoint.files(tmp_path)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content if damage != "cut" else content[:-9])
    if damage == "both":
        older.write_bytes(b"")
    seen = run(job, members, folder=tmp_path, resume=True)
    assert newest.name in seen.notes[0]
    assert ("begins afresh" in seen.notes[-1]) == (damage == "both")
    for i in range(len(members)):
        assert seen.of(i) == whole.of(i)


@pytest.mark.parametrize("change", ["member", "job", "kind", "kernels"])
def test_another_runs_checkpoint_is_refused(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, members = tiny(), grid()
    run(job, members, folder=tmp_path, control=StopAfter(4))
    if change == "member":
        members = grid(n=21)
    elif change == "job":
        job = tiny(batch_size=7)
    elif change == "kernels":
        monkeypatch.setattr("runners.engine.device.library.signature", lambda: "of another processor")
    else:
        monkeypatch.setattr("runners.engine.checkpoint.kind", lambda _: "cuda:another")
    seen = run(job, members, folder=tmp_path, resume=True)
    assert "passed over" in seen.notes[0]
    assert "begins afresh" in seen.notes[-1]
    whole = run(job, members)
    assert [seen.of(i) for i in range(4)] == [whole.of(i) for i in range(4)]


def test_the_probes_may_have_other_names_when_gone_on_with(tmp_path: Path) -> None:
    job = tiny()
    run(job, grid("7"), folder=tmp_path, control=StopAfter(4))
    assert run(job, grid("8"), folder=tmp_path, resume=True).notes == []


def test_nothing_to_go_on_from_is_said(tmp_path: Path) -> None:
    seen = run(tiny(), grid(), folder=tmp_path / "nowhere", resume=True)
    assert seen.notes == ["no checkpoint to go on from: training begins afresh"]
    assert len(seen.ended) == 4


def test_probes_that_are_not_wanted_any_more_end_before_the_first_step(tmp_path: Path) -> None:
    job = tiny()
    members: list[Member] = [*grid(), *grid("b")]
    before = run(job, members, folder=tmp_path, control=StopAfter(5))
    after = run(job, members, folder=tmp_path, resume=True, control=Control(drop={"a"}))
    for i in range(4):
        assert after.ended[i].outcome == "superseded"
        assert set(after.curves.get(i, {})) == set(before.curves.get(i, {}))
    assert {e.outcome for e in after.events if isinstance(e, Ended) and e.member > 3} == {"failure"}
