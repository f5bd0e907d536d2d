"""A stop is heard wherever the work looks up and costs that piece of work alone;
and the work looks up often enough.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from runners import interrupt
from runners.engine import calibrate, data, evaluate
from runners.engine.evaluate import rescaled_accuracy
from runners.engine.fused_batch import FusedBatch, fresh
from runners.engine.schedule import Schedule
from runners.engine.trainer import Trainer
from runners.engine.trials import Trials
from runners.engine.types import Control, Member, Plan, Stopped
from runners.interrupt import Interrupted, Listener, check_interrupt
from runners.kernels import library
from runners.models.matmul import Matmul
from runners.spec import Job
from runners.tasks import generalisation_batch
from runners.tasks.data import DataSource
from tests.engine.small_runs import FORMATS, MODELS, Seen, StopAfter, cpu, grid, in_pieces, run, stopped, tiny

MOST_FLOP = 2.5e10
"""Between two looks at most this much arithmetic of matrix products: less than half a second of one core."""
MOST_SEQUENCES = 1 << 17
"""... or this much data."""
LARGE: dict[str, dict[str, Any]] = {
    "lstm 768": {"kind": "lstm", "hidden": 768},
    "transformer 6x256": {"kind": "transformer", "layers": 6, "d": 256, "heads": 8, "dropout": 0.1},
    "dense_ssm 256": {"kind": "dense_ssm", "hidden": 256},
}


class Arithmetic(TorchDispatchMode):
    """Multiply-adds of matrix products, times two, since the last look."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.now = self.most = 0

    def look(self) -> bool:
        self.most, self.now = max(self.most, self.now), 0
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.overloadpacket.__name__ in ("mm", "bmm", "addmm", "baddbmm", "addmm_", "baddbmm_"):
            a, b = [x for x in args if isinstance(x, Tensor) and x.dim() > 1][-2:]
            self.now += 2 * a.numel() * b.shape[-1]
        return func(*args, **(kwargs or {}))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "EVERY_S", 0.0)


