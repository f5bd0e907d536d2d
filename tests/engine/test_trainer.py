from __future__ import annotations

import math
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from runners.engine import checkpoint, data, evaluate, fused_batch, schedule, trainer
from runners.engine.evaluate import Validation
from runners.engine.fused_batch import FusedBatch
from runners.engine.trainer import Trainer
from runners.engine.types import (
    Checkpointed,
    Control,
    EngineError,
    EngineEvent,
    Evaluated,
    Member,
    Note,
    Planned,
    Stopped,
    shape_key,
)
from runners.models import StackedModel
from runners.models.recurrent import Recurrent
from runners.spec import Grid, Job, Search
from runners.tasks import generalisation_batch
from runners.verdict import Outcome
from tests.engine.small_runs import FORMATS, MODELS, cpu, grid, in_pieces, run, tiny


def test_evaluates_every_interval_and_at_the_last_step_and_never_at_step_0() -> None:
    seen = run(tiny(steps=23, eval_every=5), grid())
    for i in range(4):
        assert list(seen.curves[i]) == [5, 10, 15, 20, 23]
        assert seen.ended[i].steps == 23
        assert seen.curves[i][23][2], "the last evaluation is exact"
        assert seen.ended[i].last_loss == seen.curves[i][23][1]
    assert isinstance(seen.events[0], Planned)


def test_the_budget_may_be_shorter_than_the_interval() -> None:
    seen = run(tiny(steps=3, eval_every=500), grid())
    assert [list(c) for c in seen.curves.values()] == [[3]] * 4


def test_the_best_loss_is_the_lowest_exact_one() -> None:
    seen = run(tiny(steps=60, validation_size=48, batch_size=4), grid())
    for i in range(4):
        exact = {loss: step for step, (_, loss, sure) in reversed(seen.curves[i].items()) if sure}
        assert seen.ended[i].best_loss == min(exact)
        assert seen.ended[i].best_step == exact[min(exact)]


def test_training_loss_is_the_mean_since_the_last_evaluation() -> None:
    fine = run(tiny(steps=6, eval_every=1), grid())
    coarse = run(tiny(steps=6, eval_every=3), grid())
    for i in range(4):
        losses = [fine.curves[i][s][0] for s in range(1, 7)]
        assert coarse.curves[i][3][0] == pytest.approx(sum(losses[:3]) / 3)
        assert coarse.curves[i][6][0] == pytest.approx(sum(losses[3:]) / 3)


def test_a_success_supersedes_its_probe_and_no_other() -> None:
    members = [*grid("a", eps=9.0, stop="probe"), *grid("b", eps=0.0, stop="probe")]
    seen = run(tiny(), members, plan=cpu(2))
    assert [seen.ended[i].outcome for i in range(4)] == ["success", "success", "superseded", "superseded"]
    assert [seen.ended[i].steps for i in range(4)] == [5, 5, 0, 0]
    assert {seen.ended[i].outcome for i in range(4, 8)} == {"failure"}


def test_the_stop_rule_changes_no_verdict() -> None:
    """``first_success`` against ``full_grid``: the same first success,
    and a superseded trial is a run that was cut short.
    """
    job = tiny(steps=60)
    untouched = run(job, grid(eps=0.0))
    best = sorted(untouched.ended[i].best_loss for i in range(4))
    for eps, winners in ((best[0] / 2, 0), (best[0] * 1.001, 1), (best[2] * 1.001, 3)):
        full, first = (run(job, grid(eps=eps, stop=stop)) for stop in ("never", "probe"))
        won = {i: full.ended[i].steps for i in range(4) if full.ended[i].outcome == "success"}
        assert len(won) == winners
        soonest = min(won.values(), default=0)
        assert {i for i in range(4) if first.ended[i].outcome == "success"} == {
            i for i, at in won.items() if at == soonest
        }
        for i in range(4):
            exact = {at: row for at, row in first.curves[i].items() if row[2]}
            assert exact.items() <= {at: row for at, row in untouched.curves[i].items() if row[2]}.items()
            if winners:
                assert first.ended[i].steps == soonest


