"""Batch order: epochs laid end to end, every entry once in each, nothing kept."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runners.tasks import BatchOrder, order


@given(
    seed=st.integers(0, 2**31 - 1),
    n=st.one_of(st.integers(1, 300), st.integers(4000, 4200)),
    batch=st.integers(1, 130),
    epochs=st.integers(1, 4),
)
def test_epochs_are_permutations_laid_end_to_end(seed: int, n: int, batch: int, epochs: int) -> None:
    found = BatchOrder(seed, n, batch)
    assert found.size == min(batch, n)
    steps = -(-epochs * n // found.size)
    entries = found.block(0, steps).reshape(-1)[: epochs * n].reshape(epochs, n)
    assert torch.equal(entries.sort(1).values, torch.arange(n).expand(epochs, n))
    if n > 20 and epochs > 1:
        assert not torch.equal(entries[0], entries[1])


@given(
    seed=st.integers(0, 99),
    n=st.integers(1, 6000),
    batch=st.integers(1, 70),
    step=st.integers(0, 2**40),
    count=st.integers(1, 9),
)
def test_a_batch_is_a_function_of_its_step(seed: int, n: int, batch: int, step: int, count: int) -> None:
    found = BatchOrder(seed, n, batch)
    block = found.block(step, count)
    assert block.shape == (count, found.size)
    for i in range(count):
        assert torch.equal(BatchOrder(seed, n, batch).indices(step + i), block[i])


def test_a_batch_straddles_two_epochs() -> None:
    found = BatchOrder(3, 10, 4)
    batches = found.block(0, 5).reshape(2, 10)
    assert torch.equal(found.indices(2), torch.cat([batches[0, 8:], batches[1, :2]]))


def test_large_sets_are_walked_back_into_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "EXACT_EPOCH", 1)
    for n in (2, 3, 5, 7, 17, 101, 257, 1009, 5003):
        found = BatchOrder(1, n, n)
        assert n <= found._a * found._b
        assert torch.equal(found.block(5, 2).sort(1).values, torch.arange(n).expand(2, n))


def test_sixteen_million() -> None:
    found = BatchOrder(10, 16_000_000, 64)
    block = found.block(249_000, 1000)
    assert len(block.unique()) == block.numel()
    assert block.min() >= 0
    assert block.max() < 16_000_000
