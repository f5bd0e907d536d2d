"""labtui in a real terminal: a pty read through pyte, and tmux where it is installed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from store.locks import write_lock
from store.paths import LabPaths
from store.write import create_or_open
from tests.support import labs
from tests.support.fakelab import paper_lab
from tests.tui.ptys import PATIENCE, Terminal, environment


def copy(lab: Path, to: Path) -> Path:
    """A lab at rest may be copied as a file."""
    shutil.copy(lab, to / "lab.db")
    return to / "lab.db"


def test_a_day_at_the_bench(terminal: Callable[..., Terminal], small: Path, tmp_path: Path) -> None:
    """Look around, pause, resume, cancel, undo, submit from the form, drill from kappa to a trial,
    resize, quit.
    """
    t = terminal(copy(small, tmp_path))
    t.sees("queued", "dense_ssm 16", "^p palette")
    t.type("j")  # the failed search stands first; the next one is queued
    t.sees("p pause")
    t.type("p")
    t.sees("pausing: job")
    t.sees("‖ paused")
    t.type("r")
    t.sees("resumed: job")
    t.type("x")
    t.sees("Cancel job")
    t.type("y")
    t.sees("cancelling: job")  # the question too says that u takes it back
    t.type("u")
    t.sees("taken back")
    t.type("/model:lstm done\r")
    t.until(lambda s: "filter model:lstm done" in s and "transformer 2x32" not in s)
    t.type("\x1b")
    t.until(lambda s: "filter model" not in s)
    t.type("3")
    t.sees("κ = Σ N*_n / N*_joint")
    t.type("\r")
    t.type("\r")
    t.sees("candidates", "validation loss")
    t.type("T")
    t.sees("trials", "best loss")
    t.type("c")
    t.sees("validation", "training")
    t.resize(60, 16)
    t.until(lambda s: "trials" in s and len(s.splitlines()) == 16)
    t.resize(50, 12)
    t.sees("60 x 16")
    t.resize(120, 40)
    t.sees("best loss")
    t.type("6")
    t.sees("8 searches")
    t.type("\x13")
    t.sees("queued quick")
    t.type("q")
    assert os.waitstatus_to_exitcode(t.ended()) == 0
    assert b"\x1b[?1049l" in t.raw[-4000:]


def test_a_search_is_submitted_watched_paused_resumed_and_cancelled(
    terminal: Callable[..., Terminal], lab_path: Path
) -> None:
    """From the form to a real supervisor; only its trainer trains nothing."""
    create_or_open(lab_path)
    with labs.supervisor(lab_path, until_empty=False, env={"STANDIN_EVAL_S": "0.1", "STANDIN_EVALS": "1000"}):
        t = terminal(lab_path)
        t.sees("The bench is clear", "● idle")
        t.type("n")
        t.sees("8 searches")
        t.type("\x13")
        t.sees("● at work", "▶ running")
        first = t.text()
        t.until(lambda s: re.findall(r"\d+%", s) != re.findall(r"\d+%", first))
        t.type("\r")
        t.sees("candidates", "▶ running on", "validation loss")
        t.type("\x1b")  # alone: together with the next key it would be alt+p
        t.until(lambda s: "validation loss" not in s and "▶ running" in s)
        t.type("p")
        t.sees("‖ 1 paused", "‖ paused")
        t.type("r")
        t.until(lambda s: "paused" not in s.replace("resumed", ""))
        t.type("x")
        t.sees("Cancel job")
        t.type("y")
        t.sees("cancelled")
        t.type("u")
        t.sees("taken back: job")
        t.until(lambda s: "cancelled" not in s)
        t.type("q")
        assert os.waitstatus_to_exitcode(t.ended()) == 0


def test_a_lost_connection_ends_the_app(terminal: Callable[..., Terminal], small: Path) -> None:
    t = terminal(small, "--read-only")
    t.sees("^p palette")
    os.close(t.fd)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        pid, status = os.waitpid(t.pid, os.WNOHANG)
        if pid:
            t.status = status
            return
        time.sleep(0.05)
    raise AssertionError("it went on without a terminal")


def test_idle_sends_nothing(terminal: Callable[..., Terminal], small: Path) -> None:
    t = terminal(small, "--read-only")
    t.sees("^p palette", "dense_ssm 16")
    t.read(1.5)
    before = t.received
    t.read(2.0)
    assert t.received == before


@pytest.mark.parametrize(
    ("env", "sign"),
    [
        ({"LANG": "C"}, "+ done"),
        ({"NO_COLOR": "1"}, "✓ done"),
        ({"TERM": "xterm", "COLORTERM": ""}, "✓ done"),
    ],
    ids=["ascii", "no-color", "ansi"],
)
def test_poor_terminals(
    terminal: Callable[..., Terminal], small: Path, env: dict[str, str], sign: str
) -> None:
    t = terminal(small, "--read-only", columns=80, rows=24, **env)
    text = t.sees(sign, "^p palette")
    if "LANG" in env:
        assert text.isascii()
    body = t.raw[t.raw.find(b"dense_ssm") - 2000 :]
    assert b"\x1b[38;2" not in body
    if "LANG" not in env:
        assert b"38;5;" not in body
    if "NO_COLOR" in env:
        assert b"\x1b[3" + b"2m" not in body


@pytest.mark.slow
def test_190_000_trials_without_a_pause(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    lab = paper_lab(tmp_path / "paper.db", with_curves=False)
    t = terminal(lab, "--read-only")
    t.sees("^p palette")
    t.type("5")
    t.sees("182,460 trials")
    t.type("G")
    t.sees("182,460 of 182,460")
    t.type("/outcome:success L>=10\r")
    t.until(lambda s: "filter outcome:success" in s and "182,460 trials" not in s and " trials" in s)
    t.type("3")
    t.sees("N*_joint")
    t.type("\r")
    t.sees("N*_n")
    t.type("\r")
    t.sees("candidates")
    t.type("T")
    t.sees("best loss", "filter id:")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_detach_and_attach_from_another_size(small: Path, tmp_path: Path) -> None:
    """Two terminals, one after the other, on one tmux; labtui lives on in between."""
    socket = ["tmux", "-S", str(tmp_path / "tmux"), "-f", "/dev/null"]
    env = environment(tmp_path)
    inner = [f"{k}={v}" for k, v in (env | {"TERM": "screen-256color"}).items()]
    command = ["env", "-i", *inner, sys.executable, "-m", "labtui", "--lab", str(small), "--read-only"]
    tmux = shutil.which("tmux") or ""
    first = Terminal([tmux, *socket[1:], "new-session", "-s", "lab", *command], 120, 40, env)
    second = None
    try:
        first.sees("^p palette", "lengths", "time")
        first.type("\x02d")
        assert os.waitstatus_to_exitcode(first.ended()) == 0
        second = Terminal([tmux, *socket[1:], "attach-session", "-t", "lab"], 80, 24, env)
        text = second.sees("^p palette", "dense_ssm 16")
        assert max(map(len, text.splitlines())) <= 80
        second.resize(200, 50)
        second.sees("lengths", "task", "^p palette")
        second.type("q")
        assert (
            os.waitstatus_to_exitcode(second.ended()) == 0
        )  # the last program of the last session: tmux ends too
    finally:
        subprocess.run([*socket, "kill-server"], capture_output=True, timeout=20, check=False)
        for client in (first, second):
            if client is not None:
                client.close()


def test_a_change_sends_its_cells_not_its_row(
    terminal: Callable[..., Terminal], small: Path, tmp_path: Path
) -> None:
    lab = copy(small, tmp_path)
    t = terminal(lab)
    t.sees("^p palette", "dense_ssm 16")
    t.read(1.5)
    before = t.received
    with contextlib.closing(sqlite3.connect(lab, isolation_level=None)) as connection:
        connection.execute("UPDATE job SET state = 'paused' WHERE id = 9")
    t.sees("‖ paused")
    t.read(0.5)
    assert t.received - before < 1_000  # the row's state, and its counts in header, banner and strip


def test_a_verb_that_waits_for_another_process_says_so_and_the_screen_goes_on(
    terminal: Callable[..., Terminal], small: Path, tmp_path: Path
) -> None:
    lab = copy(small, tmp_path)
    paths = LabPaths(lab)
    paths.make_folder()
    t = terminal(lab)
    t.sees("^p palette", "dense_ssm 16")
    with write_lock(paths):
        t.type("H")
        t.sees(f"waiting up to 30 s for process {os.getpid()}")
        t.type("3")
        t.sees("N*_joint")  # another screen opens meanwhile
    t.sees("holding: nothing new starts")


def test_a_dialog_stands_in_the_terminal_whatever_its_size_was(
    terminal: Callable[..., Terminal], small: Path
) -> None:
    def whole(text: str) -> bool:
        return any("Paper: keys ─" in line and line.endswith(" %") for line in text.splitlines())

    opened = terminal(small, "--read-only", "--screen", "paper")
    opened.sees("does the paper hold?")
    opened.type("?")
    for columns, rows in ((100, 30), (80, 24), (60, 16), (120, 40)):
        opened.until(whole)
        opened.resize(columns, rows)
    opened.until(whole)
