"""``paper`` and ``log`` against independent implementations, on oracles that are and are not monotone."""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.search import Evidence, replay
from runners.search.bisection import RULES, geometric_middle
from runners.spec import Job, Search
from runners.spec.document import meanings
from runners.strategies import FRESH_SEEDS, STRATEGIES, StrategyName
from tests.search.conftest import Oracle, asked, make_job, run


def hash_oracle(salt: int, rate: int) -> Oracle:
    """Any verdicts at all, the same for the same N: a success in about ``rate`` of 16 candidates."""
    return lambda n: (hash((salt, n)) >> 7) % 16 < rate


def naive_paper(n_max: int, multiplier: int, limit: int, oracle: Oracle) -> tuple[list[int], int, int | None]:
    """The paper's words, one after another: walk down while it succeeds, then bisect."""
    tried: list[int] = []
    largest_failing, smallest_succeeding = 0, None
    n = n_max
    while len(tried) < limit:
        tried.append(n)
        if not oracle(n):
            largest_failing = n
            break
        smallest_succeeding = n
        if n == 1:
            return tried, 0, 1
        n = n // multiplier
        if n < 1:
            n = 1
    if smallest_succeeding is None:
        return tried, n_max, None
    while len(tried) < limit and largest_failing and smallest_succeeding - largest_failing > 1:
        middle = (largest_failing + smallest_succeeding) // 2
        tried.append(middle)
        if oracle(middle):
            smallest_succeeding = middle
        else:
            largest_failing = middle
    return tried, largest_failing, smallest_succeeding


