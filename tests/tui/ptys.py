"""A program in a pty, its screen kept by pyte: the terminal of these tests."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

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

    def settled(self) -> str:
        """The screen once nothing has come for half a second: an idle one sends nothing."""
        end, received = time.monotonic() + PATIENCE, -1
        while time.monotonic() < end and received != self.received:
            received = self.received
            self.read(0.5)
        return self.text()

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

    def stopped(self) -> None:
        """Wait until the child is suspended."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if pid:
                assert os.WIFSTOPPED(status)
                return
        raise AssertionError("it was not suspended")

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
        "HOME": str(home), "TERM": "xterm-256color", "LANG": "C.UTF-8", "LABTUI_NO_SUPERVISOR": "1",
        "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    return kept | own | more
