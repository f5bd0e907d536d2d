"""labtui in a real terminal: a pty read through pyte, and tmux where it is installed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

from tests.support.fakelab import paper_lab, small_lab

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0


class Terminal:
    """A child in a pty, its screen kept by pyte."""

    def __init__(self, command: list[str], columns: int, rows: int, env: dict[str, str]) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.received = 0
        self.raw = b""
        pid, self.fd = pty.fork()
        if pid == 0:  # pragma: no cover - the child becomes labtui
            os.chdir(ROOT)
            os.execve(command[0], command, env)
        self.pid = pid
        self.status: int | None = None
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def read(self, seconds: float = 0.05) -> None:
        """Take in what has come, for at most this long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([self.fd], [], [], left)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return
            if not data:
                return
            self.received += len(data)
            self.raw = (self.raw + data)[-200_000:]
            self.stream.feed(data.replace(b"\x1b[>25u", b"").replace(b"\x1b[<u", b""))

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, true: Callable[[str], bool]) -> str:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.read()
            if true(self.text()):
                return self.text()
        raise AssertionError(f"what was waited for did not come; the screen is:\n{self.text()}")

    def sees(self, *words: str) -> str:
        return self.until(lambda text: all(w in text for w in words))

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def ended(self) -> int:
        """Wait for the child's end; its exit status."""
        end = time.monotonic() + PATIENCE
        while self.status is None and time.monotonic() < end:
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        assert self.status is not None, "the program did not end"
        return self.status

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.fd)
        if self.status is None:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH")}
    own = {
        "HOME": str(home), "TERM": "xterm-256color", "LANG": "C.UTF-8", "LABTUI_NO_SUPERVISOR": "1", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    return kept | own | more


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(lab: Path, *options: str, columns: int = 120, rows: int = 40, **env: str) -> Terminal:
        command = [sys.executable, "-m", "labtui", "--lab", str(lab), *options]
        opened.append(Terminal(command, columns, rows, environment(tmp_path, **env)))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_lab(tmp_path_factory.mktemp("small") / "lab.db")


def copy(lab: Path, to: Path) -> Path:
    """A lab at rest may be copied as a file."""
    shutil.copy(lab, to / "lab.db")
    return to / "lab.db"


def test_a_day_at_the_bench(terminal: Callable[..., Terminal], small: Path, tmp_path: Path) -> None:
    """Look around, pause, resume, cancel, undo, submit from the form, drill from kappa to a trial, resize, quit."""
    t = terminal(copy(small, tmp_path))
    t.sees("queued", "dense_ssm 16", "^p palette")
    t.type("p")
    t.sees("pausing: job")
    t.sees("‖ paused")
    t.type("r")
    t.sees("resumed: job")
    t.type("x")
    t.sees("Cancel job")
    t.type("y")
    t.sees("takes it back")
    t.type("u")
    t.sees("taken back")
    t.type("/model:lstm done\r")
    t.until(lambda s: "filter model:lstm done" in s and "transformer 2x32" not in s)
    t.type("\x1b")
    t.until(lambda s: "filter model" not in s)
    t.type("3")
    t.sees("κ = Σ N*(n) / N*(joint)")
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
    t.sees("11 searches")
    t.type("\x13")
    t.sees("queued quick")
    t.type("q")
    assert os.waitstatus_to_exitcode(t.ended()) == 0
    assert b"\x1b[?1049l" in t.raw[-4000:]


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
    [({"LANG": "C"}, "+ done"), ({"NO_COLOR": "1"}, "✓ done"), ({"TERM": "xterm", "COLORTERM": ""}, "✓ done")],
    ids=["ascii", "no-color", "ansi"],
)
def test_poor_terminals(terminal: Callable[..., Terminal], small: Path, env: dict[str, str], sign: str) -> None:
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


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_detach_and_attach_from_another_size(small: Path, tmp_path: Path) -> None:
    socket = str(tmp_path / "tmux")

    def tmux(*words: str) -> str:
        return subprocess.run(["tmux", "-S", socket, *words], capture_output=True, text=True, timeout=20).stdout

    def until(*words: str) -> str:
        end = time.monotonic() + PATIENCE
        text = ""
        while time.monotonic() < end:
            text = tmux("capture-pane", "-p", "-t", "lab")
            if all(w in text for w in words):
                return text
            time.sleep(0.05)
        raise AssertionError(f"not seen: {words}\n{text}")

    env = [f"{k}={v}" for k, v in environment(tmp_path, TERM="screen-256color").items()]
    command = ["env", "-i", *env, sys.executable, "-m", "labtui", "--lab", str(small), "--read-only"]
    tmux("-f", "/dev/null", "new-session", "-d", "-s", "lab", "-x", "120", "-y", "40", *command)
    try:
        until("^p palette", "bracket")
        tmux("resize-window", "-t", "lab", "-x", "80", "-y", "24")
        text = until("^p palette", "dense_ssm 16")
        assert max(map(len, text.splitlines())) <= 80
        tmux("resize-window", "-t", "lab", "-x", "200", "-y", "50")
        until("bracket", "grid", "device")
        tmux("send-keys", "-t", "lab", "q")
        end = time.monotonic() + PATIENCE
        while "lab" in tmux("list-sessions") and time.monotonic() < end:
            time.sleep(0.05)
        assert "lab" not in tmux("list-sessions")
    finally:
        tmux("kill-session", "-t", "lab")


def test_a_change_sends_its_cells_not_its_row(terminal: Callable[..., Terminal], small: Path, tmp_path: Path) -> None:
    lab = copy(small, tmp_path)
    t = terminal(lab)
    t.sees("^p palette", "dense_ssm 16")
    t.read(1.5)
    before = t.received
    with contextlib.closing(sqlite3.connect(lab, isolation_level=None)) as connection:
        connection.execute("UPDATE job SET priority = 7, notes = 'seen' WHERE id = 9")
    t.sees("seen")
    t.read(0.5)
    assert t.received - before < 600
