"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtui.analysis import format as show
from tests.analysis.conftest import nstar


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


def test_nstar_and_bracket() -> None:
    assert show.nstar(nstar(None, 16_000_000, None, n_max=16_000_000)) == "> 16M"
    assert show.nstar(nstar(None, 1_200, 1_300)) == "1.3k"
    assert show.nstar(nstar(None, 1_200, 1_300, status="open")) == "…"
    assert show.nstar(nstar(None, 1_200, 1_300, status="open"), ascii=True) == "..."
    assert show.nstar(nstar(None, 1_200, 1_300, estimate=(1_251.2, 1_100.0, 1_400.0))) == "1.25k"
    assert show.bracket(1_200, 1_300) == "(1.2k, 1.3k]"
    assert show.bracket(0, 1) == "(0, 1]"
    assert show.bracket(16_000_000, None) == "> 16M"
    assert show.bracket(0, None, ascii=True) == "-"
    assert show.count_interval((1_251.2, 1_100.0, 1_400.0)) == "1.25k [1.1k, 1.4k]"


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


def test_interval_and_bound() -> None:
    assert show.interval(3.1, 2.9, 3.4) == "3.1 [2.9, 3.4]"
    assert show.interval(None, None, None, ascii=True) == "-"
    assert show.bound("<=", 0.4) == "≤ 0.40"
    assert show.bound("≥", 3.1, ascii=True) == ">= 3.1"


@pytest.mark.parametrize(
    ("s", "text"),
    [
        (0.0, "0 s"),
        (4.25, "4.2 s"),
        (12.4, "12 s"),
        (59.7, "1 m 00 s"),
        (200, "3 m 20 s"),
        (7_500, "2 h 05 m"),
        (273_600, "3 d 4 h"),
        (math.nan, "–"),
    ],
)
def test_seconds(s: float, text: str) -> None:
    assert show.seconds(s) == text


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_nothing_raises_and_ascii_is_ascii(x: float) -> None:
    for text in (show.count(x, ascii=True), show.seconds(x, ascii=True), show.ratio(abs(x), ascii=True)):
        assert text.isascii()
