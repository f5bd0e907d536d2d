"""runners.verdict: the rules of a trial, a candidate, a bracket and a job's answer, said another way."""

from __future__ import annotations

import math
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners import verdict
from runners.verdict import (
    FLAGS,
    Answer,
    Evidence,
    Thoroughness,
    Undecided,
    answer,
    best_loss,
    bracket,
    brackets,
    collect,
    flags,
    ordered,
    probe_verdict,
    search_status,
    trial_outcome,
)

OUTCOMES = ("success", "failure", "diverged", "superseded", "lost", "running")


@pytest.mark.parametrize(
    ("loss", "exact", "non_finite", "steps", "expected"),
    [
        (9e-5, True, False, 10, "success"),
        (0.0, True, True, 10, "success"),
        (9e-5, False, False, 10, None),
        (1e-4, True, False, 10, None),
        (1e-4, True, False, 100, "failure"),
        (math.nan, True, False, 10, None),
        (math.nan, True, False, 100, "failure"),
        (math.inf, True, True, 10, "diverged"),
        (0.5, True, True, 100, "diverged"),
    ],
)
def test_how_a_trial_ends(
    loss: float, exact: bool, non_finite: bool, steps: int, expected: str | None
) -> None:
    assert trial_outcome(loss, 1e-4, exact=exact, non_finite=non_finite, steps=steps, budget=100) == expected


@pytest.mark.parametrize(
    ("train", "classes", "expected"),
    [
        (0.0, 3, "failure"),
        (math.log(3), 3, "failure"),
        (25.0, 3, "failure"),
        (99 * math.log(120), 120, "failure"),
        (101 * math.log(120), 120, "diverged"),
        (110.0, 3, "diverged"),
        (1e30, 3, "diverged"),
        (math.inf, 3, "diverged"),
        (math.nan, 3, "diverged"),
        (math.nan, None, "failure"),
        (1e30, None, "failure"),
        (60.0, 1, "failure"),
    ],
)
def test_a_training_loss_far_above_that_of_a_guess_is_divergence(
    train: float, classes: int | None, expected: str
) -> None:
    """Only of the training loss, and only when the budget is over; a success stays one."""

    def ends(loss: float, steps: int) -> str | None:
        return trial_outcome(
            loss, 1e-4, exact=True, non_finite=False, steps=steps, budget=100, train=train, classes=classes
        )

    for validation in (1e18, math.inf, math.nan, 1.0):
        assert ends(validation, 100) == expected
        assert ends(validation, 99) is None, "training goes on, it may come back"
    assert ends(1e-5, 100) == "success"


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(OUTCOMES)), min_size=1, max_size=8))
def test_a_candidate_succeeds_if_any_trial_does(trials: list[tuple[int, str]]) -> None:
    said = [outcome for _, outcome in trials]
    undecided = "running" in said or ("success" not in said and ("superseded" in said or "lost" in said))
    if undecided:
        with pytest.raises(Undecided, match="expected"):
            probe_verdict(trials)
        return
    found = probe_verdict(trials)
    assert found.success == ("success" in said)
    assert found.diverged == all(outcome == "diverged" for outcome in said)
    assert (found.seeds, found.successes) == (
        len({seed for seed, _ in trials}),
        len({seed for seed, outcome in trials if outcome == "success"}),
    )


@given(st.lists(st.tuples(st.integers(1, 30), st.sampled_from([True, False, None])), max_size=20))
def test_the_bracket_after_each_candidate_is_that_of_all_so_far(told: list[tuple[int, bool | None]]) -> None:
    after = list(brackets(told))
    assert len(after) == len(told)
    for i, b in enumerate(after):
        seen = [(n, ok) for n, ok in told[: i + 1] if ok is not None]
        wins = {n for n, ok in seen if ok}
        losses = {n for n, _ in seen} - wins
        assert b.hi == min(wins, default=None)
        assert b.lo == max((n for n in losses if b.hi is None or n < b.hi), default=0)
        assert b == bracket({n: n in wins for n, _ in seen})


