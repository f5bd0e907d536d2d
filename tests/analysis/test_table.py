"""kappa over any axes: nothing is lost, nothing is counted twice."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from labtui.analysis.table import AXES, tables, varying
from store.rows import CellRow
from tests.analysis.conftest import cell, nstar


def grid() -> list[CellRow]:
    models = [("lstm", "lstm 32"), ("transformer", "transformer 2x32"), ("dense_ssm", "dense_ssm 16")]
    out = []
    for i, ((model, label), fmt, m, L) in enumerate(
        itertools.product(models, ("acot", "cot", "outcome"), (3, 10), (3, 4))
    ):
        parts = [nstar(n, 10 * n, 10 * n + 10) for n in range(2, L + 1)]
        row = cell(
            nstar(None, 90, 100), parts, id=i, model=model, model_label=label, format=fmt, m=m, task=f"Z{m}"
        )
        out.append(row)
    return out


def test_rows_columns_and_one_page_for_each_other_value() -> None:
    cells = grid()
    pages = tables(cells)
    assert [p.title for p in pages] == ["m 3, L 3", "m 3, L 4", "m 10, L 3", "m 10, L 4"]
    assert pages[0].rows == (("transformer",), ("lstm",), ("dense_ssm",))
    assert pages[0].columns == (("outcome",), ("cot",), ("acot",))
    assert pages[0].text(("lstm",), ("acot",)) == "0.70 [0.52, 0.77]"


@pytest.mark.parametrize(
    ("rows", "columns"), [("L", "m"), (("model", "format"), ("m", "L")), ("task", "model"), ("format", "L")]
)
def test_every_cell_stands_at_exactly_one_place(rows: str, columns: str) -> None:
    cells = grid()
    seen = [k.cell.id for page in tables(cells, rows, columns) for ks in page.cells.values() for k in ks]
    assert sorted(seen) == [c.id for c in cells]
    for page in tables(cells, rows, columns):
        for (row, column), ks in page.cells.items():
            for k in ks:
                for axis, value in (
                    *zip(page.row_axes, row, strict=True),
                    *zip(page.column_axes, column, strict=True),
                ):
                    assert getattr(k.cell, axis) == value
                assert all(getattr(k.cell, axis) == value for axis, value in page.fixed.items())


def test_numbers_are_in_order_of_size() -> None:
    (page, *_) = tables(grid(), "m", "L")
    assert page.rows == ((3,), (10,))


def test_axes_that_tell_the_same_stand_once() -> None:
    assert varying(grid()) == ("m", "model", "format", "L")
    s5 = cell(nstar(None, 90, 100), [nstar(2, 1, 2)], task="S5", m=None)
    d5 = cell(nstar(None, 90, 100), [nstar(2, 1, 2)], task="D5", m=None)
    assert "task" in varying([s5, d5])
    assert varying([s5]) == ()


def test_a_group_that_is_not_modular_addition_is_told_by_its_name() -> None:
    cells = [c for c in grid() if c.L == 4]
    names = {3: ("S3", None), 10: ("Z10", 10)}
    found = []
    for c in cells:
        task, m = names[c.m or 0]
        found += [c, replace(c, id=c.id + 100, task=task, m=m)]
    found += [replace(c, id=c.id + 200, task="Z5", m=5) for c in cells]
    assert "task" in varying(found)
    assert "m" not in varying(found)
    assert [p.title for p in tables(found)] == ["task Z3", "task Z5", "task Z10", "task S3"]


def test_cells_without_a_sum_are_left_out_and_doubles_shown() -> None:
    cells = [
        cell(nstar(None, 90, 100), []),
        cell(nstar(None, 9, 10), [nstar(2, 9, 10)]),
        cell(nstar(None, 9, 10), [nstar(2, 19, 20)]),
    ]
    (page,) = tables(cells)
    assert page.text(("dense_ssm",), ("acot",)) == "1.0 / 2.0"
    assert page.text(("lstm",), ("acot",)) == ""
    assert tables([]) == ()


def test_bad_axes_are_told() -> None:
    with pytest.raises(ValueError, match="the axis 'colour' does not exist; expected one of task, m, model"):
        tables(grid(), "colour", "L")
    with pytest.raises(ValueError, match="stands twice"):
        tables(grid(), "L", ("m", "L"))


def test_json_form() -> None:
    (page, *_) = tables(grid(), "model", "format")
    data = json.loads(json.dumps(page.to_dict(), allow_nan=False))
    assert len(data["cells"]) == 9
    assert set(data["fixed"]) <= set(AXES)
