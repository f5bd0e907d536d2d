"""The Kappa screen's axes and its forest, without a terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from labtui.analysis.table import tables
from labtui.tui.screens.kappa import KappaRequest
from labtui.views.forest import LABEL, forest
from labtui.views.kappa import (
    best,
    cell_lines,
    choose_axes,
    laid_out,
    name,
    proof,
    sharing,
    terms_plot,
)
from labtui.views.lines import plain, size
from labtui.views.numbers import ratio
from labtui.views.signs import model_sign
from store.rows import CellRow, NStar
from tests.tui.fake import small_lab

PATTERN = next(c for c in small_lab().cell_rows if c.parts)


def cell(i: int, m: int, model: str, format: str, length: int) -> CellRow:
    return replace(
        PATTERN,
        id=i,
        task=f"Z{m}",
        m=m,
        model=model,
        model_label=f"{model} 16",
        format=format,
        L=length,
        min_length=2,
    )


studies = st.lists(
    st.tuples(
        st.sampled_from([2, 3, 5]), st.sampled_from(["transformer", "lstm"]),
        st.sampled_from(["cot", "acot"]), st.sampled_from([5, 7, 10]),
    ),
    min_size=1, max_size=14, unique=True,
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(studies)
def test_a_layout_counts_the_pages_and_places_that_its_tables_have(
    rows: list[tuple[int, str, str, int]],
) -> None:
    cells = [cell(i, *row) for i, row in enumerate(rows)]
    found, liked = laid_out(cells)
    assert 1 <= liked <= len(found)
    assert len({one.axes for one in found}) == len(found)
    for one in found:
        made = tables(cells, *one.axes)
        assert one.pages == len(made)
        assert one.filled == sum(len(t.cells) for t in made)
        assert one.places == sum(len(t.rows) * len(t.columns) for t in made)
    assert best(found[:liked]).filled > 0


def test_any_two_axes_that_differ_can_be_rows_and_columns() -> None:
    cells = [
        cell(i, m, model, "cot", 5 + i)
        for i, (m, model) in enumerate((m, k) for m in (2, 3) for k in ("lstm", "gru"))
    ]
    found, _ = laid_out(cells)
    pairs = {one.axes for one in found if len(one.rows) == 1}
    wanted = {"model_label", "m", "L"}
    assert {((a,), (b,)) for a in wanted for b in wanted - {a}} <= pairs


def test_the_first_table_is_no_sparse_one() -> None:
    """Each model and format at a length of its own: lengths as columns would leave half of the
    places empty.
    """

    class Lab:
        def cells(self, study: int | None = None) -> list[CellRow]:
            rows = [
                (3, "transformer", "cot", 6),
                (3, "transformer", "acot", 7),
                (3, "lstm", "cot", 7),
                (3, "lstm", "acot", 6),
            ]
            return [cell(i, *row) for i, row in enumerate(rows)]

    data = KappaRequest()(Lab())
    assert data.request.axes == (("model_label",), ("format",))
    assert [row[0] for row in data.tables[0].rows] == ["transformer 16", "lstm 16"]
    other = KappaRequest(axes=(("L",), ("format",)))(Lab())
    assert other.tables[0].row_axes == ("L",)


def test_the_forest_stands_around_one() -> None:
    kappas = [sharing(c) for c in small_lab().cell_rows if c.parts]
    told = kappas
    lines = forest(kappas, 100, 40, told[0].cell.id)
    assert len(lines) == len(told) + 2
    assert all(size(line) <= 100 for line in lines)
    text = [plain(line) for line in lines]
    one = LABEL + 1 + (100 - LABEL - 1 - 1 + 1) // 2
    at = text[-1].index(" 1 ", LABEL) + 1
    assert abs(at - one) <= 1
    for kappa, line, styled in zip(told, text[1:], lines[1:], strict=False):
        value = {"complete": kappa.value, "lower_bound": kappa.low, "upper_bound": kappa.high}.get(
            kappa.status
        )
        drawn = [i for i, char in enumerate(line) if i > LABEL and char in "◆├┤"]
        assert len(drawn) == (value is not None)  # a pending one keeps its row, dim
        if value is not None:
            assert (drawn[0] >= at) == (value >= 1) or abs(drawn[0] - at) <= 1
        marks = {
            style.removeprefix("cursor ").split()[0] for text, style in styled if set(text) & set("◆├┤━╌")
        }
        assert marks <= {{"shared": "more", "interference": "less"}.get(kappa.regime or "", "strong")}


def test_the_parts_on_the_screen_give_the_kappa_on_the_screen() -> None:
    for cell in small_lab().cell_rows:
        found = sharing(cell) if cell.parts else None
        if found is None:
            continue
        total, formula = proof(found)
        assert bool(formula) == (found.status in ("complete", "lower_bound", "upper_bound"))
        if found.status == "complete":
            hi = [t.hi or 0 for t in found.terms]
            assert total == f"Σ {sum(hi):,}"
            assert formula == f"κ = {sum(hi):,} / {found.cell.joint.hi:,} = {ratio(found.value)}"


def test_estimates_are_summed_where_kappa_is_made_of_them() -> None:
    parts = tuple(part(n, lo=19, hi=20, estimate=(28.0, 20.8, 33.7)) for n in (2, 3))
    joint = part(None, lo=30, hi=36, estimate=(34.0, 30.0, 40.0))
    found = sharing(replace(PATTERN, parts=parts, joint=joint, L=3, min_length=2))
    assert proof(found) == ("Σ 56", "κ = 56 / 34 = 1.6")
    parts = tuple(part(n, lo=60, hi=90, estimate=(v, 60.0, 90.0)) for n, v in ((2, 75.4), (3, 77.4)))
    joint = part(None, lo=3, hi=4, estimate=(382.0, 300.0, 450.0))
    found = sharing(replace(PATTERN, parts=parts, joint=joint, L=3, min_length=2))
    assert proof(found) == ("Σ 152", "κ = 152 / 382 = 0.40")  # of the numbers that stand above it
    parts = tuple(part(n, lo=2, hi=3, estimate=(2.4, 2.0, 3.0)) for n in (2, 3))
    joint = part(None, lo=3, hi=4, estimate=(3.0, 2.0, 4.0))
    found = sharing(replace(PATTERN, parts=parts, joint=joint, L=3, min_length=2))
    assert proof(found) == ("Σ 4.8", "κ = 4.8 / 3.0 = 1.6")  # where those would give another kappa


def test_a_kappa_of_estimates_tells_each_n50_and_draws_what_it_tells() -> None:
    told = {"estimate": (28.0, 20.8, 33.7), "n50": (40.0, 30.0, 51.0)}
    parts = tuple(part(n, lo=19, hi=20, **told) for n in (2, 3))
    found = sharing(replace(PATTERN, parts=parts, joint=part(None, lo=30, hi=36), L=3, min_length=2))
    assert [t.n50 for t in found.terms] == [told["n50"]] * 2
    text = "\n".join(cell_lines(found))
    assert "N_50" in text
    assert text.count("40 [30, 51]") == 2
    without = sharing(
        replace(PATTERN, parts=(part(2, lo=400, hi=500), part(3, lo=400, hi=500)), min_length=2)
    )
    assert "N_50" not in "\n".join(cell_lines(without))
    rows = [plain(line) for line in terms_plot(without, 60, 20)]
    sign = next(i for i, row in enumerate(rows) if model_sign(PATTERN.model) in row)
    bars = [i for i, row in enumerate(rows) if set(row) & set("┃╹╻")]
    assert bars
    assert min(bars) >= sign  # the sign at the N* that is told, the bracket below it


def part(n: int | None, **changes: Any) -> NStar:
    return PATTERN.joint._replace(n=n, state="done", status="bracket", flags=(), **changes)


def test_a_fresh_table_begins_with_the_same_axes_in_both_places() -> None:
    cells = [c for c in small_lab().cell_rows if c.parts]

    class Lab:
        def cells(self, study: int | None = None) -> list[CellRow]:
            return cells

    assert KappaRequest()(Lab()).request.axes == choose_axes(cells, None, None)


def test_a_short_forest_counts_what_does_not_fit() -> None:
    kappas = [sharing(c) for c in small_lab().cell_rows if c.parts]
    told = kappas
    short = forest(kappas, 100, 4, told[-1].cell.id)
    assert len(short) == 4
    assert f"of {len(told)}" in plain(short[0])
    first = forest(kappas, 100, 4)  # what is known first where not all is in sight
    known = next(k for k in kappas if k.status in ("complete", "lower_bound", "upper_bound"))
    assert name(known.cell)[:20] in plain(first[1])
    airy = forest(kappas, 100, 2 * len(kappas) + 1)
    assert len(airy) == 2 * len(kappas) + 1
    assert forest([], 100, 40) == []
