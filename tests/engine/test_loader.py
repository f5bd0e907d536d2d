from __future__ import annotations

import threading

import pytest
import torch

from runners.engine import data
from runners.engine import loader as loader
from runners.engine.data import DataCache
from runners.engine.loader import Loader
from runners.engine.trainer import Trainer
from runners.engine.types import Member
from runners.tasks import BatchOrder, DataSource
from tests.engine.small_runs import grid, tiny


@pytest.mark.parametrize("longest", [1, 3, 512])
def test_every_row_gets_the_batches_of_its_seed_n_and_step(
    longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "LONGEST", longest)
    job = tiny(steps=40)
    members = [*grid(n=20), Member("b", 9, 1e-2, 10, 0.0), Member("b", 9, 3e-3, 10, 0.0)]
    begin = [0, 0, 0, 0, 12, 0]
    one = Loader(job, members, begin, 8, "cpu")
    one.allocate()
    expected = [(DataSource(job, m.seed).training(m.n), BatchOrder(m.seed, m.n, 8)) for m in members]
    for step in range(20):
        if not one.left:
            one.refill()
        for e, (training, order) in enumerate(expected):
            batch = training.batch(order.indices(begin[e] + step))
            assert torch.equal(one.tokens[one.cursor, e], batch.tokens)
            assert torch.equal(one.targets[one.cursor, e], batch.targets)
        one.cursor += 1


def test_a_block_never_lies_beyond_the_budget() -> None:
    one = Loader(tiny(steps=10), grid(), [7] * 4, 8, "cpu")
    one.allocate()
    one.refill()
    assert one.left == 3


def test_sets_are_shared_nested_and_forgotten_when_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, job = DataCache(), tiny()
    large = cache.training(job, 1, 50, "cpu")
    small = cache.training(job, 1, 7, "cpu")
    assert small.source is large.source
    index = torch.arange(7)
    assert torch.equal(small.batch(index).tokens, large.batch(index).tokens)
    assert cache.training(tiny("lstm", steps=99), 1, 7, "cpu") is small, (
        "the model and the budget do not matter"
    )
    assert cache.training(tiny(format="cot"), 1, 7, "cpu").source is not large.source
    monkeypatch.setitem(data.CACHE_BYTES, "cpu", 1)
    cache.training(job, 2, 7, "cpu")
    assert cache.training(job, 1, 7, "cpu") is not small


def test_prepare_is_what_training_then_finds() -> None:
    data.CACHE.clear()
    job = tiny()
    thread = threading.Thread(target=Trainer.prepare, args=(job, grid(n=13), "cpu"))
    thread.start()
    thread.join()
    ready = data.CACHE.training(job, 10, 13, "cpu")
    assert ready.n == 13
    assert data.CACHE.training(job, 20, 13, "cpu").source.seed == 20


def test_many_threads_make_a_set_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(DataSource):
        def __init__(self, *args: object) -> None:
            made.append(1)
            super().__init__(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(data, "DataSource", Counted)
    cache, job, found = DataCache(), tiny(), []
    threads = [
        threading.Thread(target=lambda: found.append(cache.training(job, 5, 30, "cpu"))) for _ in range(8)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(made) == 1
    assert len({id(s) for s in found}) == 1
