"""What a terminal may send, and how it may go: in a real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from textual import events
from textual.message import Message

from labtui.tui.terminal.bursts import MOST, Bursts, in_burst
from labtui.tui.terminal.driver import MAX_HEIGHT, MAX_WIDTH, Parser, bounded
from store.read import open_lab
from tests.support import labs
from tests.tui.ptys import PATIENCE, ROOT, Terminal, environment

Start = Callable[..., Terminal]
GONE_S = 5.0 + 3.0
"""Within five seconds of the loss; three more for a machine that is shared."""


def send(t: Terminal, data: bytes) -> None:
    while data:
        data = data[os.write(t.fd, data[:4000]) :]
        t.read(0.01)


UNREADABLE = (
    b"\xe9",
    b"\xff\xfe\xe9t\xe9",
    b"\x80" * 5000,
    b"\x1b[99999999999;1u",
    b"\x1b[1114112u",
    b"\x1b[97;1;1114112u",
    b"\x1b[55296u\x1b[97;1;57343u",
    b"\x1b[48;100000;100000;0;0t\x1b[48;40;120;0;0t",
    b"\x1b[48;0;0;0;0t\x1b[<0;5;5M\x1b[<0;5;5m\x1b[48;40;120;0;0t",
    b"\x1b[<0;99999999999999999999;5M",
    b"\x1b[" + b"1" * 3000 + b"~",
    b"\x1b]52;c;" + b"A" * 3000,
    b"\x1b[200~Dy\xe9\x1b[201~",
)


def test_what_cannot_be_read_is_left_out(terminal: Start, small: Path) -> None:
    t = terminal(small, "--read-only")
    t.sees("^p palette", "dense_ssm 16")
    for data in UNREADABLE:
        send(t, data)
        t.read(0.1)
        for _ in range(3):  # whatever it opened
            t.type("\x1b")
            t.read(0.15)
        opens(t, "3", "N*_joint")
        opens(t, "1", "lengths")
    t.type("q")
    assert os.waitstatus_to_exitcode(t.ended()) == 0


def opens(t: Terminal, key: str, word: str) -> None:
    """Press a key until its screen stands: on a busy machine it may be read together with an escape."""
    end = time.monotonic() + PATIENCE
    while word not in t.text():
        assert time.monotonic() < end, t.text()
        t.type(key)
        again = time.monotonic() + 1.5
        while word not in t.text() and time.monotonic() < again:
            t.read(0.05)


PASTED = ("Dy", "Dx", "D\r", "xyAy", "pRA", "VD\ry", ":delete\ry", ":archive\r", "Nhello\r", "jS")


def test_a_plain_paste_changes_nothing(terminal: Start, small: Path, tmp_path: Path) -> None:
    lab = Path(shutil.copy(small, tmp_path / "lab.db"))

    def states() -> list[tuple[object, ...]]:
        with open_lab(lab, read_only=True) as found:
            rows = found.jobs(found.job_ids(archived=None))
            return [(r.id, r.state, r.archived, r.notes, r.priority) for r in rows]

    before = states()
    t = terminal(lab)
    t.sees("^p palette", "dense_ssm 16")
    for pasted in PASTED:
        for times in (1, 40):
            t.type(pasted * times)
            t.read(0.3)
            for _ in range(3):
                t.type("\x1b")
                t.read(0.15)
        assert states() == before, pasted
        assert labs.no_supervisor(lab), pasted
    t.settled()
    assert states() == before
    assert labs.no_supervisor(lab)


def test_a_hand_on_a_slow_link_is_asked_and_obeyed(terminal: Start, small: Path, tmp_path: Path) -> None:
    lab = Path(shutil.copy(small, tmp_path / "lab.db"))
    t = terminal(lab)
    t.sees("^p palette", "dense_ssm 16")
    t.type("jp")
    t.sees("came together with others")
    t.type("y")
    t.sees("pausing: job")


def test_a_held_key_is_typing() -> None:
    sent: list[Message] = []
    bursts = Bursts(sent.append)
    for i in range(300):
        bursts.take([events.Key("j", "j")], i * 0.001)
    assert len(sent) == 300
    assert not any(in_burst(e) for e in sent if isinstance(e, events.Key))


def test_a_flood_is_one_paste_and_nothing_of_it_is_lost() -> None:
    sent: list[Message] = []
    bursts = Bursts(sent.append)
    text = "abcdefgh" * 100
    bursts.take([events.Key(c, c) for c in text], 1.0)
    bursts.flush()
    assert [type(e) for e in sent] == [events.Key] * MOST + [events.Paste]
    assert "".join(e.character or "" if isinstance(e, events.Key) else e.text for e in sent) == text  # type: ignore[attr-defined]
    bursts.take([events.Key("a", "a")], 2.0)
    assert isinstance(sent[-1], events.Key)
    assert not in_burst(sent[-1])


def test_sizes_have_bounds() -> None:
    assert bounded(10**9, 10**9) == (MAX_WIDTH, MAX_HEIGHT)
    assert bounded(0, -3) == (1, 1)
    parser = Parser()
    list(parser.feed("\x1b[48;0;0;0;0t"))
    assert list(parser.feed("\x1b[<0;3;3M")) == []


def closing(t: Terminal) -> float:
    """Seconds from the loss of the terminal to the end of the process."""
    os.close(t.fd)
    start = time.monotonic()
    while time.monotonic() - start < 30:
        pid, status = os.waitpid(t.pid, os.WNOHANG)
        if pid:
            t.status = status
            return time.monotonic() - start
        time.sleep(0.02)
    raise AssertionError("it went on without a terminal")


@pytest.mark.parametrize("state", ["flooded", "unread", "prompt", "suspended link"])
def test_it_is_gone_soon_after_its_terminal(terminal: Start, small: Path, state: str) -> None:
    t = terminal(small, "--read-only")
    t.sees("^p palette", "dense_ssm 16")
    if state == "flooded":
        data = b"The quick brown fox\njumps over the lazy dog. " * 25_000
        end = time.monotonic() + 3
        os.set_blocking(t.fd, False)  # nobody reads what the app writes: in the end it reads no more
        while data and time.monotonic() < end:
            with suppress(BlockingIOError):
                data = data[os.write(t.fd, data[:2000]) :]
    elif state == "unread":  # nobody reads what it writes: its writer waits in the kernel
        for _ in range(400):
            os.write(t.fd, b"1\x1b[6~3\x1b[6~")
            time.sleep(0.005)
    elif state == "prompt":
        t.type("/state:")
        t.sees("filter")
    elif state == "suspended link":
        os.write(t.fd, b"\x13" + b"1357" * 30)
    assert closing(t) < GONE_S


def test_a_fault_ends_with_exit_1(small: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom labtui.tui.terminal import driver\n"
        "driver.Bursts.take = lambda self, found, now: 1 / 0 if list(found) else None\n"
        "from labtui.tui.app import run\nsys.exit(run(sys.argv[1], read_only=True))"
    )
    t = Terminal([sys.executable, "-c", code, str(small)], 120, 40, environment(tmp_path))
    try:
        t.sees("dense_ssm")
        t.type("j")
        assert os.waitstatus_to_exitcode(t.ended()) == 1
        assert "ZeroDivisionError" in t.text()
    finally:
        t.close()


def test_stderr_is_not_the_screen(small: Path, tmp_path: Path) -> None:
    log = tmp_path / "err.log"
    command = f'exec "{sys.executable}" -m labtui --lab "{small}" --read-only 2> "{log}"'
    t = Terminal(["/bin/sh", "-c", command], 120, 40, environment(tmp_path))
    try:
        t.sees("^p palette", "dense_ssm 16")
        t.type("q")
        assert os.waitstatus_to_exitcode(t.ended()) == 0
        assert log.read_text() == ""
    finally:
        t.close()


def test_looking_starts_nothing(terminal: Start, small: Path, tmp_path: Path) -> None:
    """Also where nothing forbids it: the banner says who would."""
    lab = Path(shutil.copy(small, tmp_path / "lab.db"))
    t = terminal(lab, LABTUI_NO_SUPERVISOR="")
    t.sees("no supervisor: S starts one", "^p palette")
    for key in "23451":
        t.type(key)
        t.settled()
    t.type("r")
    t.settled()
    t.type("q")
    assert os.waitstatus_to_exitcode(t.ended()) == 0
    told = subprocess.run(
        [sys.executable, "-m", "labtui", "--lab", str(lab), "daemon", "status"],
        capture_output=True, text=True, cwd=ROOT, env=environment(tmp_path), check=False,
    )  # fmt: skip
    assert "no supervisor" in told.stdout + told.stderr


def test_a_new_lab_is_told_once(terminal: Start, tmp_path: Path) -> None:
    t = terminal(tmp_path / "typo.db")
    t.sees("new lab", "typo.db", "1 Queue")
    t.type("q")
    assert os.waitstatus_to_exitcode(t.ended()) == 0
    t = terminal(tmp_path / "typo.db")
    assert "new lab" not in t.sees("^p palette")