def large(name: str, T: int, format: str = "acot") -> Job:
    length = T if format == "acot" else T // 2
    return Job.model_validate(
        {
            "task": {"kind": "modular_addition", "m": 5},
            "format": format,
            "lengths": {"distribution": "uniform", "length": length},
            "model": LARGE[name],
            "training": {"steps": 1000, "validation_size": 256},
        }
    )


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", LARGE)
def test_between_two_looks_there_is_little_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step, a part of an evaluation, and the test at twice the length,
    of the paper's sizes with batch 64 and T = 60.
    """
    monkeypatch.setattr(
        Matmul, "_by_numpy", lambda *_: False
    )  # the same products by torch, where they can be counted
    # A kernel is one member's step at most, here 2e9.
    monkeypatch.setattr(library, "kernel", lambda family: None)
    job = large(name, 60)
    member = Member("a", 100, 1e-3, 1, 0.0)
    shape = Schedule(job, "cpu", cpu(1), Trials([member], 1000)).shape()
    fused = FusedBatch(shape, fresh(shape, (0,), [member]), [member], 64)
    counted = Arithmetic()
    for work in (lambda: fused.advance(1), fused.full):
        with Listener(counted.look), counted:
            work()
        counted.look()
        assert 0 < counted.most < MOST_FLOP, f"{counted.most:.1e}"


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("format", ["acot", "cot"])
@pytest.mark.parametrize("model", MODELS)
def test_the_test_at_twice_the_length_looks_up_at_every_position_or_layer(
    model: str, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "generalisation_batch", partial(generalisation_batch, count=40))
    job = tiny(model, format)
    shape = Schedule(job, "cpu", cpu(1), Trials(grid(), 10)).shape()
    looks: list[bool] = []

    def look() -> bool:
        looks.append(True)
        return False

    with Listener(look):
        rescaled_accuracy(job, shape.model, shape.model.init(1), 1)
    assert len(looks) >= (2 * job.lengths.length if format == "cot" else 1)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("distribution", ["fixed", "uniform"])
def test_data_of_millions_of_sequences_looks_up_and_may_be_left(distribution: str) -> None:
    lengths = {"distribution": distribution, "length": 14}
    content = {
        "task": {"kind": "modular_addition", "m": 3},
        "format": "outcome",
        "model": {"kind": "lstm", "hidden": 8},
    }
    job = Job.model_validate({**content, "lengths": lengths})
    n = 400_000
    whole = data.DataCache().training(job, 1, n, "cpu").batch(torch.arange(n))
    looks = 0

    def asked(at: int) -> Callable[[], bool]:
        def ask() -> bool:
            nonlocal looks
            looks += 1
            return looks == at

        return ask

    with Listener(asked(0)):
        data.DataCache().training(job, 1, n, "cpu")
    assert n / looks < MOST_SEQUENCES
    cache, most = data.DataCache(), looks
    for at in (1, most // 2, most):
        looks = 0
        with pytest.raises(Interrupted), Listener(asked(at)):
            cache.training(job, 1, n, "cpu")
    again = cache.training(job, 1, n, "cpu").batch(torch.arange(n))
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))


@pytest.mark.usefixtures("always")
def test_who_waits_for_data_that_another_thread_makes_looks_up(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, job = data.DataCache(), tiny()
    made, go = threading.Event(), threading.Event()
    honest = DataSource.training

    def slow(self: DataSource, n: int) -> Any:
        made.set()
        go.wait()
        return honest(self, n)

    monkeypatch.setattr(DataSource, "training", slow)
    hint = threading.Thread(target=cache.training, args=(job, 1, 9, "cpu"))
    hint.start()
    made.wait()
    with pytest.raises(Interrupted), Listener(lambda: True):
        cache.training(job, 1, 9, "cpu")
    go.set()
    hint.join()
    assert cache.training(job, 1, 9, "cpu").n == 9


@pytest.mark.usefixtures("always")
def test_a_calibration_is_left_at_once_and_found_nothing_out(tmp_path: Path) -> None:
    job = tiny("lstm", steps=100_000)
    for at in (1, 20, 400):
        calibrate._TIMED.clear()
        control = StopAfter(at)
        events = list(Trainer(job, grid(), device="cpu", checkpoint_dir=tmp_path).run(control))
        assert events == [Stopped(None)]
        assert control.looks >= -3, "it was heard at the next look"
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices=st.data())
def test_stopped_in_the_middle_of_anything_it_ends_the_same(
    model: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    choices: st.DataObject,
) -> None:
    monkeypatch.setattr(evaluate, "generalisation_batch", partial(generalisation_batch, count=30))
    folder = tmp_path_factory.mktemp("run")
    job = tiny(model, choices.draw(st.sampled_from(FORMATS)), (2, 3), steps=9, eval_every=4)
    members = [*grid(generalisation=True), *grid("b", n=6, eps=0.9, stop="probe", generalisation=True)]
    plan = cpu(choices.draw(st.integers(1, 8)))
    looks = choices.draw(st.lists(st.integers(0, 300), min_size=1, max_size=7))
    whole = run(job, members, plan=plan)
    data.CACHE.clear()
    seen = in_pieces(job, members, plan, folder, looks)
    for i in range(len(members)):
        assert seen.of(i) == whole.of(i)


def test_a_stop_before_the_checkpoint_was_put_back_leaves_it_as_it_was(tmp_path: Path, always: None) -> None:
    job, members = tiny(steps=40), grid()
    whole = run(job, members)
    first = run(job, members, folder=tmp_path, control=StopAfter(20))
    assert stopped(first)
    files = sorted(tmp_path.iterdir())
    data.CACHE.clear()
    again = run(job, members, folder=tmp_path, resume=True, control=StopAfter(0))
    assert again.events[-1] == Stopped(str(files[-1]))
    assert sorted(tmp_path.iterdir()) == files
    last = run(job, members, folder=tmp_path, resume=True)
    assert [last.of(i) for i in range(4)] == [whole.of(i) for i in range(4)]


def test_without_a_listener_nothing_is_asked_and_within_a_deaf_one_nothing_is_heard() -> None:
    check_interrupt()
    with Listener(lambda: True), Listener(None):
        check_interrupt()
    with pytest.raises(Interrupted), Listener(lambda: True):
        check_interrupt()
    thread = threading.Thread(target=check_interrupt)
    with Listener(lambda: True):
        thread.start()
    thread.join()


def test_many_looks_ask_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(interrupt, "monotonic", lambda: now)
    asked: list[float] = []

    def ask() -> bool:
        asked.append(now)
        return False

    with Listener(ask):
        for k in range(100):
            now = k * interrupt.EVERY_S / 10
            check_interrupt()
    assert len(asked) in (10, 11)


class StopWithin(Control):
    """Asks for a checkpoint and a stop at the k-th look that is taken within a method of the fused batch."""

    def __init__(self, within: str, k: int, methods: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.within, self.k = within, k
        self.looks = dict.fromkeys(methods, 0)
        self._now = ""
        for method in methods:
            monkeypatch.setattr(FusedBatch, method, self._noting(getattr(FusedBatch, method), method))
        super().__init__()

    def __getattribute__(self, name: str):  # type: ignore[no-untyped-def]
        if name != "stop":
            return super().__getattribute__(name)
        if self._now:
            self.looks[self._now] += 1
        return "checkpoint" if 0 < self.k <= self.looks[self.within] else ""

    def _noting(self, method: Callable[..., Any], name: str) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            self._now = name
            try:
                return method(*args)
            finally:
                self._now = ""

        return noted


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_a_large_model_stopped_in_a_step_and_in_an_evaluation_ends_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, always: None
) -> None:
    monkeypatch.setattr(library, "kernel", lambda family: None)  # which is not left in its middle
    job = large(name, 20)
    job = job.model_copy(update={"training": job.training.model_copy(update={"steps": 3, "eval_every": 2})})
    members = [Member("a", 500, 1e-3, seed, 0.0, stop="never") for seed in (1, 2)]
    plan, step, evaluation = Plan("cpu", 1), "one", "evaluate"

    def stopping(method: str, k: int, **more: Any) -> tuple[Seen, StopWithin]:
        with monkeypatch.context() as patch:
            control = StopWithin(method, k, (step, evaluation), patch)
            return run(job, members, plan=plan, control=control, **more), control

    whole, counted = stopping(step, 0)
    seen = Seen()
    # The first look, one in the middle and the last one of a step, and of an evaluation.
    for method, times in ((step, 6), (evaluation, 4)):
        each = counted.looks[method] // times
        assert each or (name, method) == ("dense_ssm 256", step)  # so short that nothing looks up in it
        for k in sorted({1, each // 2 + 1, each} if each else ()):
            _, control = stopping(method, k, folder=tmp_path, resume=any(tmp_path.iterdir()), seen=seen)
            assert stopped(seen)
            assert control.looks[method] >= k
    run(job, members, folder=tmp_path, resume=True, seen=seen)
    for i in range(len(members)):
        assert seen.of(i) == whole.of(i)
