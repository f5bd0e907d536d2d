"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labtui.text import to_ascii
from labtui.views import numbers as show
from labtui.views.job import summary_lines
from labtui.views.metric import Metric
from tests.analysis.conftest import nstar
from tests.tui.fake import job_row


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0"),
        (1, "1"),
        (312, "312"),
        (999, "999"),
        (1000, "1k"),
        (1300, "1.3k"),
        (2941, "2.94k"),
        (99_950, "100k"),
        (999_499, "999k"),
        (999_600, "1M"),
        (16_000_000, "16M"),
        (1_500_000_000, "1.5G"),
        (-1300, "-1.3k"),
        (1234.5, "1.23k"),
        (0.5, "0.5"),
        (math.inf, "∞"),
        (None, "–"),
    ],
)
def test_count(n: float | None, text: str) -> None:
    assert show.count(n) == text


@given(st.integers(1, 1 << 50))
def test_count_keeps_three_digits(n: int) -> None:
    text = show.count(n)
    scale = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
    value = float(text[:-1]) * scale[text[-1]] if text[-1] in scale else float(text)
    assert value == pytest.approx(n, rel=0.0051)
    assert len(text) <= 5


def test_a_search_with_an_estimate_shows_its_interval_and_no_bracket() -> None:
    """Its smallest success may lie far from its N*: (4, 8] beside 14 contradicts it."""
    scanned = nstar(None, 4, 8, n_max=48, estimate=(13.8, 2.58, 40.8))
    for text in (show.bracket(scanned), show.short_bracket(scanned)):
        assert text == "[2, 41]"
        assert text in show.known(scanned)
    early = nstar(None, 4, 8, n_max=48, status="open", estimate=(13.8, 2.58, 40.8))
    assert show.bracket(early) == "[2, 41]"
    job = job_row(1, strategy="scan", state="done", status="bracket", lo=4, hi=8, n_max=48,
                  estimate=(13.8, 2.58, 40.8))  # fmt: skip
    told = "\n".join(summary_lines(job))
    assert "≈ 14" in told
    assert "(4, 8]" not in told


def test_nstar_and_bracket() -> None:
    assert show.nstar(nstar(None, 16_000_000, None, n_max=16_000_000)) == "> 16M"
    assert show.nstar(nstar(None, 1_200, 1_300)) == "1.3k"
    assert show.nstar(nstar(None, 8, 10, status="open")) == "(8, 10]"
    assert show.nstar(nstar(None, 1_123, 1_294, status="open")) == "(1.12k,1.29k]"
    assert show.nstar(nstar(None, 0, None, status="open")) == "–"
    assert show.bracket(nstar(None, 940, 1_118)) == "(940, 1,118]"
    assert show.left_open(nstar(None, 0, 1)) == "in (0, 1], scatter unknown"
    assert show.left_open(nstar(None, 8, 10, status="open")) == "in (8, 10]"
    assert show.known(nstar(None, 0, 1)) == "(0, 1]"


def test_an_estimate_is_what_is_told_wherever_the_strategy_makes_one() -> None:
    row = nstar(None, 19, 20, estimate=(28.4, 20.8, 33.7))
    assert show.nstar(row) == "≈ 28"
    assert show.nstar_exact(row) == "≈ 28"
    assert show.left_open(row) == "90 % in [20, 34]"
    assert show.count_interval((1_251.2, 1_104.0, 1_396.0)) == "1.25k [1.1k, 1.4k]"


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (3.14, "3.1"),
        (0.28, "0.28"),
        (0.999, "1.0"),
        (9.97, "10"),
        (42.4, "42"),
        (1300, "1.3k"),
        (0.004, "0.004"),
        (0.0, "0"),
    ],
)
def test_ratio(x: float, text: str) -> None:
    assert show.ratio(x) == text


def test_bounds_are_rounded_outward() -> None:
    assert show.bound("<=", 0.4) == "≤ 0.40"
    assert show.bound("≥", 3.1) == "≥ 3.1"
    assert show.bound("<=", 0.2046) == "≤ 0.21"
    assert show.bound(">=", 4.571) == "≥ 4.5"
    assert show.bound("<=", 0.29) == "≤ 0.29"
    assert show.bound(">=", 1_239) == "≥ 1.23k"


@given(st.floats(1e-6, 1e9), st.sampled_from(["<=", ">="]))
def test_a_bound_stays_true_whatever_the_number(x: float, sign: str) -> None:
    text = show.bound(sign, x)[2:]
    scale = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1], 1.0)
    told = float(text.rstrip("kMG")) * scale
    assert told >= x * (1 - 1e-8) if sign == "<=" else told <= x * (1 + 1e-8)


def test_no_interval_is_narrower_than_its_last_digit() -> None:
    assert show.interval(3.1, 2.9, 3.4) == "3.1 [2.9, 3.4]"
    assert show.interval(None, None, None) == "–"
    assert show.interval(3.1, 3.1, 3.1) == "3.1"
    assert show.interval(14 / 3, 14 / 3, 14 / 3) == "4.7"
    assert show.interval(3.14, 3.08, 3.18) == "3.1 [3.0, 3.2]"
    assert show.interval(3.14, 3.1, 3.17) == "3.14 [3.10, 3.17]"
    assert show.interval(0.28, 0.251, 0.3) == "0.28 [0.25, 0.30]"


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_nothing_raises_and_ascii_keeps_bounds(x: float) -> None:
    for text in (show.count(x), show.duration(x), show.ratio(abs(x)), show.bound("<=", abs(x))):
        assert to_ascii(text).isascii()
    assert to_ascii(show.bound("<=", abs(x))).startswith("<=")


@given(st.floats(-1e300, 1e300))
@example(0.0004515)
@example(-12345.0)
@example(99_999.5)
def test_a_programs_metric_takes_seven_cells(value: float) -> None:
    """And what is shown has as many digits as these hold: one at least, two where nothing is negative."""
    text = Metric("error", "≤ 1", 1.0, 1.0, program=True).text(value)
    assert len(text) <= 7, text
    assert math.isclose(float(text), value, rel_tol=0.06 if 1e-99 < value < 1e99 else 0.5)


def test_accuracies_exponents_flags_and_bytes_have_one_writer_each() -> None:
    assert [show.share(x) for x in (0.124, -0.001, None)] == ["0.12", "0.00", "–"]
    assert show.exponent(1.914, 1.716, 2.104) == "1.91 [1.72, 2.10]"
    assert show.exponent(1.914, 1.716, math.inf, places=1) == "1.91 [1.7, ∞]"
    assert show.marked("1.3k", ("capped", "coarse", "fails_above")) == "1.3k !coarse !fails_above"
    assert show.marked("1.3k", ("capped",)) == "1.3k"
    assert [show.volume(n) for n in (40_000_000, 3 << 30)] == ["38.1 MiB", "3.0 GiB"]
