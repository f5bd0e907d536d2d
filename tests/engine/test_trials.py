from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.engine.trials import CURVE_POINTS, Point, Trial, Trials, thin
from runners.engine.types import Member, StopScope

losses = st.one_of(st.floats(1e-6, 1e4), st.sampled_from([0.0, math.nan, math.inf]))


def members(stop: StopScope = "probe") -> list[Member]:
    return [
        Member(probe, 10, rate, seed, 1e-2, stop) for probe in "ab" for rate in (0.1, 0.01) for seed in (1, 2)
    ]


def outcomes(trials: Trials) -> list[str]:
    return [t.outcome.value if t.outcome else "" for t in trials]


def record(trials: Trials, i: int, step: int, loss: float, exact: bool = True) -> None:
    trials[i].record(Point(step, loss, loss, exact))


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("probe", ["success", "superseded", "superseded", "superseded", "", "", "", ""]),
        ("seed", ["success", "", "superseded", "", "", "", "", ""]),
        ("never", ["success", "", "", "", "", "", "", ""]),
    ],
)
def test_a_success_ends_what_its_scope_names(stop: StopScope, expected: list[str]) -> None:
    trials = Trials(members(stop), 100)
    record(trials, 0, 5, 0.0099)
    record(trials, 1, 5, 0.02)
    over = trials.decide([0, 1])
    assert outcomes(trials) == expected
    assert over == [i for i, text in enumerate(expected) if text]


def test_success_is_strictly_below_eps_and_exact() -> None:
    trials = Trials(members("never"), 100)
    record(trials, 0, 5, 0.01)
    record(trials, 1, 5, 0.001, exact=False)
    record(trials, 2, 5, math.nan)
    record(trials, 3, 5, 0.0)
    trials.decide(range(4))
    assert outcomes(trials)[:4] == ["", "", "", "success"]


def test_the_last_training_loss_tells_divergence_from_a_lack_of_data() -> None:
    """A model that fits its few sequences may have any validation loss."""
    trials = Trials(members("never"), 10, classes=3)
    for i, (train, validation) in enumerate([(1e-3, 1e18), (1e6, 1e6), (math.nan, 1.0), (1.2, math.nan)]):
        trials[i].record(Point(5, 1e9, 1e9, True))
        trials[i].record(Point(10, train, validation, True))
    trials.decide(range(4))
    assert outcomes(trials)[:4] == ["failure", "diverged", "diverged", "failure"]


def test_two_successes_at_one_evaluation_are_both_successes() -> None:
    trials = Trials(members(), 100)
    record(trials, 1, 5, 0.0)
    record(trials, 2, 5, 0.0)
    trials.decide([1, 2])
    assert outcomes(trials)[:4] == ["superseded", "success", "success", "superseded"]


def test_divergence_and_the_end_of_the_budget() -> None:
    trials = Trials(members("never"), 100)
    record(trials, 0, 50, math.nan)
    record(trials, 1, 50, math.nan)
    record(trials, 2, 100, 1.0)
    record(trials, 3, 100, 0.001)
    assert trials.decide([0, 1, 2, 3], diverged=[0]) == [0, 2, 3]
    assert outcomes(trials)[:4] == ["diverged", "", "failure", "success"]


def test_drop_ends_one_probe() -> None:
    trials = Trials(members(), 100)
    assert trials.drop(["b", "unknown"]) == [4, 5, 6, 7]
    assert trials.drop(["b"]) == []
    assert trials.live == [0, 1, 2, 3]


def test_restart_forgets_the_live_alone() -> None:
    trials = Trials(members("never"), 100)
    record(trials, 0, 5, 0.0)
    record(trials, 1, 5, 0.5)
    trials.decide([0, 1])
    trials.restart()
    assert trials[0].best_loss == 0.0
    assert trials[1] == Trial(trials[1].member, 100)


@given(st.lists(st.tuples(losses, losses, st.booleans()), max_size=200))
def test_dump_is_json_and_comes_back(rows: list[tuple[float, float, bool]]) -> None:
    trials = Trials(members("never"), 10_000)
    for step, (train, validation, exact) in enumerate(rows, 1):
        trials[3].record(Point(step, train, validation, exact))
    text = json.dumps(trials.dump(), allow_nan=False)
    back = Trials(members("never"), 10_000)
    back.load(json.loads(text))
    assert json.dumps(back.dump()) == text


@given(st.lists(st.tuples(losses, st.booleans()), min_size=1, max_size=300))
def test_a_curve_stays_short_and_keeps_first_last_and_best(rows: list[tuple[float, bool]]) -> None:
    trial = Trial(members()[0], 10_000)
    for step, (loss, exact) in enumerate(rows, 1):
        trial.record(Point(step, loss, loss, exact))
    assert len(trial.curve) <= CURVE_POINTS
    assert [p.step for p in trial.curve] == sorted({p.step for p in trial.curve})
    assert (trial.curve[0].step, trial.curve[-1].step) == (1, len(rows))
    exact_losses = [loss for loss, exact in rows if exact and loss < math.inf]
    assert trial.best_loss == min(exact_losses, default=math.inf)
    if exact_losses:
        assert trial.best_step in {p.step for p in trial.curve}


def test_thin_leaves_a_short_curve_alone() -> None:
    points = [Point(i, 1.0, 1.0, True) for i in range(5)]
    assert thin(points, 5) == points


def test_load_refuses_another_number_of_trials_and_changes_nothing() -> None:
    trials = Trials(members(), 100)
    record(trials, 0, 5, 0.5)
    other = Trials(members()[:3], 100)
    with pytest.raises(ValueError):
        trials.load(other.dump())
    assert trials[0].best_loss == 0.5
