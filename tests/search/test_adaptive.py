"""``adaptive``: its posterior against plain arithmetic, its seeds, its ends, its replay,
and its intervals on real replays.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.search import Evidence, Progress, replay, speculate
from runners.search.design import PROBE_COST, SUCCESS_COST, gain_per_cost
from runners.search.family import Family, q_star
from runners.search.posterior import posterior
from runners.search.seeds import fresh
from runners.spec import Job
from tests.search.conftest import make_job

Curve = Callable[[float], float]


def logistic(n_star: float, scale: float, k: int = 5, guess: float = 0.0, lapse: float = 0.0) -> Curve:
    """q(N) with q(n_star) = 1 - 2^(-1/k)."""
    top = (1 - 2 ** (-1 / k) - guess) / (1 - guess - lapse)
    u = math.log(top / (1 - top))
    return lambda n: guess + (1 - guess - lapse) / (1 + math.exp(min(-math.log(n / n_star) / scale - u, 700)))


def measure(job: Job, q: Curve, rng: random.Random) -> tuple[list[Evidence], Progress]:
    """The whole search against seeds that succeed with probability q(N)."""
    evidence: list[Evidence] = []
    while True:
        p = replay(job, evidence)
        if p.next is None:
            return evidence, p
        assert p.next.seeds is not None
        count = len(p.next.seeds)
        successes = sum(rng.random() < q(p.next.n) for _ in range(count))
        evidence.append(Evidence(p.next.n, successes > 0, count, successes))


def test_n_star_of_a_grid_is_where_it_succeeds_half_of_the_time() -> None:
    assert q_star(5) == pytest.approx(0.129, abs=5e-4)
    for k in (1, 2, 5, 1024):
        assert 1 - (1 - q_star(k)) ** k == pytest.approx(0.5)


@pytest.mark.parametrize("k", [1, 2, 5, 64, 1024])
def test_the_location_is_n_star_and_the_shift_leads_to_n50(k: int) -> None:
    family = Family(k)
    t = np.array([math.log(300.0)])
    at = family.q(t, t)[0, 0]
    assert at == pytest.approx(np.full_like(at, q_star(k)), rel=1e-6)
    for i, shift in enumerate(family.n50_shift):
        assert family.q(t + shift, t)[0, 0, i] == pytest.approx(0.5)
    steps = family.q(np.linspace(0, 12, 50), t)[:, 0]
    assert np.all(np.diff(steps, axis=0) >= 0)
    assert np.exp(family.log_prior).sum() == pytest.approx(1.0)


def test_the_posterior_is_bayes_rule_on_the_grid() -> None:
    """Against loops over binomial probabilities, scale by scale."""
    family = Family(5)
    counts = {40: (5, 0), 90: (4, 1), 160: (3, 2), 1000: (5, 5)}
    post = posterior(family, counts, 1000)
    some = range(0, len(post.t), 20)
    expected = []
    for i in some:
        q = family.q(np.log([float(n) for n in counts]), post.t[i : i + 1])[:, 0]
        for j, log_w in enumerate(family.log_prior):
            w = math.exp(log_w)
            for x, (seeds, successes) in enumerate(counts.values()):
                w *= float(q[x, j]) ** successes * (1 - float(q[x, j])) ** (seeds - successes)
            expected.append(w)
    found = post.weights[some].ravel()
    assert found / found.sum() == pytest.approx(np.array(expected) / sum(expected), abs=1e-9)
    assert post.weights.sum() == pytest.approx(1.0)
    low, middle, high = post.quantiles(0.05, 0.5, 0.95)
    below = np.cumsum(post.marginal)
    step = post.t[1] - post.t[0]
    for limit, level in ((low, 0.05), (middle, 0.5), (high, 0.95)):
        assert (
            below[np.searchsorted(post.t + step / 2, limit) - 1]
            <= level
            <= below[np.searchsorted(post.t - step / 2, limit) - 1]
        )
    estimate = post.n_star()
    assert estimate.low < estimate.value < estimate.high
    assert post.n50().value > estimate.value


def test_the_gain_is_the_expected_fall_of_the_deviation() -> None:
    """Against enumeration of every outcome of m seeds."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 3, 7)
    weights = rng.random((2, 7, 3))
    weights /= weights.sum(axis=(1, 2), keepdims=True)
    q = rng.uniform(0.05, 0.95, (4, 7, 3))
    found = gain_per_cost(weights, t, q, (1, 3))

    def deviation(w: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
        p = w.sum(axis=1) / w.sum()
        return float(math.sqrt(p @ (t - p @ t) ** 2))

    for b in range(2):
        for x in range(4):
            for i, m in enumerate((1, 3)):
                after, mean_q = 0.0, float((weights[b] * q[x]).sum())
                for s in range(m + 1):
                    w = weights[b] * math.comb(m, s) * q[x] ** s * (1 - q[x]) ** (m - s)
                    after += float(w.sum()) * deviation(w)
                cost = PROBE_COST + m * (1 - mean_q * (1 - SUCCESS_COST))
                assert found[b, x, i] == pytest.approx((deviation(weights[b]) - after) / cost, abs=1e-9)


def test_seeds_are_fresh_valid_and_the_same_again() -> None:
    job = make_job("adaptive", 1000)
    many = fresh(job, 0, 20_000)
    assert many[0] == 10
    assert len(set(many)) == len(many)
    assert all(0 <= s < 2**31 for s in many)
    assert fresh(job, 7, 3) == many[7:10]
    other = job.model_copy(update={"grid": job.grid.model_copy(update={"seeds": (20, 30)})})
    assert not set(many) & set(fresh(other, 0, 20_000)), "a second study with another first seed shares none"


def test_replay_after_every_step_and_seeds_at_one_n_only() -> None:
    job = make_job("adaptive", 100_000, seed_budget=80)
    evidence, end = measure(job, logistic(700, 0.3, lapse=0.05), random.Random(3))
    used: list[int] = []
    for i, e in enumerate(evidence):
        p = replay(job, evidence[:i])
        assert p.status == "open"
        assert p.next is not None
        assert p.next.seeds is not None
        assert (p.next.n, len(p.next.seeds)) == (e.n, e.seeds)
        used += p.next.seeds
    assert len(set(used)) == len(used) <= 80
    assert end.status == "bracket"
    assert end.estimate is not None
    assert end.estimate.relative_width <= 0.5 or "seed_budget" in end.flags
    assert end.hi == min(e.n for e in evidence if e.success)
    assert end.n50 is not None
    assert end.n50.value > end.estimate.value


def test_narrower_costs_more() -> None:
    q = logistic(700, 0.3)
    wide, _ = measure(make_job("adaptive", 100_000, relative_width=1.0), q, random.Random(5))
    narrow, end = measure(
        make_job("adaptive", 100_000, relative_width=0.3, seed_budget=1000), q, random.Random(5)
    )
    assert sum(e.seeds for e in wide) < sum(e.seeds for e in narrow)
    assert end.estimate is not None
    assert end.estimate.relative_width <= 0.3


def test_budget_and_candidates_are_kept_and_flagged() -> None:
    q = logistic(700, 1.2)
    evidence, end = measure(
        make_job("adaptive", 100_000, relative_width=0.01, seed_budget=23), q, random.Random(1)
    )
    assert sum(e.seeds for e in evidence) == 23
    assert "seed_budget" in end.flags
    evidence, end = measure(
        make_job("adaptive", 100_000, relative_width=0.01, max_candidates=4), q, random.Random(1)
    )
    assert len(evidence) == 4
    assert "max_candidates" in end.flags


def test_censored_after_the_walk_down() -> None:
    evidence, end = measure(make_job("adaptive", 1000), lambda n: 0.0, random.Random(0))
    assert [e.n for e in evidence] == [1000, 500, 250, 125]
    assert (end.status, end.lo, end.hi, end.estimate) == ("censored", 1000, None, None)
    evidence, end = measure(make_job("adaptive", 1000, seed_budget=7), lambda n: 0.0, random.Random(0))
    assert [e.seeds for e in evidence] == [5, 2]
    assert (end.status, end.flags) == ("censored", ("seed_budget",))


def test_fails_above_is_left_out_of_the_fit() -> None:
    rise = logistic(40, 0.15)
    evidence, end = measure(
        make_job("adaptive", 4000), lambda n: rise(n) if n < 700 else 0.0, random.Random(2)
    )
    assert [e.n for e in evidence[:4]] == [4000, 2000, 1000, 500]
    assert max(e.n for e in evidence[4:]) <= 500
    assert "fails_above" in end.flags
    assert end.estimate is not None
    assert end.estimate.low < 45
    assert end.estimate.high > 35


def test_one_sequence_is_enough() -> None:
    _, end = measure(make_job("adaptive", 1000), lambda n: 0.9, random.Random(0))
    assert end.estimate is not None
    assert end.estimate.low == 1.0
    assert end.hi == 1


def test_reaching_beyond_n_max_is_flagged() -> None:
    """Every seed fails a little below N_max, one of five succeeded there: N* may lie above."""
    job = make_job("adaptive", 1000, seed_budget=11)
    evidence = [Evidence(1000, True, 5, 1), Evidence(900, False, 6, 0)]
    end = replay(job, evidence)
    assert end.next is None
    assert "beyond_n_max" in end.flags


def test_adaptive_speculates_nothing() -> None:
    job = make_job("adaptive", 1000)
    assert speculate(job, [], {}, 8) == (replay(job, []).next,)


@given(
    st.lists(
        st.tuples(st.integers(1, 5000), st.integers(0, 9)).flatmap(
            lambda t: st.tuples(st.just(t[0]), st.just(t[1]), st.integers(0, t[1]))
        ),
        max_size=12,
    ),
    st.sampled_from([1, 3, 5, 40]),
)
@settings(max_examples=40, deadline=None)
def test_any_evidence_gives_a_finite_answer(items: list[tuple[int, int, int]], k: int) -> None:
    job = make_job("adaptive", 5000, seeds=k)
    evidence = [Evidence(5000, True, 5, 4), *(Evidence(n, s > 0, m, s) for n, m, s in items)]
    p = replay(job, evidence)
    assert p.estimate is not None
    assert p.n50 is not None
    for x in (p.estimate, p.n50):
        assert 1 <= x.low <= x.value <= x.high < math.inf
    if p.next is not None:
        assert 1 <= p.next.n <= 5000
        assert p.next.seeds


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_intervals_of_real_replays_hold_the_truth() -> None:
    """50 searches by replay, parameters drawn as in benchmarks/adaptive.py, which runs thousands:
    90 % +- 4.2 %.
    """
    rng = random.Random(11)
    inside = 0
    for _ in range(50):
        n_star = math.exp(rng.uniform(math.log(4), math.log(2000)))
        scale = math.exp(rng.uniform(math.log(0.025), math.log(1.3)))
        q = logistic(n_star, scale, lapse=rng.choice([0.0, rng.uniform(0, 0.3)]))
        _, end = measure(make_job("adaptive", 16_384, seed_budget=60), q, rng)
        assert end.estimate is not None
        inside += end.estimate.low <= n_star <= end.estimate.high
    assert inside >= 38, inside
