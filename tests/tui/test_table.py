"""The windowed table: ids, pages and a cursor, without a terminal."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtui.tui.screens.queue import QueuePane
from labtui.tui.screens.table_pane import TablePane
from labtui.tui.screens.trials import TrialsPane
from labtui.tui.table import PAGE, Column, Window, layout, table_lines
from labtui.views import queue, trials
from labtui.views.lines import Line, changed_spans, crop, plain, size
from store.filters import JOB_ORDERS, TRIAL_ORDERS

COLUMNS = (Column("id", "id", 6, ">"), Column("name", "name", 10, grow=1), Column("more", "more", 20, rank=3))


def window(n: int, height: int = 10) -> Window[str]:
    w: Window[str] = Window(height=height)
    w.replace(array("q", range(1, n + 1)))
    w.feed((i, f"row {i}") for i in w.wanted())
    return w


def lines(w: Window[str], width: int = 40, height: int = 11) -> list[Line]:
    def cells(row: str, room: dict[str, int]) -> dict[str, Line]:
        return {"id": ((row.split()[1], ""),), "name": ((row, ""),)}

    return table_lines(w, layout(COLUMNS, width - 2), width, height, cells)


@given(
    st.lists(st.sampled_from(["up", "down", "pgdn", "pgup", "home", "end", "half"]), max_size=60),
    st.integers(0, 500),
)
def test_the_cursor_is_always_in_the_window(moves: list[str], n: int) -> None:
    w = window(n)
    for move in moves:
        {
            "up": lambda: w.move(-1),
            "down": lambda: w.move(1),
            "pgdn": lambda: w.page(1),
            "pgup": lambda: w.page(-1),
            "home": lambda: w.go(0),
            "end": lambda: w.go(-1),
            "half": lambda: w.page(0.5),
        }[move]()
        assert 0 <= w.cursor <= max(0, n - 1)
        assert w.top <= w.cursor < w.top + w.height
        assert 0 <= w.top <= max(0, n - w.height)


def test_a_huge_table_loads_only_its_pages() -> None:
    w = window(190_000)
    w.go(100_000)
    assert w.missing()
    assert len(w.wanted()) <= 4 * PAGE
    assert 100_001 in w.wanted()
    w.feed((i, f"row {i}") for i in w.wanted())
    assert not w.missing()
    assert "row 100001" in "\n".join(plain(line) for line in lines(w))


def test_cursor_and_marks_follow_their_rows() -> None:
    w = window(20)
    w.go(5)
    w.marked = {3, 6, 99}
    w.replace(array("q", [9, 6, 3, 1]))
    assert w.id == 6
    assert w.held
    assert w.marked == {3, 6}
    assert w.selection() == [6, 3]
    w.replace(array("q", [9, 3]))
    assert w.id == 3


def test_a_cursor_at_the_top_stays_there() -> None:
    w = window(3)
    w.replace(array("q", [7, 1, 2, 3]))
    assert w.id == 7


def test_lines_are_exact_and_the_scroll_bar_moves() -> None:
    w = window(200)
    first = lines(w)
    assert all(size(line) == 40 for line in first)
    w.go(-1)
    w.feed((i, f"row {i}") for i in w.wanted())
    last = lines(w)
    assert plain(first[1]).endswith("▐")
    assert plain(last[1]).endswith("│")
    assert plain(last[-1]).endswith("▐")


def test_columns_give_way_by_rank() -> None:
    assert [c.key for c, _ in layout(COLUMNS, 60)] == ["id", "name", "more"]
    assert [c.key for c, _ in layout(COLUMNS, 30)] == ["id", "name"]
    assert sum(w for _, w in layout(COLUMNS, 60)) + 4 == 60


@given(st.text(alphabet="ab ", min_size=1, max_size=40), st.text(alphabet="ab ", min_size=1, max_size=40))
def test_only_what_differs_is_sent(a: str, b: str) -> None:
    old, new = crop(((a, ""),), 40), crop(((b, ""),), 40)
    found = changed_spans(old, new, join=1)
    before, after = "".join(t for t, _ in old), "".join(t for t, _ in new)
    differing = {i for i in range(40) if before[i] != after[i]}
    assert differing <= {i for x, end in found for i in range(x, end)}
    assert all(before[x] != after[x] and before[end - 1] != after[end - 1] for x, end in found)
    assert changed_spans(old, old) == []


def test_a_narrow_column_has_the_room_that_a_wide_one_before_it_could_not_use() -> None:
    columns = (
        Column("id", "id", 4),
        Column("wide", "wide", 30, rank=1),
        Column("narrow", "narrow", 6, rank=2),
    )
    assert [c.key for c, _ in layout(columns, 20)] == ["id", "narrow"]
    assert [c.key for c, _ in layout(columns, 50)] == ["id", "wide", "narrow"]


@pytest.mark.parametrize(
    ("columns", "pane", "orders"),
    [(queue.COLUMNS, QueuePane, JOB_ORDERS), (trials.COLUMNS, TrialsPane, TRIAL_ORDERS)],
    ids=["queue", "trials"],
)
def test_what_a_heading_sorts_by_is_an_order_of_the_store_and_stands_in_the_list(
    columns: Sequence[Column], pane: type[TablePane[Any]], orders: Mapping[str, str]
) -> None:
    listed = {order.removeprefix("-") for order in pane.ORDERS}
    assert listed <= set(orders), f"{pane.__name__}.ORDERS has what store/filters.py cannot sort by"
    sorts = {column.sort for column in columns if column.sort}
    assert sorts <= listed, f"a heading sorts by what the list of s lacks: {pane.__name__}.ORDERS"
