"""The first run in an empty folder: one key to the tour, the demo or a new lab."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labtui.cli import first_run
from labtui.cli.commands import demo, screen
from tests.cli.conftest import Labtui
from tests.tui.ptys import Terminal, environment

Start = Callable[[], Terminal]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    opened: list[Terminal] = []
    (tmp_path / "empty").mkdir()

    def begin() -> Terminal:
        command = f'cd "{tmp_path}/empty" && exec "{sys.executable}" -P -m labtui'
        opened.append(Terminal(["/bin/sh", "-c", command], 100, 30, environment(tmp_path)))
        opened[-1].sees("There is no lab in this folder yet.", "t  the tour", "d  the quick demo")
        return opened[-1]

    yield begin
    for terminal in opened:
        terminal.close()


def test_one_key_to_the_tour_which_writes_nothing(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.type("t")
    terminal.sees("transformer", "done")
    terminal.type("3")
    terminal.sees("dense_ssm 16")
    terminal.type("q")
    assert terminal.ended() == 0
    assert not list((tmp_path / "empty").iterdir())


def test_leaving_makes_no_lab(start: Start, tmp_path: Path) -> None:
    for key in ("q", "\x03", "\x1b", "zq"):
        terminal = start()
        terminal.type(key)
        assert terminal.ended() == 0
    assert not list((tmp_path / "empty").iterdir())


def test_a_new_lab_and_what_came_with_the_key_is_no_command(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.type("nq")  # a paste: the q would end the screens
    terminal.sees("new lab")
    terminal.type("q")
    assert terminal.ended() == 0
    assert (tmp_path / "empty" / "lab.db").exists()


def test_the_demo_is_what_labtui_demo_does(labtui: Labtui, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(screen, "on_terminal", lambda: True)
    monkeypatch.setattr(first_run, "ask", lambda context: "demo")
    monkeypatch.setattr(demo, "run", lambda context: begun.append(str(context.args.devices)))
    assert labtui().code == 0
    assert begun == ["None"]


def test_the_tour_as_text(labtui: Labtui, tmp_path: Path) -> None:
    answer = labtui("tour")
    assert answer.code == 0
    assert "22 done" in answer.out or "done" in answer.out
    assert not list(tmp_path.iterdir())
