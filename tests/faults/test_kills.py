"""The kill matrix: SIGKILL of workers, supervisors and readers, at state transitions and at random times.

The study is restarted until it is done; then every bracket, verdict and trial must be those of the undisturbed run. Seeded:
LABTUI_KILL_SEED names another course. The short form kills 16 times, LABTUI_KILLS (or LABTUI_FAULTS=long: 220) says otherwise.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from runners.pool.identity import Roster
from store.errors import LabError
from store.paths import LabPaths
from store.read import open_lab
from tests.support import bench
from tests.support.faults import long

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("LABTUI_KILLS") or long(16, 220))
SEED = int(os.environ.get("LABTUI_KILL_SEED", "1"))
MOMENTS = ("job.running", "probe.begun", "probe.resumed", "probe.done", "job.done", "job.queued", "worker", "any")
ENV = {"STANDIN_EVAL_S": "0.01", "STANDIN_EVALS": "12", "STANDIN_CHECKPOINT_EVERY": "2"}
READER = """
import sqlite3, sys, time
c = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
c.execute("BEGIN"); c.execute("SELECT count(*) FROM trial").fetchone()
print("reading", flush=True); time.sleep(600)
"""


class Course:
    """One lab, killed about until it is done."""

    def __init__(self, lab: Path, rng: random.Random, counts: Counter[str]) -> None:
        self.lab, self.rng, self.counts = lab, rng, counts
        self.running: bench.Supervised | None = None
        self.reader: subprocess.Popen[str] | None = None

    def supervise(self) -> bench.Supervised:
        if self.running is None or self.running.process.poll() is not None:
            self.running = bench.spawn(self.lab, env=ENV)
            self.counts["supervisors started"] += 1
        return self.running

    def read(self) -> None:
        """Somebody looks at the lab, in a transaction that stays open."""
        if self.reader is None or self.reader.poll() is not None:
            command = [sys.executable, "-c", READER, str(self.lab)]
            self.reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            assert self.reader.stdout is not None
            self.reader.stdout.readline()

    def done(self) -> bool:
        return set(bench.state_of(self.lab)) == {"done"}

    def wait_for(self, moment: str, within_s: float) -> None:
        """Until an event of that kind is written, or the time is over."""
        end = time.monotonic() + within_s
        with open_lab(self.lab) as opened:
            last = opened.last_event_id()
            while time.monotonic() < end:
                for event in opened.events(after=last, limit=50):
                    if moment in ("any", event.kind):
                        return
                    last = event.id
                time.sleep(0.002)

    def kill(self) -> None:
        """One fault."""
        running = self.supervise()
        if self.rng.random() < 0.5:
            self.wait_for(self.rng.choice(MOMENTS), 1.0)
        else:
            time.sleep(self.rng.uniform(0.0, 1.5))
        who = self.rng.choices(["supervisor", "worker", "both", "reader"], [5, 5, 2, 1])[0]
        if who in ("worker", "both"):
            roster = Roster(LabPaths(self.lab).folder / "workers.json").read()
            alive = [p for p in roster if p.alive()]
            if alive and self.rng.choice(alive).kill():
                self.counts["workers killed"] += 1
        if who in ("supervisor", "both") and running.process.poll() is None:
            running.kill()
            self.counts["supervisors killed"] += 1
        if who == "reader":
            self.read()
            assert self.reader is not None
            self.reader.kill()
            self.reader.wait()
            self.counts["readers killed"] += 1

    def finish(self) -> None:
        while not self.done():
            assert self.supervise().ended(120) in (0, -9)

    def close(self) -> None:
        for process in (self.running.process if self.running else None, self.reader):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def kills(counts: Counter[str]) -> int:
    return counts["workers killed"] + counts["supervisors killed"] + counts["readers killed"]


def test_brackets_after_kills_are_those_of_the_undisturbed_run(tmp_path: Path, counts: Counter[str]) -> None:
    rng = random.Random(SEED)
    before, number = kills(counts), 0
    while kills(counts) - before < KILLS:
        number += 1
        lab = tmp_path / f"{number}" / "lab.db"
        lab.parent.mkdir()
        # Other eps, other thresholds: each lab is another set of searches.
        spec = bench.study(5, ("dense_ssm", "lstm"), eps=(1e-4 * number,), strategy=("log", "paper")[number % 2])
        bench.make(lab, spec, max_attempts=1000)
        course = Course(lab, rng, counts)
        try:
            while not course.done() and kills(counts) - before < KILLS:
                try:
                    course.kill()
                except LabError as error:  # a look at a moment when the supervisor is just being replaced
                    pytest.fail(f"a reader was refused: {error}")
            course.finish()
        finally:
            course.close()
        probes, trials = bench.verify(lab)
        counts["searches verified"] += len(spec.jobs())
        counts["probes verified"] += probes
        counts["trials verified"] += trials
    counts["labs verified"] += number
