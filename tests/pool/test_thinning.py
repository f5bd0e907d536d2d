"""Curves stay small and keep what matters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runners.pool.thinning import MOST, ThinCurve


@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=2000))
def test_first_best_and_last_are_kept(losses: list[float]) -> None:
    curve = ThinCurve()
    for step, loss in enumerate(losses, 1):
        curve.add(step, 0.0, loss)
    steps, train, validation = curve.columns()
    assert len(steps) == len(train) == len(validation) <= MOST + 2
    assert list(steps) == sorted(set(steps))
    assert steps[0] == 1
    assert steps[-1] == len(losses)
    finite = [v for v in losses if v == v and abs(v) != float("inf")]
    if finite:
        assert min(finite) in validation


def test_a_point_told_again_after_a_resume_counts_once() -> None:
    curve = ThinCurve()
    for step in (1, 2, 3, 2, 3, 4):
        curve.add(step, 0.0, float(step))
    assert curve.columns()[0] == (1, 2, 3, 4)
