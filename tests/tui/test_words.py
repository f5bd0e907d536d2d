"""No word that is typed into a field, a line of input or a list ends the app."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from labtui.config import Settings
from labtui.tui.app import LabApp
from labtui.tui.dialogs import Chooser, Prompt
from labtui.tui.lineedit import LineEdit
from labtui.tui.screens.checking import Known, check
from labtui.tui.screens.form import SEARCH_TOML, Form, dump
from labtui.views.lines import size
from runners.presets import read_preset
from store.filters import TRIAL_FIELDS
from tests.tui.conftest import until

WORDS = (
    "12e45678", "-1e999", "9" * 5000, "0x" + "f" * 5000, "nan", "inf", "-0", "1979-05-27", "07:32:00",
    "1_000", "\u0663", "\u00b2", "true", "''", '"', '"""', "'''a", "[", "]]", "[[1, [2]], {}]", "{",
    "{ kind = 1 }", '{ kind = "lstm", hidden = 1e9 }', '{ kind = "modular_addition", m = 99999999999999 }',
    "a.b.c", ".".join("a" * 500), "[" * 2000, "= 3", "\\", "\\u0000", "#", ",", ",,,", "~", "~nosuch",
    "~root/\\", "/", "..", "/dev/zero", "/dev/full", "/dev/tty", "x" * 400, "/" * 5000, "$(date)",
    "日本語 e\u0301", "a\u200bb", "name~", "-a~b", "--", "tag:\u2028", "[bold]x[/]", "2,3," * 600,
    "lstm,lstm", "a\tb", "K>1", "kappa<1e400",
)  # fmt: skip
values = st.one_of(
    st.sampled_from(WORDS), st.text(max_size=20), st.floats().map(repr), st.integers().map(str),
    st.lists(st.integers() | st.floats() | st.text(max_size=4), max_size=4).map(str),
)  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(("quick", "search")), st.lists(st.tuples(st.integers(0, 40), values), max_size=3))
def test_no_word_in_a_field_of_the_form(which: str, typed: list[tuple[int, str]]) -> None:
    """The document stays one, its TOML is read or refused in a sentence, the field can be drawn."""
    form = Form.of(SEARCH_TOML if which == "search" else read_preset("quick"))
    for place, word in typed:
        form.cursor = 0
        form.move(place % len(form.fields))
        form.edit.set("")
        for start in range(0, len(word), 1500):
            form.edit.insert(word[start : start + 1500])
        form.commit()
        assert size(form.edit.line(30)) <= 62
        [form.text(f) for f in form.fields]
    checked = check(form.toml(), Known())
    assert "Traceback" not in checked.problem
    assert checked.problem or checked.searches


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(("sweep", "models", "job", "name", "x y", "a.b")), documents, max_size=4)
)
def test_no_document_that_an_editor_or_a_file_brings(document: dict[str, object]) -> None:
    try:
        text = dump(document)
    except (AttributeError, TypeError):  # what no TOML file can hold, None among it
        return
    try:
        form = Form.of(text)
    except ValueError:
        return
    for _ in form.fields:
        form.text(form.field)
        form.move(1)
    form.turn(1)
    check(form.toml(), Known())


@given(st.text(), st.integers(0, 60), st.integers(1, 50))
def test_a_line_of_input_keeps_its_caret_in_sight(text: str, at: int, width: int) -> None:
    edit = LineEdit(text, min(at, len(text)))
    line = edit.line(width)
    assert [style for _, style in line].count("caret") == 1
    assert cell_len(line[0][0]) < width


def test_a_long_text_is_drawn_at_once() -> None:
    word = "x" * 1_000_000
    assert size(LineEdit(word, len(word)).line(40)) == 40
    assert size(LineEdit(word, 0).line(40)) == 40


async def test_no_word_in_any_prompt_or_list(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every prompt of every screen, the palette and the lists, over a lab on the disk."""
    lab = Path(shutil.copy(small, tmp_path / "lab.db"))
    monkeypatch.chdir(tmp_path)
    app = LabApp(str(lab), settings=Settings(theme="labtui-dark"))
    app.poller.interval = 0.01
    asked: set[str] = set()

    def answer(title: str, word: str) -> None:
        prompt = app.overlays[-1]
        assert isinstance(prompt, Prompt), title
        asked.add(prompt.title_text)
        prompt.edit.set("")
        prompt.edit.insert(word)
        prompt.redraw()
        text = prompt.edit.text
        if text and prompt.check(text):
            prompt.close()
        else:
            prompt.close()
            prompt.then(text)

    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: not app.front.fresh)
        asks = {
            "queue": ("filter", "note", "tag"), "trials": ("filter",), "events": ("filter",),
            "compare": ("other_lab",), "new": ("save_toml",),
        }  # fmt: skip
        for screen, names in asks.items():
            app.show_screen(screen)
            await until(pilot, lambda: not app.front.fresh)
            for number, word in enumerate((*WORDS, *(f"{f}~{f}" for f in TRIAL_FIELDS))):
                for name in names[: None if number % 3 == 0 else 1]:
                    owner = app.commands if name in ("note", "tag") else app.front
                    getattr(owner, f"do_{name}")()
                    answer(name, word)
                if number % 8 == 0:
                    await pilot.pause()
            await until(pilot, lambda: not app.front.fresh)
        for word in WORDS:
            app.do_write_file()
            answer("write", word)
            app.show_screen("new")
            app.front._load_file()  # type: ignore[attr-defined]
            answer("file", word)
            app.do_palette()
            palette = app.overlays[-1]
            assert isinstance(palette, Chooser)
            palette.edit.insert(word)
            palette.redraw()
            palette.found()
            palette.close()
        await pilot.pause()
        for word in (*WORDS, str(lab)):
            before = app.lab_path
            app.change_lab(word)
            if app.lab_path != before:
                await until(
                    pilot, lambda: "queue" in app.panes and (bool(app.problem) or not app.front.fresh)
                )
        assert app.lab_path == str(lab)
        assert app.return_code in (None, 0)
    assert asked >= {"filter", "note", "tags", "search", "other lab", "save to", "write to", "file"}
