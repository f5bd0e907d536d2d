"""Batches made ahead against the training set and the order, read step by step."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from runners.tasks import BatchOrder, BatchStream, DataSource, ahead, data
from tests.tasks.helpers import job


@pytest.mark.parametrize("form", ["outcome", "cot", "acot"])
@pytest.mark.parametrize("window", [1, 7, 512])
@pytest.mark.parametrize("n", [1, 7, 40, 900])
def test_any_block_is_that_of_its_steps(
    form: Any, window: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "LONGEST", window)
    of = job(3, form)
    trained, order = DataSource(of, 10).training(n), BatchOrder(10, n, of.training.batch_size)
    stream = BatchStream(trained, order)
    for step, count in [(0, 1), (1, 3), (2, 2), (40, 9), (41, 8), (3, 1), (999_999, 2)]:
        tokens, targets = stream.block(step, count)
        assert tokens.dtype == targets.dtype == torch.int8
        assert tokens.shape == targets.shape == (count, min(16, n), of.longest_input)
        want = trained.batch(order.block(step, count))
        assert torch.equal(tokens.long(), want.tokens)
        assert torch.equal(targets.long(), want.targets)


def test_a_computed_set_streams_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    of = job(5, "cot", longest=9)
    streams = []
    for budget in (data.TABLE_BYTES, {"cpu": 0}):
        monkeypatch.setattr(data, "TABLE_BYTES", budget)
        streams.append(BatchStream(DataSource(of, 10).training(9_000), BatchOrder(10, 9_000, 16)))
    for a, b in zip(streams[0].block(77, 30), streams[1].block(77, 30), strict=True):
        assert torch.equal(a, b)


def test_data_and_order_must_belong_together() -> None:
    with pytest.raises(ValueError, match=r"the order is one of 8 sequences; expected 9"):
        BatchStream(DataSource(job(3), 1).training(9), BatchOrder(1, 8, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_batches_equal_those_of_the_cpu() -> None:
    of = job(3, "cot", longest=9)
    for n in (1, 40, 6_000):
        cpu, cuda = (
            BatchStream(DataSource(of, 10, where).training(n), BatchOrder(10, n, 16, where))
            for where in ("cpu", "cuda")
        )
        for a, b in zip(cpu.block(600, 40), cuda.block(600, 40), strict=True):
            assert torch.equal(a, b.cpu())
