"""Each screen as text: its name after ``show``, and ``--plain --screen``."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from labtui.analysis.points import Point, Series
from labtui.cli.screen_text import TEXT_COMMANDS
from labtui.tui.actions import SCREENS
from labtui.tui.screens.scaling import ScalingRequest
from labtui.views.grid import grid
from labtui.views.scaling import curve_sign, law_text, scaling_lines, tail, trend
from store.read import open_lab
from tests.cli.conftest import Labtui

SAYS = {
    "queue": "supervisor", "job": "Spec, defaults resolved", "kappa": "N*_n", "scaling": "N* against",
    "trials": "best loss", "new": "searches", "compare": "paper", "events": "job 42",
    "paper": "not measured",
}  # fmt: skip


def test_every_screen_has_a_twin() -> None:
    assert tuple(TEXT_COMMANDS) == SCREENS


@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_as_text(labtui: Labtui, lab: Path, screen: str) -> None:
    answer = labtui("show", screen)
    assert answer.code == 0
    assert SAYS[screen] in answer.out
    assert "\x1b" not in answer.out
    assert labtui("--plain", "--screen", screen).out == answer.out
    assert labtui("show", screen, "--ascii").out.isascii()
    assert labtui("show", screen, "--json").json


def test_words_after_a_screen_say_which(labtui: Labtui, lab: Path) -> None:
    assert labtui("show", "job", "3").out == labtui("show", "3").out
    assert (
        labtui("show", "trials", "3", "outcome:success").out
        == labtui("trials", "3", "outcome:success", "--order=-id").out
    )
    assert labtui("show", "compare", "3", "4").out == labtui("compare", "3", "4").out
    assert labtui("show", "new", "paper").out == labtui("submit", "paper", "--dry-run").out


def test_what_is_no_screen_is_told_in_one_sentence(
    labtui: Labtui, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, told in (
        (("kappa", "7"), "show kappa: '7' has no place here"),
        (("3", "4"), "expected one job, or a screen"),
    ):
        answer = labtui("show", *words)
        assert (answer.code, answer.out) == (2, "")
        assert told in answer.err
    answer = labtui("--plain", "--screen", "foo")
    assert answer.code == 2
    assert "invalid choice: 'foo'" in answer.err


def test_columns_stay_aligned_whatever_stands_in_them(labtui: Labtui, lab: Path) -> None:
    labtui("rename", "3", "名前 ｗｉｄｅ", "--no-wait")
    lines = labtui("jobs", "--limit", "12", "--order", "id").out.splitlines()
    heads = [i for i, char in enumerate(lines[1]) if i and char == "─" and lines[1][i - 1] == " "]
    assert len(heads) > 3
    for line in lines[2:]:
        cells = 0
        at = {}
        for char in line:
            at[cells] = char
            cells += cell_len(char)
        assert all(at.get(head - 1, " ") == " " for head in heads), line


@given(
    st.lists(
        st.tuples(st.text(max_size=60), st.integers(0, 10**9), st.text("名 ab", max_size=40)), max_size=6
    ),
    st.integers(30, 160),
)
def test_a_table_fits_its_terminal_and_stays_aligned(rows: list[tuple[str, int, str]], room: int) -> None:
    lines = grid(["name", "count", "note"], rows, right="count", room=room)
    assert len(lines) == len(rows) + 2
    assert all(cell_len(line) <= room for line in lines)
    rule = lines[1]
    for line in lines:
        cells = {sum(map(cell_len, line[:i])): char for i, char in enumerate(line)}
        assert all(cells.get(i, " ") == " " for i, char in enumerate(rule) if char == " ")


def test_the_plot_as_text_has_the_lines_of_the_screen(labtui: Labtui, lab: Path) -> None:
    with open_lab(lab) as opened:
        data = ScalingRequest(laws=True)(opened)
    axis = data.request.axis
    told = labtui("plot", "scaling", "--x", axis).out
    assert data.curves
    for curve in data.curves:
        row = next(line for line in told.splitlines() if f" {curve.label}   " in line)
        assert row.startswith(curve_sign(curve))
        assert (tail(curve, axis) in row) != trend(curve, axis), "its law holds the exponent"
        assert law_text(curve, axis) in row


@pytest.mark.parametrize("ascii", [False, True])
def test_lines_that_look_alike_have_a_letter_beside_every_sign(ascii: bool) -> None:
    """Without colour, and in ASCII, whose signs are another for each of these."""
    points = [
        Point(Series(model, "acot", "uniform", "Z_m"), length, m, n - 1, n, 10_000)
        for model, m, n in (("lstm 32", 3, 30), ("lstm 32", 5, 300), ("dense_ssm 16", 3, 3000))
        for length in (4, 8, 16)
    ]
    lines = scaling_lines(points, x="L", ascii=ascii)
    signs = ["□a", "□b", "○ "]
    legend = [line[:2] for line in lines if "acot" in line]
    assert legend == signs
    drawn = "\n".join(lines[: len(lines) - len(legend)])
    assert [drawn.count(sign.strip()) for sign in signs] == [3, 3, 3]
