"""What the terminal costs: ``python -m benchmarks.tui [--quick] [--json
OUT]``, in a pty at 120x40, never in a pipe.

First paint (header, table heading, footer), bytes and CPU idle, busy and paging through 182,460 trials, bytes
of a dialog, the time from a commit to the screen, memory; each for labtui and, in the same run, for the same
table in Textual's DataTable; first paint also for an App with one Static. The lab has 12,700 searches. Ratios
count: the times are those of the machine.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.tui_child import COMMAND, DATATABLE, STATIC, Child
from store import curves
from store.rows import Curve

STEPS = 16_000
PAGE_DOWN = b"\x1b[6~"


def labtui(lab: Path, screen: str = "queue") -> list[str]:
    return ["-c", COMMAND, "--lab", str(lab), "--screen", screen]


def shows(*words: bytes) -> Callable[[bytes], bool]:
    return lambda tail: all(word in tail for word in words)


def first_paint(lab: Path, home: str, rounds: int) -> dict[str, float]:
    """Milliseconds from exec to header, heading and footer, the splash left out;
    all in turns, so that load hits all.
    """
    cases = {
        "static": (["-c", STATIC], shows(b"palette")),
        "datatable": (["-c", DATATABLE, str(lab), "jobs"], shows(b"best loss", b"palette")),
        "labtui": (labtui(lab), shows(b"lengths", b"palette", b"8", b"Events")),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (arguments, seen) in cases.items():
            child = Child(arguments, home)
            child.until(seen)
            times[name].append((time.perf_counter() - child.born) * 1000)
            child.close()
    out = {f"{name}_ms": statistics.median(values) for name, values in times.items()}
    for name in ("labtui", "datatable"):
        out[f"{name}_ratio"] = statistics.median(
            x / y for x, y in zip(times[name], times["static"], strict=True)
        )
    return out


class Running:
    """Eight searches in training, as their supervisor would write them."""

    def __init__(self, lab: Path) -> None:
        self.connection = sqlite3.connect(lab, isolation_level=None)
        self.jobs = [
            row[0] for row in self.connection.execute("SELECT id FROM job WHERE state = 'running' LIMIT 8")
        ]
        marks = ", ".join("?" * len(self.jobs))
        sql = f"SELECT id FROM trial WHERE outcome = 'running' AND job_id IN ({marks})"
        self.trials = [row[0] for row in self.connection.execute(sql, self.jobs)]
        self.losses: list[tuple[int, float]] = []
        self.part = 0.0

    def commit(self) -> None:
        """Progress of every probe, an evaluation of every trial: one transaction."""
        self.part = self.part + 0.013 if self.part < 0.97 else 0.013
        step = round(self.part * STEPS)
        self.losses = [x for x in self.losses if x[0] < step] + [(step, 1.1 * math.exp(-6 * self.part))]
        at, held = zip(*self.losses[-32:], strict=True)
        blob = curves.encode(Curve(at, held, held))
        do = self.connection
        do.execute("BEGIN IMMEDIATE")
        do.executemany("UPDATE job SET progress = ? WHERE id = ?", [(self.part, j) for j in self.jobs])
        do.executemany(
            "UPDATE probe SET fraction = ?, step = ? WHERE job_id = ? AND state = 'running'",
            [(self.part, step, j) for j in self.jobs],
        )
        do.executemany(
            "UPDATE trial SET steps = ?, best_loss = ?, last_loss = ? WHERE id = ?",
            [(step, held[-1] * (1 + t % 3), held[-1], t) for t in self.trials],
        )
        do.executemany("INSERT OR REPLACE INTO curve VALUES (?, ?)", [(t, blob) for t in self.trials])
        do.execute("COMMIT")

    def close(self) -> None:
        self.connection.close()


def spent(child: Child, seconds: float, each: float, act: Callable[[], None]) -> tuple[float, float]:
    """Bytes per second and per cent of one core, while something is done in a rhythm."""
    cpu, start, sent = child.cpu(), time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        act()
        sent += child.watch(each)
    took = time.perf_counter() - start
    return sent / took, 100 * (child.cpu() - cpu) / took


def traffic(
    arguments: list[str], ready: bytes, home: str, lab: Path, seconds: float, commits: int
) -> dict[str, float]:
    """Idle; eight searches moving twice a second; then from the commit to the first byte of
    what it changed.
    """
    running = Running(lab)
    child = Child(arguments, home)
    child.until(shows(ready))
    child.watch(3.0)
    out: dict[str, float] = {}
    out["idle_B/s"], out["idle_cpu_%"] = spent(child, seconds, 1.0, lambda: None)
    out["busy_B/s"], out["busy_cpu_%"] = spent(child, seconds, 0.5, running.commit)
    moments = random.Random(1)
    delays = []
    for _ in range(commits):
        child.watch(0.3 + 0.2 * moments.random())
        running.commit()
        begun = time.perf_counter()
        while not child.read(5.0):
            raise SystemExit("a commit was not shown within 5 s")
        delays.append((time.perf_counter() - begun) * 1000)
    delays.sort()
    out["latency_p50_ms"] = statistics.median(delays)
    out["latency_p99_ms"] = delays[math.ceil(0.99 * len(delays)) - 1]
    out["memory_MiB"] = child.memory()
    child.close()
    running.close()
    return out


def dialogs(lab: Path, home: str) -> dict[str, float]:
    """Bytes that open help and palette over the Queue, and those that take them away."""
    child = Child(labtui(lab), home)
    child.until(shows(b"lengths", b"palette"))
    child.watch(3.0)
    out: dict[str, float] = {}
    for name, key in (("help", b"?"), ("palette", b"\x10")):
        for what, typed in ((f"{name}_B", key), (f"{name}_closed_B", b"\x1b")):
            child.type(typed)
            out[what] = float(child.watch(2.0))
    child.close()
    return out


def paging(
    arguments: list[str], ready: Callable[[bytes], bool], home: str, seconds: float
) -> dict[str, float]:
    """A page-down until the last of its bytes (20 of them), then the key held down (ten a second)."""
    child = Child(arguments, home)
    out = {"ready_s": child.until(ready, 400.0)}
    child.watch(1.0)
    times, before = [], child.bytes
    for _ in range(20):
        start = last = time.perf_counter()
        child.type(PAGE_DOWN)
        while time.perf_counter() - last < 0.1 or (last == start and time.perf_counter() - start < 5):
            if child.read(0.004):
                last = time.perf_counter()
        times.append((last - start) * 1000)
    out["page_ms"], out["page_B"] = statistics.median(times), (child.bytes - before) / 20
    out["held_B/s"], out["held_cpu_%"] = spent(child, seconds, 0.1, lambda: child.type(PAGE_DOWN))
    out["memory_MiB"] = child.memory()
    child.close()
    return out


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds, and no DataTable of all trials (two minutes)"
    )
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    args = parser.parse_args(arguments)
    from tests.support.fakelab import paper_lab

    out: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as home:
        lab = paper_lab(Path(home) / "paper.db", with_curves=False)
        plain = ["-c", DATATABLE, str(lab)]
        seconds, commits = (5.0, 20) if args.quick else (10.0, 100)

        def measure(name: str, what: Callable[..., dict[str, float]], *given: Any) -> None:
            out[name] = what(*given)
            print(f"{name:<22}" + "  ".join(f"{k} {v:,.2f}" for k, v in out[name].items()), flush=True)

        measure("first paint", first_paint, lab, home, 5 if args.quick else 15)
        measure("Queue", traffic, labtui(lab), b"lengths", home, lab, seconds, commits)
        measure(
            "Job, plots in sight",
            traffic,
            labtui(lab, "job"),
            b"validation loss",
            home,
            lab,
            seconds,
            commits,
        )
        measure("Dialogs", dialogs, lab, home)
        measure("DataTable, 400 jobs", traffic, [*plain, "jobs"], b"running", home, lab, seconds, commits)
        measure("Trials, 182,460", paging, labtui(lab, "trials"), shows(b"182,460"), home, seconds)
        if not args.quick:
            measure("DataTable, 182,460", paging, [*plain, "trials"], shows(b"READY"), home, seconds)
    if args.json:
        args.json.write_text(json.dumps(out, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
