"""Texts from outside are harmless, and fit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from labtui.text import clean, clean_lines, fit, to_ascii, to_blocks, wrap
from labtui.views.numbers import duration, loss, rate


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    out = clean(text)
    assert all(c.isprintable() for c in out)
    assert not any("\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069" or c == "\x1b" for c in out)
    assert clean(out) == out


@given(st.text(), st.integers(0, 60), st.sampled_from("<>^"))
def test_fit_is_exact(text: str, width: int, align: str) -> None:
    assert cell_len(fit(clean(text), width, align)) == width  # type: ignore[arg-type]


@given(st.text())
def test_ascii_keeps_every_cell(text: str) -> None:
    text = clean(text)
    assert to_ascii(text).isascii()
    assert cell_len(to_ascii(text)) == cell_len(text)


def test_an_arrow_is_no_bound_in_ascii() -> None:
    assert to_ascii("1.3 →   [1.0, 1.6]") == "1.3 ->  [1.0, 1.6]"
    assert to_ascii("0.42 ←←  [0.35, 0.50]") == "0.42 <<  [0.35, 0.50]"
    assert to_ascii("interferes ←  1  → shares") == "interferes <- 1 -> shares"
    assert to_ascii("≤ 0.21 ←←←") == "<=0.21 <<<"


@given(st.text(alphabet=st.characters(codec="ascii")), st.integers(1, 40))
def test_wrapped_lines_fit(text: str, width: int) -> None:
    assert all(cell_len(line) <= width for line in wrap(clean(text), width))


def test_hostile_names() -> None:
    assert clean("a\x1b[31mred\x07") == "a\ufffd[31mred\ufffd"
    assert clean("two\nlines\ttab") == "two lines tab"
    assert clean("z" + "\u0301" * 50) == "z" + "\u0301" * 2
    assert clean("x" * 5000, limit=10) == "x" * 10 + "…"
    assert clean_lines("10%\r50%\r100%\nnext") == ["100%", "next"]
    assert to_ascii("⣿✓─▶") == "#+->"
    assert to_blocks("⣿✓") == "■✓"


def test_numbers_are_short() -> None:
    assert [duration(s) for s in (0.44, 12, 184, 18_720, 184_000)] == ["0.4s", "12s", "3m04", "5h12", "2d03h"]
    assert [loss(v) for v in (None, 0.0, 3.2e-5, 0.0321, 12.34, float("inf"), float("nan"))] == [
        "–", "0", "3.2e-5", "0.0321", "12.3", "∞", "nan",
    ]  # fmt: skip
    assert [rate(v) for v in (1e-3, 3e-4, 0.5)] == ["1e-3", "3e-4", "0.5"]
