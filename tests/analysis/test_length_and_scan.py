"""Rank correlation with length generalisation, and the measured success curve."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtui.analysis.kappa import Kappa, kappa
from labtui.analysis.length import rank_correlation
from labtui.analysis.scan import share_interval, success_curve
from store.rows import ProbeRow
from tests.analysis.conftest import cell, nstar


def with_generalisation(i: int, value: int, accuracy: float | None) -> Kappa:
    return kappa(cell(nstar(None, 99, 100, generalisation=accuracy), [nstar(2, value - 1, value)], id=i))


def by_hand(xs: list[int], ys: list[float]) -> float:
    """Spearman without ties: 1 - 6 sum d^2 / (n (n^2 - 1))."""
    n = len(xs)
    d = [sorted(xs).index(x) - sorted(ys).index(y) for x, y in zip(xs, ys, strict=True)]
    return 1 - 6 * sum(v * v for v in d) / (n * (n * n - 1))


@given(st.permutations(range(1, 10)), st.permutations(range(9)), st.integers(3, 9))
def test_rank_correlation_by_hand(xs: list[int], ys: list[int], n: int) -> None:
    values, accuracies = [x**3 for x in xs[:n]], [math.tanh(y / 5) for y in ys[:n]]
    found = rank_correlation(
        with_generalisation(i, x, y) for i, (x, y) in enumerate(zip(values, accuracies, strict=True))
    )
    assert found.n == n
    assert found.rho == pytest.approx(by_hand(values, accuracies))


def test_what_has_no_rank_does_not_count() -> None:
    bounded = kappa(cell(nstar(None, 99, None, n_max=99, generalisation=0.5), [nstar(2, 1, 2)]))
    several = [with_generalisation(i, 10 * i + 10, 0.1 * i) for i in range(3)]
    found = rank_correlation([bounded, with_generalisation(9, 50, None), *several])
    assert found.n == 3
    assert found.rho == pytest.approx(1.0)
    assert found.text().startswith("rank correlation 1.00 (n = 3")
    few = rank_correlation(several[:2])
    assert few.rho is None
    assert (
        few.text()
        == "no rank correlation: 2 cells have both a kappa and an accuracy at 2L; expected at least 3"
    )
    flat = rank_correlation([with_generalisation(i, 10 * i + 10, 1.0) for i in range(4)])
    assert flat.reason == "the accuracy at 2L is the same in all 4 cells"
    assert json.dumps(flat.to_dict(), allow_nan=False)


def probe(n: int, seeds: int, successes: int, **other: Any) -> ProbeRow:
    fields: dict[str, Any] = {
        "id": n, "job_id": 1, "ordinal": 0, "state": "done", "verdict": successes > 0, "speculative": False,
        "attempt": 1, "device": None, "slot": None, "started_at": 0.0, "ended_at": 1.0, "wall_s": 1.0,
        "member_steps": 0, "trials": seeds, "trials_ended": seeds, "step": 0, "best_loss": None, "plan": "",
    }  # fmt: skip
    return ProbeRow(n=n, seeds=seeds, successes=successes, **(fields | other))


def test_a_known_curve_comes_back() -> None:
    rng = random.Random(0)

    def q(n: float) -> float:
        return 0.02 + 0.93 / (1 + (400 / n) ** 4)

    ladder = [int(25 * 1.3**i) for i in range(20)]
    curve = success_curve(probe(n, 60, sum(rng.random() < q(n) for _ in range(60))) for n in reversed(ladder))
    assert [p.n for p in curve.points] == ladder
    assert curve.fit is not None
    assert curve.fit.centre == pytest.approx(400, rel=0.1)
    assert curve.fit.slope == pytest.approx(4, rel=0.35)
    assert max(abs(curve.fit(n) - q(n)) for n in ladder) < 0.08
    inside = sum(p.low <= q(p.n) <= p.high for p in curve.points)
    assert inside >= 15


def test_failures_at_the_top_stay_out_of_the_fit() -> None:
    counts = [(10, 0), (20, 0), (40, 2), (80, 5), (160, 5), (320, 0), (640, 0)]
    curve = success_curve(probe(n, 5, s) for n, s in counts)
    assert [p.in_fit for p in curve.points] == [True] * 5 + [False] * 2
    assert curve.fit is not None
    assert 30 < curve.fit.centre < 60


def test_counts_of_one_n_add_up_and_speculation_is_no_evidence() -> None:
    curve = success_curve(
        [probe(10, 5, 2), probe(10, 3, 3), probe(10, 9, 9, speculative=True), probe(7, 4, 0, verdict=None)]
    )
    (p,) = curve.points
    assert (p.seeds, p.successes, p.share) == (8, 5, 5 / 8)


def test_no_curve_says_why() -> None:
    assert success_curve([]).reason == "no probe with fresh seeds is done yet"
    assert success_curve([probe(10, 5, 0), probe(20, 5, 0)]).reason == "no seed succeeded at any of 2 N"
    assert "every seed succeeded" in success_curve([probe(10, 5, 5), probe(20, 5, 5)]).reason
    assert "expected at least 3" in success_curve([probe(10, 5, 0), probe(20, 5, 5)]).reason
    assert json.dumps(success_curve([probe(10, 5, 0), probe(20, 5, 5)]).to_dict(), allow_nan=False)


@given(st.integers(1, 200).flatmap(lambda k: st.tuples(st.integers(0, k), st.just(k))))
def test_share_intervals_hold_the_share(counts: tuple[int, int]) -> None:
    s, k = counts
    low, high = share_interval(s, k)
    assert 0 <= low <= s / k <= high <= 1
    assert math.isfinite(low + high)
