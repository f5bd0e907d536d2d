"""What ``benchmarks.tui`` measures: a program in a pty, and two of plain Textual to compare with."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "import sys; from labtui.__main__ import main; sys.exit(main(sys.argv[1:]))"
"""What the console script ``labtui`` runs."""
STATIC = """
from textual.app import App
from textual.widgets import Static
class One(App):
    def compose(self):
        yield Static("^p palette")
One().run()
"""
DATATABLE = """
import sys
from textual.app import App
from textual.widgets import DataTable, Footer, Header
from store.read import open_lab
class Plain(App):
    BINDINGS = [("q", "quit", "^p palette")]
    def compose(self):
        yield Header(); yield DataTable(); yield Footer()
    def on_mount(self):
        self.lab = open_lab(sys.argv[1])
        self.table = self.query_one(DataTable)
        self.table.cursor_type = "row"
        names = ("job", "state", "task", "model", "format", "N", "lr", "seed", "best loss", "steps")
        self.keys = self.table.add_columns(*names)
        self.call_after_refresh(self.fill)
    def fill(self):
        if sys.argv[2] == "trials":
            ids = self.lab.trial_ids(order="-id")
            for i in range(0, len(ids), 5000):
                for t in self.lab.trials_by_id(ids[i:i + 5000]):
                    row = (t.id, t.outcome, t.job_id, "", "", t.n, t.lr, t.seed, t.best_loss, t.steps)
                    self.table.add_row(*row)
        else:
            self.rows = {}
            for j in self.lab.jobs(self.lab.job_ids()[:400]):
                cells = (j.id, j.state, j.task, j.model_label, j.format, j.hi, 0, 0, j.progress, j.candidates)
                self.rows[j.id] = self.table.add_row(*cells)
            self.version = self.lab.data_version()
            self.set_interval(0.2, self.look)
        self.title = "READY"
    def look(self):
        version = self.lab.data_version()
        if version != self.version:
            self.version = version
            for j in self.lab.jobs(list(self.rows)):
                self.table.update_cell(self.rows[j.id], self.keys[8], j.progress)
                self.table.update_cell(self.rows[j.id], self.keys[1], j.state)
Plain().run()
"""


class Child:
    """A program in a pty, and what it sends."""

    def __init__(self, arguments: list[str], home: str, **env: str) -> None:
        keep = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "LANG")}
        own = {
            "HOME": home, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT), "LABTUI_NO_SUPERVISOR": "1", "TEXTUAL_ANIMATIONS": "none",
        }  # fmt: skip
        self.born = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
            os.execve(sys.executable, [sys.executable, *arguments], keep | own | env)
        self.bytes = 0
        self.tail = b""

    def read(self, seconds: float) -> int:
        """Take in what comes, at most for this long and until there is something; how many bytes that was."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return 0
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return 0
        self.bytes += len(data)
        self.tail = (self.tail + data)[-60_000:]
        return len(data)

    def watch(self, seconds: float) -> int:
        """Take in what comes for exactly this long; how many bytes that was."""
        before, end = self.bytes, time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self.read(left)
        return self.bytes - before

    def until(self, true: Callable[[bytes], bool], seconds: float = 120.0) -> float:
        """Seconds until what was sent since now shows it."""
        start = time.perf_counter()
        while not true(self.tail):
            if time.perf_counter() - start > seconds:
                raise SystemExit(f"waited in vain; last: {self.tail[-300:]!r}")
            self.read(0.002)
        return time.perf_counter() - start

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident memory in MiB."""
        return (
            int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        )

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