def test_the_given_order_is_the_order_of_starting() -> None:
    seen = run(tiny(), grid(eps=9.0, stop="probe"), plan=cpu(1))
    assert [seen.ended[i].outcome for i in range(4)] == ["success", *["superseded"] * 3]


@pytest.mark.parametrize("model", MODELS)
def test_a_diverged_trial_ends_and_harms_no_other(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = tiny(model)
    members = grid()
    healthy = run(job, members)
    start = fused_batch.fresh

    def broken(*args: Any, **more: Any) -> fused_batch.Rows:
        rows = start(*args, **more)
        rows.params[1, 3] = torch.nan
        return rows

    monkeypatch.setattr(fused_batch, "fresh", broken)
    monkeypatch.setattr("runners.engine.schedule.fresh", broken)
    seen = run(job, members)
    assert seen.ended[1].outcome == "diverged"
    assert (seen.ended[1].steps, seen.ended[1].best_loss) == (5, math.inf)
    for i in (0, 2, 3):
        assert seen.of(i) == healthy.of(i)


def test_a_loss_that_is_not_finite_is_no_success_and_training_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = Recurrent.loss_sums

    def infinite(self: Recurrent, *args: Tensor) -> tuple[Tensor, Tensor]:
        sums, counts = honest(self, *args)
        return sums * math.inf, counts

    monkeypatch.setattr(Recurrent, "loss_sums", infinite)
    seen = run(tiny(), grid(eps=9.0))
    for i in range(4):
        assert seen.ended[i].outcome == "failure"
        assert seen.ended[i].steps == 23
        assert seen.ended[i].best_loss == math.inf


@pytest.mark.parametrize("asked", ["now", "due"])
def test_checkpoints_are_written_while_training(
    tmp_path: Path, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = Control(checkpoint_now=asked == "now")
    if asked == "due":
        monkeypatch.setattr(checkpoint, "MIN_INTERVAL_S", 0.0)
        monkeypatch.setattr(checkpoint, "INTERVAL_OVER_COST", 0.0)
    seen = run(tiny(), grid(), folder=tmp_path, control=control)
    written = [e for e in seen.events if isinstance(e, Checkpointed)]
    # How many are due depends on how fast the disk takes the one before.
    assert len(written) == 1 if asked == "now" else len(written) >= 1
    assert control.checkpoint_now is False
    assert len(seen.ended) == 4


def test_probes_are_dropped_while_training() -> None:
    control = Control()

    def each(event: EngineEvent) -> None:
        if isinstance(event, Evaluated) and event.step == 10:
            control.drop.add("a")

    seen = run(tiny(), [*grid("a"), *grid("b")], control=control, each=each)
    assert [seen.ended[i].outcome for i in range(8)] == ["superseded"] * 4 + ["failure"] * 4
    assert {seen.ended[i].steps for i in range(4)} == {10}


def test_all_probes_dropped_ends_the_run() -> None:
    seen = run(tiny(), grid(), control=Control(drop={"a"}))
    assert {e.outcome for e in seen.ended.values()} == {"superseded"}
    assert not any(isinstance(e, Stopped) for e in seen.events)


class TestOutOfMemory:
    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            torch.OutOfMemoryError("CUDA out of memory"),
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        ],
    )
    def test_halves_the_members_and_begins_again(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        job, members = tiny(), [*grid("a", eps=9.0, stop="probe"), *grid("b", n=3)]
        whole = run(job, members)
        self._limit(monkeypatch, 1, error, after=7)
        seen = run(job, members, plan=cpu(8))
        plans = [e.plan.members_at_once for e in seen.events if isinstance(e, Planned)]
        assert plans == [8, 4, 2, 1] or plans == [8, 2, 1]
        notes = [e for e in seen.events if isinstance(e, Note)]
        assert all("out of memory" in n.text and n.level == "warning" for n in notes)
        assert len(notes) == len(plans) - 1
        for i in range(4, 8):
            assert seen.of(i) == whole.of(i)

    def test_one_member_that_does_not_fit_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._limit(monkeypatch, 0, MemoryError())
        with pytest.raises(EngineError, match="dense_ssm 8 with 8 sequences of 4 positions does not fit"):
            run(tiny(), grid())

    def test_other_errors_come_through(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._limit(monkeypatch, 0, RuntimeError("a fault in a kernel"))
        with pytest.raises(RuntimeError, match="a fault in a kernel"):
            run(tiny(), grid())

    @staticmethod
    def _limit(monkeypatch: pytest.MonkeyPatch, fits: int, error: Exception, after: int = 0) -> None:
        honest = FusedBatch.one
        steps = 0

        def one(self: FusedBatch, tokens: Tensor, targets: Tensor) -> None:
            nonlocal steps
            steps += 1
            if len(self.slots) > fits and steps > after:
                raise error
            honest(self, tokens, targets)

        monkeypatch.setattr(FusedBatch, "one", one)


def test_memory_that_runs_out_in_the_test_at_twice_the_length_loses_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    honest = evaluate._decoded

    def few(job: Job, model: object, params: object, tokens: torch.Tensor, length: int) -> torch.Tensor:
        sizes.append(len(tokens))
        if len(tokens) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return honest(job, model, params, tokens, length)  # type: ignore[arg-type]

    members = grid(eps=9.0, generalisation=True)
    whole = run(tiny(), members)
    monkeypatch.setattr(evaluate, "_decoded", few)
    seen = run(tiny(), members)
    assert {i: e.generalisation for i, e in seen.ended.items()} == {
        i: e.generalisation for i, e in whole.ended.items()
    }
    assert sizes[:4] == [250, 62, 15, 15]

    def none(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(evaluate, "_decoded", none)
    seen = run(tiny(), members)
    assert {e.outcome for e in seen.ended.values()} == {Outcome.SUCCESS}
    assert len(seen.ended) == len(seen.notes) == 4
    assert {e.generalisation for e in seen.ended.values()} == {None}


def test_what_trained_is_free_while_its_checkpoint_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[FusedBatch]] = []
    alive: list[int] = []
    init, write = FusedBatch.__init__, checkpoint.write

    def counted(self: FusedBatch, *args: Any) -> None:
        init(self, *args)
        made.append(weakref.ref(self))

    def watched(*args: Any) -> Path:
        alive.append(sum(r() is not None for r in made))
        return write(*args)

    monkeypatch.setattr(FusedBatch, "__init__", counted)
    monkeypatch.setattr(checkpoint, "write", watched)
    control = Control()

    def each(event: EngineEvent) -> None:
        if isinstance(event, Evaluated) and event.step == 10:
            control.stop = "checkpoint"

    run(tiny(), grid(), control=control, each=each, folder=tmp_path)
    assert made
    assert alive == [0]


@pytest.mark.parametrize("model", MODELS)
def test_accuracy_at_twice_the_length_depends_on_the_spec_alone(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole budget, every evaluation exact, the parameters of the best one: in any packing, order and
    piece."""
    monkeypatch.setattr(evaluate, "generalisation_batch", partial(generalisation_batch, count=50))
    job, members = tiny(model, steps=20), grid(eps=9.0, stop="never", generalisation=True)
    others = grid("b", eps=9.0, stop="probe")
    tested: list[torch.Tensor] = []

    def test(job: Job, model: StackedModel, params: torch.Tensor, seed: int) -> float:
        tested.append(params.clone())
        return evaluate.rescaled_accuracy(job, model, params, seed)

    monkeypatch.setattr(trainer, "rescaled_accuracy", test)
    whole = run(job, members)
    for i, params in enumerate(tested):
        assert whole.ended[i].steps == 20
        assert whole.ended[i].outcome == Outcome.SUCCESS
        assert all(exact for _, _, exact in whole.curves[i].values())
        kept = Validation(*data.validation_stack(job, [members[i].seed], "cpu"), 24)
        loss = kept.full(schedule.new_model(job, "cpu"), params.unsqueeze(0), torch.zeros(1).long())
        assert float(loss) == whole.ended[i].best_loss, "these are the parameters of the best evaluation"
    for plan in (cpu(1), cpu(3)):
        packed = run(job, [*others, *members[::-1]], plan=plan)
        assert [packed.of(7 - i) for i in range(4)] == [whole.of(i) for i in range(4)]
    pieces = in_pieces(job, members, cpu(2), tmp_path, [4, 3, 2])
    assert [pieces.of(i) for i in range(4)] == [whole.of(i) for i in range(4)]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("model", ["lstm", "transformer"])
def test_generalisation_is_told_of_trials_that_were_not_superseded(
    model: str, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "generalisation_batch", partial(generalisation_batch, count=40))
    seen = run(
        tiny(model, format, (2, 3), steps=5), [*grid(generalisation=True), *grid("b", generalisation=False)]
    )
    for i in range(4):
        value = seen.ended[i].generalisation
        assert value is not None
        assert -0.5 <= value <= 1.0
    assert {seen.ended[i].generalisation for i in range(4, 8)} == {None}


@pytest.mark.parametrize("format", FORMATS)
def test_generalisation_of_a_model_that_knows_the_answer_is_1(format: str) -> None:
    job = tiny("dense_ssm", format)
    test = generalisation_batch(job, 1, "cpu")

    class Oracle:
        def logits(self, params: Tensor, tokens: Tensor) -> Tensor:
            states = torch.cumsum(tokens, -1) % 3
            return torch.nn.functional.one_hot(states, 3).float() - 0.5

        def generate(self, params: Tensor, prompt: Tensor, count: int, loader: Tensor) -> Tensor:
            assert loader.tolist() == [0, 1, 2]
            assert prompt.shape[-1] == count + 1
            return torch.cumsum(prompt[..., :count], -1) % 3

    assert evaluate.rescaled_accuracy(job, Oracle(), torch.zeros(1), 1) == 1.0  # type: ignore[arg-type]
    assert test.chance == pytest.approx(1 / 3)


def test_a_plan_is_made_where_none_is_given() -> None:
    events = list(Trainer(tiny(steps=5), grid(), device="cpu").run(Control()))
    assert isinstance(events[0], Planned)
    assert events[0].plan.members_at_once >= 1
    assert events[0].plan.threads == torch.get_num_threads()


def test_no_members_is_refused() -> None:
    with pytest.raises(ValueError, match="members is empty"):
        Trainer(tiny(), [], device="cpu")


def test_a_run_that_is_closed_in_the_middle_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    job, members = tiny(), grid()
    trainer = Trainer(job, members, device="cpu", plan=cpu(), checkpoint_dir=tmp_path)
    events = trainer.run(Control(checkpoint_now=True))
    for event in events:
        if isinstance(event, Evaluated):
            break
    events.close()  # type: ignore[attr-defined]
    whole = run(job, members)
    again = run(job, members, folder=tmp_path, resume=True)
    assert [again.of(i) for i in range(4)] == [whole.of(i) for i in range(4)]


def test_what_may_share_a_batch() -> None:
    job = tiny()
    same = job.model_copy(update={"grid": Grid(seeds=(1,)), "search": Search(eps=0.5, strategy="paper")})
    assert shape_key(same) == shape_key(job)
    others = [tiny("lstm"), tiny(format="cot"), tiny(lengths=(2, 5)), tiny(steps=24), tiny(batch_size=9)]
    assert len({shape_key(j) for j in [job, *others]}) == 6


def test_two_probes_of_one_seed_see_nested_data_and_their_own_batches() -> None:
    small, large = run(tiny(), [Member("a", 5, 1e-2, 1, 0.0)]), run(tiny(), [Member("a", 20, 1e-2, 1, 0.0)])
    both = run(tiny(), [Member("a", 5, 1e-2, 1, 0.0), Member("b", 20, 1e-2, 1, 0.0)])
    assert both.of(0) == small.of(0)
    assert both.of(1) == large.of(0)
    assert small.of(0) != large.of(0)


def test_the_threads_of_a_job_are_part_of_its_plan_and_of_no_other() -> None:
    before = torch.get_num_threads()
    job, one = tiny(steps=10, threads=2), tiny(steps=10)
    assert shape_key(job) != shape_key(one)
    for wanted, threads in ((job, 2), (one, before)):
        seen: list[EngineEvent] = []
        for event in Trainer(wanted, grid(), device="cpu").run(Control()):
            seen.append(event)
            if isinstance(event, Planned):
                assert torch.get_num_threads() == event.plan.threads == threads
        assert torch.get_num_threads() == before
        assert isinstance(seen[0], Planned)
