"""Curves stay small and keep what matters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runners.pool.thinning import MOST, ThinCurve


@given(st.lists(st.tuples(st.floats(allow_nan=True), st.booleans()), min_size=1, max_size=2000))
def test_first_best_and_last_are_kept(losses: list[tuple[float, bool]]) -> None:
    curve = ThinCurve()
    for step, (loss, whole) in enumerate(losses, 1):
        curve.add(step, 0.0, loss, whole)
    steps, train, validation, exact = curve.columns()
    assert len(steps) == len(train) == len(validation) == len(exact) <= MOST + 2
    assert [exact[i] for i in range(len(steps))] == [losses[s - 1][1] for s in steps]
    assert list(steps) == sorted(set(steps))
    assert steps[0] == 1
    assert steps[-1] == len(losses)
    finite = [v for v, whole in losses if whole and v == v and abs(v) != float("inf")]
    if finite:
        assert min(finite) in validation


def test_a_point_told_again_after_a_resume_counts_once() -> None:
    curve = ThinCurve()
    for step in (1, 2, 3, 2, 3, 4):
        curve.add(step, 0.0, float(step), True)
    assert curve.columns()[0] == (1, 2, 3, 4)
