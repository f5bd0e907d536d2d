"""The editor on a spec, in a real terminal: whatever it is, the form stays whole and nothing outlives the
terminal.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.tui.ptys import PATIENCE, Terminal

Start = Callable[..., Terminal]


BROKEN = (
    ("nosuch", "there is no program 'nosuch' here"),
    ('a "b', "which cannot be read"),
    ("", "EDITOR is not set and there is no vi here"),
    ("false", "ended with exit code 1; nothing was changed"),
    ("/", "there is no program '/' here"),
    ("rm -f", "what the editor left cannot be read"),
    ("sh -c 'rm $0; mkfifo $0'", "what the editor left cannot be read (it is no file)"),
    ("sh -c 'ln -sf /dev/zero $0'", "what the editor left cannot be read (it is no file)"),
    ("sh -c 'kill -9 $$' --", "was ended by SIGKILL"),
    ("sh -c 'printf \"\\377\" > $0'", "it is not UTF-8"),
    ("sh -c 'echo \"[x\" > $0'", "not valid TOML"),
)


@pytest.mark.parametrize(
    ("editor", "told"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (i % 4 > 0)) for i, case in enumerate(BROKEN)],
)
def test_an_editor_that_does_not_work_costs_a_sentence(
    terminal: Start, small: Path, tmp_path: Path, editor: str, told: str
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "rm", "false", "mkfifo", "ln"):
        (tools / name).symlink_to(shutil.which(name) or "")
    t = terminal(small, "--read-only", "--screen", "new", EDITOR=editor, PATH=str(tools))
    t.sees("8 searches")
    t.type("\x05")
    t.sees(told, "8 searches")
    t.type("\x1b")
    t.sees("^p palette", "dense_ssm 16")
    t.type("q")
    assert os.waitstatus_to_exitcode(t.ended()) == 0


def test_what_an_editor_leaves_becomes_the_form(terminal: Start, small: Path, tmp_path: Path) -> None:
    script = tmp_path / "two words.sh"
    change = """-e 's/^name = .*/name = "mine"/' -e 's/^notes = .*/notes = "one\\\\ntwo"/'"""
    script.write_text(f'#!/bin/sh\nsed -i {change} "$1"\n')
    script.chmod(0o755)
    t = terminal(small, "--read-only", "--screen", "new", EDITOR=f"'{script}'")
    t.sees("8 searches")
    t.type("\x05")
    t.sees('name = "mine"', 'notes = "one\\ntwo"')
    t.type("\x1b[B")  # to the notes, whose two lines stay two
    t.sees("one↵two")
    t.type("s")
    t.sees('notes = "one\\ntwos"')


def test_an_open_editor_goes_with_its_terminal(terminal: Start, small: Path, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = tmp_path / "deaf.sh"
    script.write_text(
        f"#!/bin/sh\ntrap '' HUP TERM INT\necho $$ > {mark}.part; mv {mark}.part {mark}\n"
        "while :; do sleep 1; done\n"
    )
    script.chmod(0o755)
    t = terminal(small, "--read-only", "--screen", "new", EDITOR=str(script))
    t.sees("8 searches")
    t.type("\x05")
    t.until(lambda _: mark.exists())
    editor = psutil.Process(int(mark.read_text()))
    os.close(t.fd)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and (editor.is_running() or t.status is None):
        pid, status = os.waitpid(t.pid, os.WNOHANG) if t.status is None else (0, 0)
        t.status = status if pid else t.status
        time.sleep(0.05)
    assert not editor.is_running()
    assert t.status is not None