def naive_log(n_max: int, rtol: float, oracle: Oracle) -> tuple[list[int], int, int | None, bool]:
    """docs/science.md's log search as a program with loops; roots in 60-digit decimals."""
    tried = [n_max]
    ok = oracle(n_max)
    n, above = n_max, False
    for divisor in (2, 4, 8):
        if ok or n_max // divisor < 1:
            break
        above = True
        n = n_max // divisor
        tried.append(n)
        ok = oracle(n)
    if not ok:
        return tried, n_max, None, False
    hi, lo = n, 0
    while hi > 1:
        n = max(1, hi // 2)
        tried.append(n)
        if not oracle(n):
            lo = n
            break
        hi = n
    while lo and hi - lo > 1 and hi / lo > 1 + rtol:
        root = (Decimal(lo) * Decimal(hi)).sqrt().quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
        n = min(max(int(root), lo + 1), hi - 1)
        tried.append(n)
        if oracle(n):
            hi = n
        else:
            lo = n
    return tried, lo, hi, above


oracles = st.one_of(
    st.builds(lambda t: lambda n: n >= t, st.integers(0, 2**24)),
    st.builds(lambda e: lambda n: n >= int(1.5**e), st.integers(0, 45)),
    st.builds(hash_oracle, st.integers(0, 10_000), st.integers(0, 16)),
    st.builds(lambda a, b: lambda n: a <= n <= b, st.integers(1, 5_000), st.integers(1, 100_000)),
)
n_maxes = st.one_of(st.integers(1, 40), st.integers(1, 16_000_000), st.just(16_000_000), st.just(1 << 40))


@given(n_maxes, st.integers(2, 2000), st.integers(1, 20), oracles)
@settings(max_examples=300, deadline=None)
def test_paper_is_the_papers_procedure(n_max: int, multiplier: int, limit: int, oracle: Oracle) -> None:
    job = make_job("paper", n_max, multiplier=multiplier, max_candidates=limit)
    evidence, end = run(job, oracle)
    tried, lo, hi = naive_paper(n_max, multiplier, limit, oracle)
    assert (asked(evidence), end.lo, end.hi) == (tried, lo, hi)
    assert len(tried) <= 20
    assert end.status == ("censored" if hi is None else "bracket")
    assert ("max_candidates" in end.flags) == (len(tried) == limit), (
        "hit, also where it would have ended there"
    )


@given(n_maxes, st.floats(0, 2), oracles)
@settings(max_examples=300, deadline=None)
def test_log_is_the_procedure_of_the_science_page(n_max: int, rtol: float, oracle: Oracle) -> None:
    job = make_job("log", n_max, rtol=rtol, max_candidates=500)
    evidence, end = run(job, oracle)
    tried, lo, hi, above = naive_log(n_max, rtol, oracle)
    assert (asked(evidence), end.lo, end.hi) == (tried, lo, hi)
    assert ("fails_above" in end.flags) == above
    assert end.status == ("censored" if hi is None else "bracket")


@given(st.sampled_from(sorted(RULES)), n_maxes, st.integers(1, 20), oracles)
@settings(max_examples=200, deadline=None)
def test_resume_after_every_step_and_the_counts(
    strategy: str, n_max: int, limit: int, oracle: Oracle
) -> None:
    job = make_job(strategy, n_max, max_candidates=limit)
    evidence, end = run(job, oracle)
    assert len(evidence) <= limit
    assert len(set(asked(evidence))) == len(evidence), "no candidate twice"
    for i, e in enumerate(evidence):
        step = replay(job, evidence[:i])
        assert step.next is not None
        assert step.next.n == e.n
        assert step.next.seeds is None
        assert step.status == "open"
        again, last = run(job, {x.n: x.success for x in evidence}.__getitem__)
        assert (again, last) == (evidence, end)


@given(
    st.sampled_from(sorted(RULES)),
    st.lists(st.tuples(st.integers(1, 300), st.booleans()), max_size=30),
)
def test_the_bracket_agrees_with_all_evidence_whatever_it_is(
    strategy: str, items: list[tuple[int, bool]]
) -> None:
    job = make_job(strategy, 300)
    evidence = [Evidence(n, ok) for n, ok in items]
    p = replay(job, evidence)
    good = {n for n, ok in items if ok}
    bad = {n for n, ok in items if not ok} - good
    assert p.hi == min(good, default=None)
    assert p.lo == max((n for n in bad if p.hi is None or n < p.hi), default=0)
    if good:
        assert ("fails_above" in p.flags) == any(n > max(good) for n in bad)
    inside = any(min(good) < n < max(good) for n in bad) if good else False
    both = bool(good & {n for n, ok in items if not ok})
    assert ("contradicted" in p.flags) == (inside or both)
    if p.next is not None:
        assert p.next.n not in good | bad
        assert p.next.n == 300 or p.hi is None or p.lo < p.next.n < p.hi


@given(st.integers(1, 1 << 40), st.integers(2, 1 << 40))
def test_geometric_middle_is_exact(lo: int, gap: int) -> None:
    hi = lo + gap
    exact = (Decimal(lo) * Decimal(hi)).sqrt().to_integral_value(ROUND_HALF_EVEN)
    assert geometric_middle(lo, hi) == min(max(int(exact), lo + 1), hi - 1)
    assert lo < geometric_middle(lo, hi) < hi


def test_the_papers_own_numbers() -> None:
    """16 M, 16 k, 16, then midpoints; about 1.7 K as in the paper's m = 5, L = 20 with cot."""
    evidence, end = run(make_job("paper", 16_000_000), lambda n: n >= 1_700)
    assert asked(evidence)[:5] == [16_000_000, 16_000, 16, 8_008, 4_012]
    assert (end.lo, end.hi, end.status, end.flags) == (1_699, 1_700, "bracket", ())
    assert len(evidence) == 17


def test_n_is_one() -> None:
    for strategy in sorted(RULES):
        evidence, end = run(make_job(strategy, 1000), lambda n: True)
        assert (end.lo, end.hi, end.status) == (0, 1, "bracket")
        assert asked(evidence)[-1] == 1
        _, end = run(make_job(strategy, 1), lambda n: True)
        assert (end.lo, end.hi, end.status) == (0, 1, "bracket")
        _, end = run(make_job(strategy, 1), lambda n: False)
        assert (end.lo, end.hi, end.status) == (1, None, "censored")


def test_ends_at_a_gap_of_one() -> None:
    for strategy in sorted(RULES):
        _, end = run(make_job(strategy, 64, rtol=0.0), lambda n: n >= 5)
        assert (end.lo, end.hi) == (4, 5)


def test_log_walks_down_from_a_failing_top() -> None:
    """The LSTM of docs/science.md: fails at 2,941, learned at 312..1,200."""
    evidence, end = run(make_job("log", 2_941), lambda n: 312 <= n <= 1_200)
    assert asked(evidence)[:4] == [2_941, 1_470, 735, 367]
    assert end.hi is not None
    assert end.lo < 312 <= end.hi <= 367
    assert end.hi / end.lo <= 1.1
    assert "fails_above" in end.flags
    assert "contradicted" not in end.flags


def test_paper_is_censored_at_once_and_log_after_the_walk() -> None:
    evidence, end = run(make_job("paper", 2_941), lambda n: n <= 1_200)
    assert (asked(evidence), end.status, end.lo, end.hi) == ([2_941], "censored", 2_941, None)
    job = make_job("log", 2_941)
    evidence, end = run(job, lambda n: n <= 300)
    assert (asked(evidence), end.status, end.hi, end.flags) == (
        [2_941, 1_470, 735, 367],
        "censored",
        None,
        (),
    )
    tiny, end = run(make_job("log", 5), lambda n: False)
    assert (asked(tiny), end.status) == ([5, 2, 1], "censored")


def test_censored_keeps_the_best_loss() -> None:
    job = make_job("log", 100)
    losses = [0.7, math.inf, 0.4, None]
    evidence = [Evidence(n, False, best_loss=loss) for n, loss in zip([100, 50, 25, 12], losses, strict=True)]
    end = replay(job, evidence)
    assert (end.status, end.best_loss) == ("censored", 0.4)
    assert replay(job, [Evidence(100, False, best_loss=math.nan)]).best_loss is None


def test_max_candidates_is_flagged_and_never_passed() -> None:
    evidence, end = run(make_job("log", 1 << 20, max_candidates=3), lambda n: n >= 7)
    assert len(evidence) == 3
    assert (end.hi, end.lo, end.status, end.flags) == (1 << 18, 0, "bracket", ("max_candidates",))
    _, end = run(make_job("log", 1 << 20, max_candidates=2), lambda n: False)
    assert (end.status, end.flags) == ("censored", ("max_candidates",))


def test_contradicting_evidence_is_kept_and_flagged() -> None:
    job = make_job("log", 100)
    items = [Evidence(100, True), Evidence(50, False), Evidence(25, True), Evidence(12, False)]
    p = replay(job, items)
    assert (p.lo, p.hi) == (12, 25)
    assert p.flags == ("contradicted",)


def test_flags_of_the_job_itself() -> None:
    job = make_job("log", 1 << 40)
    assert replay(job, []).flags == ()
    data = job.model_dump()
    small = Job.model_validate(data | {"lengths": {"distribution": "fixed", "length": 3}})
    p = replay(small, [])
    assert p.flags == ("capped",)
    assert p.next is not None
    assert p.next.n == 800
    tf32 = Job.model_validate(data | {"training": {"precision": "tf32"}})
    assert replay(tf32, []).flags == ("tf32",)


def test_evidence_of_another_job_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"evidence 0 has n = 101; expected 1\.\.100"):
        replay(make_job("log", 100), [Evidence(101, True)])
    with pytest.raises(ValueError, match="n = 0"):
        replay(make_job("paper", 100), [Evidence(0, True)])
    with pytest.raises(ValueError, match="3 successes of 2 seeds"):
        replay(make_job("adaptive", 100), [Evidence(5, True, seeds=2, successes=3)])


