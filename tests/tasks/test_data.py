"""Data sets: unique, disjoint, nested, complete, lengths as docs/science.md says;
against readings of one sequence at a time.
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any
from weakref import WeakValueDictionary

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.spec import LSTM, Dihedral, Distribution, Grid, Job, PermutationComposition, shares
from runners.tasks import DataSource, data, lengths
from tests.tasks.helpers import LAMP, job, lengths_one_by_one, training_rows, validation_rows

DISTRIBUTIONS: list[Distribution] = ["fixed", "uniform", "short_to_long"]


@st.composite
def jobs(draw: st.DrawFn, most: int = 20_000) -> Job:
    """Jobs whose whole training space can be looked at."""
    task: Any = draw(
        st.sampled_from([2, 3, 4, 5, 7, 10, 30, 100, Dihedral(n=3), PermutationComposition(k=3), LAMP])
    )
    k = task if isinstance(task, int) else task.n_tokens
    longest = 2
    while k ** (longest + 1) <= most:
        longest += 1
    top = draw(st.integers(2, longest))
    low = draw(st.integers(2, top))
    return job(
        task, "acot", draw(st.sampled_from(DISTRIBUTIONS)), top, low, validation=draw(st.integers(14, 3000))
    )


@settings(max_examples=60)
@given(of=jobs(), seed=st.integers(0, 2**31 - 1), part=st.floats(0, 1))
def test_unique_disjoint_nested_complete(of: Job, seed: int, part: float) -> None:
    space = of.training_space
    everything, held = training_rows(of, seed, space), validation_rows(of, seed)
    assert len(set(everything)) == space  # unique
    assert len(set(held)) == len(held)
    assert not set(everything) & set(held)  # disjoint
    k = of.task.n_tokens
    exists = Counter(len(x) for x in [*everything, *held])
    assert exists == {
        n: k**n for n in of.lengths.range
    }  # N = the training space uses every sequence that is not held out
    assert all(0 <= token < k for x in [*everything, *held] for token in x)
    n = 1 + int(part * (space - 1))
    assert training_rows(of, seed, n) == everything[:n]  # nested


@settings(max_examples=40)
@given(of=jobs(), seed=st.integers(0, 2**31 - 1))
def test_lengths_are_those_of_one_draw_after_another(of: Job, seed: int) -> None:
    n = min(of.training_space, 1500)
    got = [len(x) for x in training_rows(of, seed, n)]
    if of.lengths.distribution == "uniform" and len(of.shares) > 1:
        assert got == lengths_one_by_one(of, seed, n)
    else:
        every = [s.length for s in of.shares for _ in range(min(s.training, n))]
        assert got == every[:n]


@settings(max_examples=40)
@given(of=jobs())
def test_validation_takes_its_share_of_every_length(of: Job) -> None:
    count = len(of.lengths.range)
    wanted, rest = divmod(of.training.validation_size, count)
    due = {}
    for n in of.lengths.range:
        exist = (
            sum(1 for _ in product(range(of.task.n_tokens), repeat=n))
            if of.task.n_tokens**n < 3000
            else of.task.n_tokens**n
        )
        at_most = 1 if 2 <= exist <= 4 else int(exist * 0.2 + 1e-9)
        due[n] = min(wanted + (rest if n == of.lengths.length else 0), at_most)
    held = [len(x) for x in validation_rows(of, 3)]
    assert held == sorted(held)
    assert Counter(held) == due


def test_a_length_drops_out_with_its_last_sequence() -> None:
    of = job(2, distribution="uniform", longest=10)
    left = {s.length: s.training for s in of.shares}
    for x in training_rows(of, 10, of.training_space):
        left[len(x)] -= 1
    assert set(left.values()) == {0}
    # while nothing is exhausted, all lengths are drawn alike; afterwards the rest share its draws
    first = Counter(
        len(x) for x in training_rows(job(10, distribution="uniform", longest=5, validation=2000), 10, 12_000)
    )
    assert first[2] == 80  # 100 sequences exist, 20 are held out
    assert first[3] == 800
    assert abs(first[4] - first[5]) < 5 * (12_000 - 880) ** 0.5


def test_short_to_long_is_the_same_sequences_in_another_order() -> None:
    up, even = job(3, distribution="short_to_long"), job(3, distribution="uniform")
    assert validation_rows(up, 10) == validation_rows(even, 10)
    by_length: dict[int, list[Any]] = {}
    for x in training_rows(even, 10, even.training_space):
        by_length.setdefault(len(x), []).append(x)
    assert training_rows(up, 10, up.training_space) == [x for n in sorted(by_length) for x in by_length[n]]


@pytest.mark.parametrize("task", [2, 5, 100])
def test_a_length_has_the_same_stream_alone_and_in_a_mixture(task: int) -> None:
    mixed = job(task, distribution="uniform", longest=4, validation=60)
    alone = job(task, distribution="fixed", longest=4, validation=60)
    held = set(validation_rows(alone, 10))
    assert {x for x in validation_rows(mixed, 10) if len(x) == 4} <= held
    n = min(3000, mixed.training_space)
    in_mixture = [x for x in training_rows(mixed, 10, n) if len(x) == 4 and x not in held]
    by_itself = training_rows(alone, 10, min(3000, alone.training_space))
    assert by_itself[: len(in_mixture)] == in_mixture[: len(by_itself)]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_nothing_depends_on_format_model_learning_rate_or_batch(distribution: Distribution) -> None:
    one = job(3, "acot", distribution, longest=8)
    other = job(
        3, "cot", distribution, longest=8, batch=5, grid=Grid(learning_rates=(0.5,), seeds=(3,))
    ).model_copy(update={"model": LSTM(hidden=3)})
    assert training_rows(one, 10, 500) == training_rows(other, 10, 500)
    assert validation_rows(one, 10) == validation_rows(other, 10)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_seeds_differ(distribution: Distribution) -> None:
    of = job(10, "acot", distribution, longest=5, shortest=4)
    one, other = training_rows(of, 10, 500), training_rows(of, 20, 500)
    assert len(set(one) & set(other)) < 50
    assert len(set(validation_rows(of, 10)) & set(validation_rows(of, 20))) < 20


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_chunks_change_nothing(distribution: Distribution, monkeypatch: pytest.MonkeyPatch) -> None:
    of = job(3, "acot", distribution, longest=12)
    n = 3000
    want = DataSource(of, 10).training(n).sequences(torch.arange(n))
    monkeypatch.setattr(lengths.Uniform, "CHUNK", 37)
    monkeypatch.setattr(DataSource, "chunk", 101)
    source = DataSource(of, 10)
    source.training(700).sequences(torch.arange(700))  # a smaller set first: it is grown, not made again
    source.training(11)
    got = source.training(n).sequences(torch.arange(n))
    monkeypatch.setattr(data, "TABLE_BYTES", {"cpu": 0})
    pick = torch.randint(n, (400,), generator=torch.Generator().manual_seed(0))
    computed = DataSource(of, 10).training(n).sequences(pick)
    for a, b, c in zip(want, got, computed, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a[pick], c)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_astronomically_many(distribution: Distribution) -> None:
    of = job(100, "acot", distribution, longest=60, validation=2000, steps=1 << 30)
    n = 20_000
    xs, held = training_rows(of, 10, n), validation_rows(of, 10)
    assert len(set(xs)) == n
    assert not set(xs) & set(held)
    far = 10**9 if distribution != "uniform" else n
    tail = DataSource(of, 10).training(far).sequences(torch.arange(far - 5, far))[0]
    assert tail.shape == (5, 60)


def test_the_smallest_space() -> None:
    of = job(2, distribution="fixed", longest=2, validation=2000)
    assert of.training_space == 3
    assert len(validation_rows(of, 10)) == 1
    assert sorted(training_rows(of, 10, 3) + validation_rows(of, 10)) == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("n", [0, -1, 14])
def test_a_set_that_does_not_exist_is_refused(n: int) -> None:
    of = job(4, distribution="fixed", longest=2)
    assert of.training_space == 13
    DataSource(of, 1).training(13)
    with pytest.raises(ValueError, match=rf"n is {n}; expected 1 to 13"):
        DataSource(of, 1).training(n)


@given(k=st.integers(1, 50), low=st.integers(1, 6), count=st.integers(1, 12), size=st.integers(1, 5000))
def test_shares_are_exact_integers(k: int, low: int, count: int, size: int) -> None:
    span = range(low, low + count)
    if size < count or k == 1:
        with pytest.raises(ValueError, match=r"expected at least"):
            shares(k, span, size)
        return
    if k**low < 2:
        return
    found = shares(k, span, size)
    assert [s.length for s in found] == list(span)
    assert sum(s.validation for s in found) <= size
    for s in found:
        assert s.total == k**s.length
        assert s.validation >= 1
        assert s.validation * 5 <= s.total or (s.total <= 4 and s.validation == 1)
        assert s.training + s.validation == s.total


def test_a_stream_of_a_gpu_is_whole_before_anybody_else_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made on one of a GPU's streams and read on another: waited for once, and its memory stays as long as a
    source reads it."""
    done: list[str] = []

    class Made:
        def __init__(self, *key: object) -> None:
            done.append("made")

    class Current:
        def synchronize(self) -> None:
            done.append("waited")

    monkeypatch.setattr(data, "LengthStream", Made)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Current())
    monkeypatch.setattr(data, "_streams", WeakValueDictionary())
    card = torch.device("cuda:0")
    first = data._length_stream(3, 5, 7, 10, card)
    assert data._length_stream(3, 5, 7, 10, card) is first
    assert done == ["made", "waited"]
    others = [data._length_stream(3, 5, 7, seed, card) for seed in range(11, 400)]
    assert data._length_stream(3, 5, 7, 10, card) is first, "many others take no place from it"
    assert len(others) == 389
    del first
    assert (3, 5, 7, 10, card) not in data._streams


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_cuda_gives_the_same_integers(distribution: Distribution) -> None:
    for task, longest in ((3, 12), (100, 60)):
        of = job(task, "cot", distribution, longest=longest, validation=200, steps=1 << 20)
        n = 5000
        index = torch.arange(n)
        for a, b in zip(
            DataSource(of, 10).validation(), DataSource(of, 10, "cuda").validation(), strict=True
        ):
            assert torch.equal(a, b.cpu())
        cpu, cuda = DataSource(of, 10).training(n), DataSource(of, 10, "cuda").training(n)
        for a, b in zip(cpu.batch(index), cuda.batch(index.cuda()), strict=True):
            assert torch.equal(a, b.cpu())
