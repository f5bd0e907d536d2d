"""kappa by hand, its bounds against every N* that the brackets allow, and what is missing."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtui.analysis.intervals import Interval
from labtui.analysis.kappa import ABOUT_ONE, Term, kappa, regime_of
from labtui.analysis.posterior import ratio_interval
from labtui.views import numbers
from store.rows import NStar
from tests.analysis.conftest import cell, nstar


def test_the_definition() -> None:
    k = kappa(cell(nstar(None, 90, 100), [nstar(2, 40, 50), nstar(3, 90, 100), nstar(4, 140, 150)]))
    assert k.status == "complete"
    assert k.value == 3.0
    assert (k.low, k.high) == ((41 + 91 + 141) / 100, 300 / 91)
    assert k.interval == "resolution"
    assert (k.have, k.want, k.joint_in) == (3, 3, True)
    assert k.text() == "3.0 [2.7, 3.3]"
    assert k.regime == "shared"


brackets = st.tuples(st.integers(0, 6), st.integers(1, 4)).map(lambda t: (t[0], t[0] + t[1]))


@given(st.lists(brackets, min_size=1, max_size=4), brackets, st.sets(st.integers(0, 4)))
def test_bounds_hold_for_every_nstar_the_evidence_allows(
    parts: list[tuple[int, int]], joint: tuple[int, int], censored: set[int]
) -> None:
    """Brute force over all integers in the brackets, from N_max + 1 upward where censored;
    index 0 is the joint task.
    """
    n_max, beyond = 10, [11, 12, 1000]
    rows = [
        nstar(i + 2, 10, None, n_max=n_max) if i + 1 in censored else nstar(i + 2, *b)
        for i, b in enumerate(parts)
    ]
    j = nstar(None, 10, None, n_max=n_max) if 0 in censored else nstar(None, *joint)
    k = kappa(cell(j, rows))

    def values(row_lo: int, row_hi: int, is_censored: bool) -> list[int]:
        return beyond if is_censored else list(range(row_lo + 1, row_hi + 1))

    choices = [values(*b, i + 1 in censored) for i, b in enumerate(parts)]
    ratios = [sum(c) / d for c in itertools.product(*choices) for d in values(*joint, 0 in censored)]
    some = any(i + 1 in censored for i in range(len(parts)))
    if 0 in censored and some:
        assert (k.status, k.value, k.low, k.high) == ("unknown", None, None, None)
    elif 0 in censored:
        assert (k.status, k.value, k.low) == ("upper_bound", None, None)
        assert k.high == pytest.approx(max(ratios))
    elif some:
        assert (k.status, k.value, k.high) == ("lower_bound", None, None)
        assert k.low == pytest.approx(min(ratios))
    else:
        assert k.status == "complete"
        assert k.low == pytest.approx(min(ratios))
        assert k.high == pytest.approx(max(ratios))
        assert k.low <= k.value <= k.high  # type: ignore[operator]


def test_bounds_as_text() -> None:
    upper = kappa(cell(nstar(None, 999, None, n_max=999), [nstar(2, 300, 400)]))
    assert (upper.text(), upper.text(ascii=True), upper.regime) == ("≤ 0.40", "<= 0.40", "interference")
    lower = kappa(cell(nstar(None, 90, 100), [nstar(2, 309, None, n_max=309)]))
    assert (lower.text(), lower.text(ascii=True), lower.regime) == ("≥ 3.1", ">= 3.1", "shared")
    assert lower.notes[0] == "N*_2 > 309"


def test_a_bound_colours_only_what_it_settles() -> None:
    assert kappa(cell(nstar(None, 99, None, n_max=99), [nstar(2, 900, 1000)])).regime is None
    assert kappa(cell(nstar(None, 900, 1000), [nstar(2, 99, None, n_max=99)])).regime is None


def test_pending_counts_what_is_in() -> None:
    waiting = nstar(4, 0, None, status="open", state="queued")
    running = nstar(3, 10, 40, status="open", state="running")
    k = kappa(cell(nstar(None, 9, 10), [nstar(2, 1, 2), running, waiting]))
    assert (k.status, k.have, k.want, k.joint_in, k.value) == ("pending", 1, 3, True, None)
    assert k.text() == "pending 2/4"
    joint = nstar(None, 0, None, status="open", state="paused")
    assert kappa(cell(joint, [nstar(2, 1, 2)])).text() == "pending 1/2"


def test_a_length_without_a_job_is_missing_not_zero() -> None:
    k = kappa(cell(nstar(None, 9, 10), [nstar(2, 1, 2), nstar(4, 1, 2)]))
    assert (k.status, k.have, k.want) == ("pending", 2, 3)


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_lost_part_makes_it_incomplete(state: str) -> None:
    lost = nstar(3, 0, None, status="open", state=state)
    waiting = nstar(2, 0, None, status="open", state="queued")
    k = kappa(cell(nstar(None, 9, 10), [waiting, lost]))
    assert (k.status, k.notes[0]) == ("incomplete", f"N*_3 {state}")
    k = kappa(cell(nstar(None, 9, 10, state=state), [nstar(2, 1, 2)]))
    assert (k.status, k.notes[0]) == ("incomplete", f"N*_joint {state}")


def test_flags_of_any_part_are_flags_of_kappa() -> None:
    k = kappa(cell(nstar(None, 9, 10, flags=("capped",)), [nstar(2, 1, 2, flags=("fails_above",))]))
    assert k.flags == ("capped", "fails_above")
    assert any("fails at its N_max" in note for note in k.notes)


def test_min_length_leaves_lengths_out_of_the_count() -> None:
    k = kappa(cell(nstar(None, 9, 10), [nstar(4, 9, 10), nstar(5, 9, 10)]))
    assert (k.status, k.want, k.value) == ("complete", 2, 2.0)


def test_n_star_of_one() -> None:
    k = kappa(cell(nstar(None, 0, 1), [nstar(2, 0, 1), nstar(3, 0, 1)]))
    assert (k.value, k.low, k.high) == (2.0, 2.0, 2.0)


def test_a_cell_without_parts_has_no_kappa() -> None:
    k = kappa(cell(nstar(None, 9, 10), [], distribution="fixed"))
    assert (k.status, k.want) == ("unknown", 0)
    assert "no sum" in k.notes[0]


def test_adaptive_parts_give_a_credible_interval() -> None:
    def est(v: float) -> tuple[float, float, float]:
        return (v, v / 1.2, v * 1.2)

    parts = [nstar(n, 90, 100, estimate=est(100.0)) for n in (2, 3, 4)]
    k = kappa(cell(nstar(None, 90, 100, estimate=est(100.0)), parts))
    assert (k.value, k.interval) == (3.0, "credible")
    assert k.low is not None
    assert k.high is not None
    # log-normal with sd ln(1.2)/1.645 = 0.111; the sum's is 0.111/sqrt(3):
    # 90 % of the ratio within exp(+-1.645 * 0.128)
    assert k.low == pytest.approx(3.0 / 1.234, rel=0.02)
    assert k.high == pytest.approx(3.0 * 1.234, rel=0.02)
    mixed = kappa(cell(nstar(None, 90, 100), parts))
    assert mixed.interval == "mixed"
    assert mixed.notes == ("one bisection each, scatter unknown: N*_joint",)
    assert mixed.low is not None
    assert mixed.low > k.low
    assert kappa(cell(nstar(None, 90, 100), parts)) == mixed, "the same draws at every call"


def test_monte_carlo_against_a_plain_loop() -> None:
    rng = random.Random(1)
    parts = [((50.0, 30.0, 100.0), True), ((10.0, 8.0, 12.0), False)]
    joint = ((20.0, 15.0, 30.0), True)

    def draw(spread: tuple[tuple[float, float, float], bool]) -> float:
        (value, low, high), posterior = spread
        if not posterior:
            return float(low * (high / low) ** rng.random())
        z = rng.gauss(0, 1)
        return float(value * ((high / value) ** (z / 1.645) if z > 0 else (value / low) ** (z / 1.645)))

    ratios = sorted(sum(draw(p) for p in parts) / draw(joint) for _ in range(20_000))
    low, high = ratio_interval(parts, joint)
    assert low == pytest.approx(ratios[1_000], rel=0.03)
    assert high == pytest.approx(ratios[19_000], rel=0.03)


def test_the_credible_interval_is_that_of_the_posteriors_themselves() -> None:
    """Draws from the grid posteriors of five searches against the normals in log N that stand for them in
    a stored lab.
    """
    import numpy as np

    from runners.search.family import Family
    from runners.search.posterior import Posterior, posterior

    family = Family(3)
    evidence = [
        {400: (5, 5), 60: (8, 4), 30: (8, 1)},
        {400: (5, 4), 90: (8, 5), 45: (8, 2), 20: (4, 0)},
        {800: (5, 5), 110: (8, 3), 70: (8, 1)},
        {800: (5, 5), 100: (8, 2), 200: (8, 6)},
    ]
    joint = {1600: (5, 5), 200: (8, 4), 100: (8, 1), 60: (4, 0)}
    parts = [posterior(family, counts, max(counts)) for counts in evidence]
    whole = posterior(family, joint, max(joint))
    rng = np.random.default_rng(5)

    def draws(post: Posterior) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        step = post.t[1] - post.t[0]
        at = rng.choice(post.t, 40_000, p=post.marginal / post.marginal.sum()) + rng.uniform(
            -step / 2, step / 2, 40_000
        )
        return np.maximum(1.0, np.exp(at))

    expected = np.quantile(sum(draws(p) for p in parts) / draws(whole), (0.05, 0.95))
    rows = [nstar(n + 2, 1, 1000, estimate=p.n_star().as_tuple()) for n, p in enumerate(parts)]
    k = kappa(cell(nstar(None, 1, 1000, estimate=whole.n_star().as_tuple()), rows))
    assert k.interval == "credible"
    assert k.low == pytest.approx(expected[0], rel=0.08)
    assert k.high == pytest.approx(expected[1], rel=0.08)


def test_json_form() -> None:
    k = kappa(cell(nstar(None, 90, 100), [nstar(2, 309, None, n_max=309), nstar(3, 1, 2)]))
    data = json.loads(json.dumps(k.to_dict(), allow_nan=False))
    assert data["kappa"]["status"] == "lower_bound"
    assert data["kappa"]["text"] == ">= 3.1"
    assert [p["n"] for p in data["parts"]] == [2, 3]
    assert data["joint"]["hi"] == 100


def test_all_trials_diverged_is_incomplete_and_no_bound() -> None:
    gone = nstar(3, 16_000, None, flags=("diverged",))
    k = kappa(cell(nstar(None, 9, 10), [nstar(2, 4, 5), gone]))
    assert (k.status, k.notes[0], k.have) == ("incomplete", "N*_3: all trials diverged", 1)
    joint = nstar(None, 16_000, None, flags=("diverged",))
    k = kappa(cell(joint, [nstar(2, 4, 5)]))
    assert (k.status, k.notes[0], k.joint_in) == ("incomplete", "N*_joint: all trials diverged", False)
    assert numbers.nstar(gone) == "diverged"
    for text in (numbers.nstar_exact(gone), numbers.bracket(gone)):
        assert "all trials diverged" in text
        assert ">" not in text
    honest = nstar(3, 16_000, None)
    assert numbers.nstar(honest) == "> 16k"


Limits = tuple[float, float, float]
PARTS: dict[str, tuple[list[tuple[int, int, int, Limits | None]], tuple[int, int, Limits | None]]] = {
    "bisection": ([(2, 4, 5, None), (3, 20, 22, None)], (17, 18, None)),
    "adaptive": ([(2, 4, 5, (7.0, 4.5, 9.1)), (3, 20, 21, (28.2, 20.8, 33.7))], (35, 36, (20.4, 16.0, 26.0))),
    "scan": ([(2, 4, 8, (6.0, 5.1, 8.2)), (3, 16, 32, (28.0, 22.0, 35.0))], (16, 32, (21.0, 15.0, 30.0))),
    "both": ([(2, 4, 5, None), (3, 20, 21, (28.2, 20.8, 33.7))], (35, 36, (20.4, 16.0, 26.0))),
}


@pytest.mark.parametrize("strategy", PARTS)
def test_the_parts_on_the_screen_give_the_kappa_on_the_screen(strategy: str) -> None:
    parts, (lo, hi, joint) = PARTS[strategy]
    terms = [nstar(n, lo, hi, estimate=e) for n, lo, hi, e in parts]
    k = kappa(cell(nstar(None, lo, hi, estimate=joint), terms))

    def shown(part: NStar | Term) -> float:
        return float(numbers.nstar(part).removeprefix("≈ "))

    by_hand = sum(map(shown, k.terms)) / shown(k.cell.joint)
    assert float(k.text().split(" [")[0]) == pytest.approx(by_hand, rel=0.06)
    assert k.value is not None
    assert k.value == pytest.approx(by_hand, rel=0.04)
    assert k.low is not None
    assert k.high is not None
    assert k.low <= k.value <= k.high


@pytest.mark.parametrize(
    ("value", "regime"),
    [(0.79, "interference"), (0.8, "separate"), (1.0, "separate"), (1.25, "separate"), (1.26, "shared")],
)
def test_about_one_has_one_definition(value: float, regime: str) -> None:
    assert regime_of(value) == regime
    assert Interval(value, value).inside(*ABOUT_ONE) is (regime == "separate")