def test_a_job_whose_trials_all_diverged_is_flagged_and_gives_no_bound() -> None:
    ns = (100, 50, 25, 12)
    end = replay(make_job("log", 100), [Evidence(n, False, diverged=True) for n in ns])
    assert (end.status, end.flags) == ("censored", ("diverged",))
    honest_top = [Evidence(100, False), *(Evidence(n, False, diverged=True) for n in ns[1:])]
    assert replay(make_job("log", 100), honest_top).flags == ()
    below = [Evidence(100, True), Evidence(50, False, diverged=True)]
    assert "diverged" in replay(make_job("log", 100), below).flags, "its lo is no sign of too few sequences"
    assert "diverged" not in replay(make_job("log", 100), [*below, Evidence(71, False)]).flags
    paper = replay(make_job("paper", 100), [Evidence(100, False, diverged=True)])
    assert (paper.status, paper.flags) == ("censored", ("diverged",))


def test_every_strategy_has_its_facts_and_those_that_go_by_verdicts_their_rule() -> None:
    assert set(STRATEGIES) == set(get_args(StrategyName))
    assert set(RULES) == set(STRATEGIES) - set(FRESH_SEEDS)
    fields = set(Search.model_fields)
    assert all(set(found.unused) <= fields for found in STRATEGIES.values())


def test_the_texts_of_the_keys_name_every_strategy() -> None:
    """docs/specs.md takes them from these docstrings."""
    told = meanings(Search)["strategy"]
    assert [name for name in STRATEGIES if f"``{name}``" not in told] == [], (
        "tell what it does in Search.strategy"
    )
    most = meanings(Search)["max_candidates"].replace(" and ``", " for ``")
    by_number = {
        name: number
        for number, names in re.findall(r"(\d+)((?: for ``\w+``)+)", most)
        for name in re.findall(r"\w+", names.replace(" for ", " "))
    }
    assert by_number == {name: str(found.candidates) for name, found in STRATEGIES.items()}
