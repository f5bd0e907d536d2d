"""Lines of spans: whatever is cut says so."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labtui.views.lines import Line, crop, plain, size

texts = st.text("ab é名 ", max_size=12)


@given(st.lists(st.tuples(texts, st.just("")), max_size=4), st.integers(0, 30))
def test_a_line_is_cropped_to_its_cells_and_says_so(spans: list[tuple[str, str]], width: int) -> None:
    line: Line = tuple(spans)
    cut = crop(line, width)
    assert size(cut) == width
    whole = plain(line)
    if size(((whole, ""),)) > width > 0:
        assert "…" in plain(cut)
    else:
        assert "…" not in plain(cut)
        assert plain(cut) == whole or width == 0


def test_a_cut_label_is_not_another_model() -> None:
    assert plain(crop((("▲ ", "model.lstm"), ("transformer 6x256", "")), 16)) == "▲ transformer 6…"
    assert plain(crop((("8 tried", ""), (", 64s", "")), 7)) == "8 trie…"
