"""What one transaction takes on follows what lately fitted into its time."""

from __future__ import annotations

import pytest

from runners.pool.portion import LEAST, MOST, TRANSACTION_S, Portion


def settled(each_s: float, *, first: int = 30, waiting: int = 10_000) -> int:
    """The size after many transactions of things that take so long each."""
    portion = Portion(first)
    for _ in range(100):
        done = min(portion.size, waiting)
        portion.took(done, done * each_s)
    return portion.size


@pytest.mark.parametrize("each_s", [0.0005, 0.002, 0.005])
def test_it_fills_the_time_and_no_more(each_s: float) -> None:
    assert TRANSACTION_S / 4 <= settled(each_s) * each_s <= TRANSACTION_S * 1.3
    assert settled(each_s, first=MOST) * each_s <= TRANSACTION_S * 1.3


def test_on_a_machine_that_does_nothing_in_time_some_is_done_all_the_same() -> None:
    assert settled(10.0) == LEAST


def test_it_does_not_grow_without_need_or_without_end() -> None:
    assert settled(0.0001, waiting=5) == 30
    assert settled(0.0) == MOST
