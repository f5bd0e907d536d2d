"""What the terminal costs: ``python -m benchmarks.tui [--quick] [--json OUT]``, in a pty at 120x40, never in a pipe.

First paint (header, table heading, footer), bytes and CPU idle, busy and paging through 190,000 trials, the time from a commit
to the screen; each for labtui and, in the same run, for an App with one Static and for the same table in Textual's DataTable.
Ratios count: the times are those of a loaded machine.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import select
import signal
import sqlite3
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
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
        self.keys = self.table.add_columns("job", "state", "task", "model", "format", "N", "lr", "seed", "best loss", "steps")
        self.call_after_refresh(self.fill)
    def fill(self):
        if sys.argv[2] == "trials":
            ids = self.lab.trial_ids(order="-id")
            for i in range(0, len(ids), 5000):
                for t in self.lab.trials_by_id(ids[i:i + 5000]):
                    self.table.add_row(t.id, t.outcome, t.job_id, "", "", t.n, t.lr, t.seed, t.best_loss, t.steps)
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
            "HOME": home, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT),
            "LABTUI_NO_SUPERVISOR": "1", "TEXTUAL_ANIMATIONS": "none",
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
        """Take in what comes for this long; how many bytes that was."""
        before, end = self.bytes, time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                break
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                break
            self.bytes += len(data)
            self.tail = (self.tail + data)[-60_000:]
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
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def labtui(lab: Path, *more: str) -> list[str]:
    screen = f", screen={more[0]!r}" if more else ""
    return ["-c", f"from labtui.app import run; run({str(lab)!r}{screen})"]


def first_paint(lab: Path, home: str, rounds: int) -> dict[str, float]:
    """Milliseconds from exec to header, heading and footer; the two in turns, so that load hits both."""
    ours, static = [], []
    for _ in range(rounds):
        for arguments, sees, out in (
            (["-c", STATIC], (b"palette",), static),
            (labtui(lab), (b"labtui", b"bracket", b"palette"), ours),
        ):
            child = Child(arguments, home)
            child.until(lambda tail, sees=sees: all(word in tail for word in sees))
            out.append((time.perf_counter() - child.born) * 1000)
            child.close()
    a, b = statistics.median(ours), statistics.median(static)
    ratio = statistics.median(x / y for x, y in zip(ours, static, strict=True))
    return {"labtui_ms": a, "static_ms": b, "ratio": ratio}


def commit(lab: sqlite3.Connection, progress: float, jobs: list[int]) -> None:
    """What the supervisor does many times a second: progress of running probes."""
    lab.execute("BEGIN IMMEDIATE")
    lab.executemany("UPDATE job SET progress = ? WHERE id = ?", [(progress, j) for j in jobs])
    lab.execute("COMMIT")


def traffic(arguments: list[str], ready: bytes, home: str, lab: Path, seconds: float) -> dict[str, float]:
    """Bytes per second and CPU: idle, and with eight searches moving twice a second; then commit to screen."""
    with sqlite3.connect(lab, isolation_level=None) as connection:
        running = [row[0] for row in connection.execute("SELECT id FROM job WHERE state = 'running' LIMIT 8")]
        child = Child(arguments, home)
        child.until(lambda tail: ready in tail)
        child.read(3.0)
        cpu, start = child.cpu(), time.perf_counter()
        idle = child.read(seconds) or 0
        while time.perf_counter() - start < seconds:
            idle += child.read(seconds - (time.perf_counter() - start))
        idle_cpu = (child.cpu() - cpu) / (time.perf_counter() - start)
        cpu, start, busy, i = child.cpu(), time.perf_counter(), 0, 0
        while time.perf_counter() - start < seconds:
            i += 1
            commit(connection, 0.1 + (i * 0.013) % 0.8, running)
            busy += _during(child, 0.5)
        took = time.perf_counter() - start
        busy_cpu = (child.cpu() - cpu) / took
        delays = []
        for i in range(20):
            child.read(0.35)
            mark = child.bytes
            commit(connection, 0.05 + 0.045 * i, running)
            begun = time.perf_counter()
            while child.bytes == mark and time.perf_counter() - begun < 5:
                child.read(0.002)
            delays.append((time.perf_counter() - begun) * 1000)
        out = {
            "idle_bytes_s": idle / seconds, "idle_cpu_percent": 100 * idle_cpu, "busy_bytes_s": busy / took,
            "busy_cpu_percent": 100 * busy_cpu, "latency_p50_ms": statistics.median(delays), "latency_max_ms": max(delays),
            "memory_mib": child.memory(),
        }  # fmt: skip
        child.close()
    return out


def _during(child: Child, seconds: float) -> int:
    end, got = time.perf_counter() + seconds, 0
    while (left := end - time.perf_counter()) > 0:
        got += child.read(left)
    return got


def paging(arguments: list[str], ready: Callable[[bytes], bool], home: str, pages: int) -> dict[str, float]:
    """Milliseconds and bytes of a page-down until the next row number stands there."""
    child = Child(arguments, home)
    took = child.until(ready, 400.0)
    child.read(1.0)
    times, sent = [], 0
    for _ in range(pages):
        child.tail = b""
        before, start = child.bytes, time.perf_counter()
        child.type(b"\x1b[6~")
        last, quiet = start, start
        while time.perf_counter() - quiet < 0.1 or (last == start and time.perf_counter() - start < 5):
            if child.read(0.004):
                last = quiet = time.perf_counter()
        times.append((last - start) * 1000)
        sent += child.bytes - before
    out = {"ready_s": took, "page_ms": statistics.median(times), "page_bytes": sent / pages, "memory_mib": child.memory()}
    child.close()
    return out


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no DataTable of 190,000 rows (a minute)")
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    args = parser.parse_args(arguments)
    from tests.support.fakelab import paper_lab

    out: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home:
        lab = paper_lab(Path(home) / "paper.db", with_curves=False)
        plain = ["-c", DATATABLE, str(lab)]
        seconds = 5.0 if args.quick else 15.0
        out["first_paint"] = first_paint(lab, home, 5 if args.quick else 11)
        out["queue"] = traffic(labtui(lab), b"running", home, lab, seconds)
        out["job"] = traffic(labtui(lab, "job"), b"candidates", home, lab, seconds)
        out["queue_datatable_400_rows"] = traffic([*plain, "jobs"], b"running", home, lab, seconds)
        out["trials"] = paging(labtui(lab, "trials"), lambda t: b"182,460" in t, home, 20)
        if not args.quick:
            out["trials_datatable"] = paging([*plain, "trials"], lambda t: b"READY" in t, home, 20)
    for name, values in out.items():
        print(f"{name:<26}" + "  ".join(f"{k} {v:,.2f}" for k, v in values.items()))
    if args.json:
        args.json.write_text(json.dumps(out, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
