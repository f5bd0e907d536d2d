"""The New screen with a program's spec from a file: what it shows, the question, the answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labtui.tui.screens.form import Form
from runners.spec import parse
from store.read import open_lab
from store.write import create_or_open
from tests.programs.conftest import HEAD, REPORTS, TAIL
from tests.programs.test_spec import SHARING, SWEPT
from tests.support import labs
from tests.tui.ptys import Terminal, environment

ENTER, DOWN, UP, CTRL_O, CTRL_S = "\r", "\x1b[B", "\x1b[A", "\x0f", "\x13"


@pytest.fixture
def new(tmp_path: Path, lab_path: Path) -> Iterator[Terminal]:
    """The screen in a terminal, with the spec of a program loaded from another folder."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "train.sh").write_text(REPORTS)
    (folder / "study.toml").write_text('name = "mine"\n' + HEAD + TAIL)
    create_or_open(lab_path)
    command = [sys.executable, "-m", "labtui", "--lab", str(lab_path), "--screen", "new"]
    terminal = Terminal(command, 120, 40, environment(tmp_path))
    try:
        terminal.sees("preset quick", "searches")
        terminal.type(CTRL_O)
        terminal.sees("Start from")
        terminal.type(UP + ENTER)
        terminal.type(f"{folder / 'study.toml'}{ENTER}")
        terminal.sees("threshold", '"sh", "train.sh"', "1 searches")
        yield terminal
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("keys", "queued", "allowed"), [("", 0, False), (DOWN, 1, False), (DOWN * 2, 1, True)]
)
def test_a_program_is_submitted_after_a_question(
    keys: str, queued: int, allowed: bool, new: Terminal, tmp_path: Path, lab_path: Path
) -> None:
    new.type(CTRL_S)
    new.sees("May this run on this machine, as you?", "sh train.sh {n} {seed} {lr}", str(tmp_path)[:20])
    new.type(keys + ENTER)
    new.until(lambda screen: "May this run" not in screen)
    with open_lab(lab_path) as lab:
        if queued:
            labs.wait(lambda: len(lab.jobs()) or lab.pending_commands(), what="a search")
        assert bool(len(lab.jobs()) or lab.pending_commands()) == bool(queued)
    assert (tmp_path / ".config" / "labtui" / "allowed.json").exists() == allowed


@pytest.mark.parametrize(
    "text",
    [
        'name = "mine"\n' + HEAD + 'env = {DEPTH = "3"}\nfiles = ["train.sh"]\n' + TAIL,
        'name = "s"\n' + SWEPT + "[[sweep]]\nsize = [1, 2]\n" + SHARING + TAIL,
        'name = "s"\n' + SWEPT + "[[sweep]]\ndataset = ['a', 'b']\nsize = 1\n" + TAIL,
    ],
)
def test_the_form_writes_what_it_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text(REPORTS)
    form = Form.of(text)
    for _ in form.fields:
        form.move(1)
        form.commit()
    assert parse(form.toml(), folder=tmp_path) == parse(text, folder=tmp_path)
