"""Random streams against a reading of splitmix64 in plain integers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from runners import streams

SIGNED = st.integers(-(2**63), 2**63 - 1)


def plain_bits(key: int, counter: int) -> int:
    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    z = mix((counter * 0x9E3779B97F4A7C15 + key) % 2**64)
    z = mix((z + key) % 2**64)
    return z - 2**64 if z >= 2**63 else z


@given(key=SIGNED, counters=st.lists(SIGNED, min_size=1, max_size=8))
def test_bits_are_splitmix64_applied_twice(key: int, counters: list[int]) -> None:
    given_counters = torch.tensor(counters)
    got = streams.bits(key, given_counters)
    assert got.tolist() == [plain_bits(key, c) for c in counters]
    assert given_counters.tolist() == counters
    assert streams.bits(torch.tensor([key]), given_counters).tolist() == got.tolist()


@given(key=SIGNED, counter=SIGNED, bound=st.integers(1, 2**31))
def test_below_is_below(key: int, counter: int, bound: int) -> None:
    got = int(streams.below(key, torch.tensor([counter]), bound))
    high = (plain_bits(key, counter) >> 11) % 2**53
    assert 0 <= got < bound
    assert abs(got - high * bound // 2**53) <= (1 if high * bound % 2**53 > 2**53 - 2**33 else 0)
    assert int(streams.below(key, torch.tensor([counter]), torch.tensor([bound]))) == got


def test_the_ends_are_never_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    for high in (0, -1):
        monkeypatch.setattr(streams, "bits", lambda key, counter, high=high: torch.full_like(counter, high))
        assert 0 < float(streams.uniform(0, torch.tensor([0]))) < 1
        assert torch.isfinite(streams.normal(0, torch.arange(1))).all()
        for bound in (1, 2, 3, 2**30 + 1, 2**31 - 1, 2**31):
            assert int(streams.below(0, torch.tensor([0]), bound)) == (0 if high == 0 else bound - 1)


def test_streams_of_a_seed_and_seeds_of_a_stream_differ() -> None:
    keys = {streams.key(seed, s, part) for seed in range(50) for s in streams.Stream for part in range(50)}
    assert len(keys) == 50 * 5 * 50
    assert streams.key(10, streams.Stream.DATA) != streams.key(10, streams.Stream.DATA, 0)


def test_numbers_are_even_and_normal() -> None:
    key, counter = streams.key(10, streams.Stream.PARAMETERS), torch.arange(100_000)
    assert stats.kstest(streams.uniform(key, counter).numpy(), "uniform").pvalue > 1e-4
    assert stats.kstest(streams.normal(key, torch.arange(100_000)).numpy(), "norm").pvalue > 1e-4
    bit = (streams.bits(key, counter)[:, None] >> torch.arange(64)) & 1
    assert (bit.double().mean(0) - 0.5).abs().max() < 5 * 0.5 / 100_000**0.5
    assert torch.corrcoef((bit[:-1] ^ bit[1:]).double().T).fill_diagonal_(0).abs().max() < 0.02