@given(st.lists(st.tuples(st.integers(1, 6), st.booleans(), st.booleans()), max_size=8))
def test_what_the_evidence_flags(told: list[tuple[int, bool, bool]]) -> None:
    evidence = [Evidence(n, ok, diverged=diverged and not ok) for n, ok, diverged in told]
    wins = {e.n for e in evidence if e.success}
    losses = {e.n for e in evidence} - wins
    mixed = any(not e.success and e.n in wins for e in evidence)
    assert collect(evidence) == ({e.n: e.n in wins for e in evidence}, mixed)
    lo = max((n for n in losses if not wins or n < min(wins)), default=0)
    expected = {"capped"}
    if wins and any(n > max(wins) for n in losses):
        expected.add("fails_above")
    if mixed or (wins and any(min(wins) < n < max(wins) for n in losses)):
        expected.add("contradicted")
    if lo and all(e.diverged for e in evidence if e.n == lo):
        expected.add("diverged")
    assert flags(evidence, ("capped",)) == expected


def test_the_best_loss_is_the_lowest_that_is_finite() -> None:
    losses = (None, math.nan, 0.25, 0.125, -math.inf, math.inf)
    assert best_loss([Evidence(4, False, best_loss=loss) for loss in losses]) == 0.125
    assert best_loss([Evidence(4, False, best_loss=math.nan)]) is None


def row(**values: Any) -> Any:
    return SimpleNamespace(
        **{"status": "bracket", "lo": 3, "hi": 4, "n_max": 16, "flags": (), "estimate": None} | values
    )


def test_what_a_job_says_of_n_star() -> None:
    assert answer(row()) == Answer("bracket", 4, 4, 4)
    assert answer(row(lo=0, hi=9)) == Answer("bracket", 9, 1, 9)
    assert answer(row(estimate=(5.5, 4.0, 7.0))) == Answer("estimate", 5.5, 4.0, 7.0)
    assert answer(row(status="censored", hi=None)) == Answer("censored", None, 17, None)
    assert answer(row(status="censored", estimate=(20.0, 9.0, 50.0))).kind == "censored"
    assert answer(row(status="open", estimate=(5.5, 4.0, 7.0))) == Answer("open")
    assert answer(row(status="censored", hi=None, flags=("diverged",))) == Answer("diverged")
    assert answer(row(flags=("diverged",))).kind == "bracket"
    with pytest.raises(ValueError, match="damaged"):
        answer(row(hi=None))


def test_flags_have_one_order_and_a_sentence_each() -> None:
    assert ordered(["bf16", "diverged", "bf16", "unheard of"]) == ("diverged", "bf16")
    assert all(sentence and not sentence.endswith(".") for sentence in FLAGS.values())


def test_how_often_the_whole_set_is_evaluated() -> None:
    """Always where that costs up to 3 % of the training, above it so seldom that it costs about 2 %."""
    assert Thoroughness.of(288, 32, 100) == Thoroughness(288, 1)  # 288 / (3 * 32 * 100) is 3 %
    assert Thoroughness.of(289, 32, 100) == Thoroughness(32, 2)
    assert Thoroughness.of(2048, 32, 25) == Thoroughness(64, 43)  # 85 %
    assert Thoroughness.of(20, 1, 1) == Thoroughness(20, 334)
    third = Thoroughness(64, 3)
    assert [third.wanted(done, last=False) for done in range(6)] == [False, False, True] * 2
    assert all(third.wanted(done, last=True) for done in range(6))


def test_where_a_search_stands() -> None:
    for hi in (None, 8):
        for beyond in (False, True):
            assert search_status(False, hi, beyond=beyond) == "open"
    assert search_status(True, 8) == "bracket"
    assert search_status(True, None) == "censored"
    assert search_status(True, 8, beyond=True) == "censored", "a success by chance at N_max is no bracket"


def test_what_was_decided_stays() -> None:
    for kind in vars(verdict).values():
        if isinstance(kind, type) and is_dataclass(kind):
            assert kind.__dataclass_params__.frozen, kind  # type: ignore[attr-defined]
    assert Evidence(8, True) == Evidence(8, True, 0, 0, None, False)
