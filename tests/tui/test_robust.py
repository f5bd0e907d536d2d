"""A screen that is open for weeks: its lab moves, its terminal shrinks, its supervisor dies,
names are hostile.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labtui.tui.actions import SCREENS
from runners.pool import client as supervisor
from store import commands
from tests.tui.conftest import Opened, seen, until
from tests.tui.fake import small_lab
from tests.tui.ptys import Terminal

Start = Callable[..., Terminal]


def test_the_lab_moves_and_comes_back(terminal: Start, small: Path, tmp_path: Path) -> None:
    lab = Path(shutil.copy(small, tmp_path / "lab.db"))
    t = terminal(lab)
    t.sees("^p palette", "dense_ssm 16")
    lab.rename(tmp_path / "elsewhere.db")
    t.sees("there is no lab at", "dense_ssm 16")  # what was known stays in sight
    lab.write_bytes(b"no lab at all" * 400)
    t.sees("is not a lab")
    lab.unlink()
    (tmp_path / "elsewhere.db").rename(lab)
    t.until(lambda s: "no supervisor" in s and "is not a lab" not in s)
    t.type("q")
    assert os.waitstatus_to_exitcode(t.ended()) == 0


def test_down_to_one_cell_and_back(terminal: Start, small: Path) -> None:
    t = terminal(small, "--read-only")
    t.sees("^p palette", "dense_ssm 16")
    before = t.settled()
    for size in ((1, 1), (1, 40), (200, 1), (59, 16), (60, 15)):
        t.resize(*size)
        t.until(lambda s: "dense_ssm" not in s and bool(s.strip()))
    t.resize(60, 16)
    t.sees("^p palette", "dense_ssm")
    t.resize(120, 40)
    t.until(lambda s: s == before)


@pytest.mark.slow
def test_the_supervisor_is_killed_and_started_again(terminal: Start, small: Path, tmp_path: Path) -> None:
    lab = Path(shutil.copy(small, tmp_path / "lab.db"))
    commands.hold(lab)  # it runs, but trains nothing
    t = terminal(lab)
    t.sees("S starts one")
    try:
        t.type("S")
        t.sees("● holding")
        pid = supervisor.status(lab).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        t.sees("the supervisor is gone", "S starts one")
        t.type("S")
        t.until(lambda s: "● holding" in s and "is gone" not in s)
        t.type("q")
        assert os.waitstatus_to_exitcode(t.ended()) == 0
        assert supervisor.is_running(lab)  # quitting the screen stops nothing
    finally:
        supervisor.stop(lab)


EVIL = (
    "[bold red]x[/]\x1b[2J\x1b]52;c;QUJD\x07\u202e\u2066abc\n\u0301\u0301\u0301\u0301"
    "日本語\U0001f469\u200d\U0001f52c" + "long " * 2000
)


async def test_hostile_text_in_every_field_of_every_screen(opened: Opened) -> None:
    lab = small_lab()
    lab.rows = [
        replace(r, name=EVIL, notes=EVIL, tags=(EVIL,), reason=EVIL, device=EVIL, model_label=EVIL, task=EVIL)
        for r in lab.rows
    ]
    lab.study_rows = [replace(s, name=EVIL, notes=EVIL, tags=(EVIL,)) for s in lab.study_rows]
    lab.event_rows = [replace(e, text=EVIL, kind=EVIL) for e in lab.event_rows]
    lab.cell_rows = [replace(c, task=EVIL, model_label=EVIL) for c in lab.cell_rows]
    lab.probe_rows = [replace(p, device=EVIL, slot=EVIL) for p in lab.probe_rows]
    lab.notice = EVIL
    for size in ((120, 40), (60, 16)):
        async with opened(size, lab=lab) as (app, pilot, _):
            for screen in SCREENS:
                app.show_screen(screen)
                await until(pilot, lambda: not app.front.fresh)
                await pilot.press("enter", "escape")
                text = seen(app)
                assert all(c.isprintable() or c == "\n" for c in text), screen
                assert "\u0301\u0301\u0301" not in text
