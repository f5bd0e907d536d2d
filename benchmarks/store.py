"""The lab file under load: ``python -m benchmarks.store [--quick]``.

On a lab of the paper's scale (12,700 searches, 182,000 trials with curves) the supervisor's own turn runs as
fast as it can: eight slots answer every hand-out at once with the progress, the ends and the curves of its
trials, as lines of the pipe's JSON; the supervisor's code decodes them, takes them in, writes them down,
replays the searches and hands out what comes next (``runners.pool``: intake, ledger, dispatch). Only the
worker processes are left out: two cores cannot run eight of them. Beside it three processes read as three
open screens do: the app's own poller (it looks five times a second, reads one snapshot where something was
committed, and then rests five times as long as the reading took) with the loaders of the Queue, of Kappa and
of Trials in front. Then what the screens ask is timed by itself. Prints JSON on stdout.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter

from runners.engine.types import Ended
from runners.pool import inbox as intake
from runners.pool import persist as ledger
from runners.pool import protocol as m
from runners.pool import schedule as dispatch
from runners.pool.devices import Device
from runners.pool.options import Options
from runners.pool.protocol import WorkerProcess, encode
from runners.pool.state import Slot, SupervisorState
from runners.pool.supervisor import CURVES_S
from runners.verdict import Outcome
from store.filters import Condition
from store.paths import LabPaths
from store.read import open_lab
from store.write import Identity, Tx, Writer
from store.write import lab as lab_rows

SLOTS = 8
EVALUATIONS = 40
"""Of each trial; its curve is thinned to 32 points on the way in."""
MESSAGES = 4
"""Of progress, in each probe."""
SCREENS = ("queue", "kappa", "trials")
SCREEN = """
import sys, time
from labtui.tui.poller import Poller
from store.read import open_lab
from labtui.tui.screens.kappa import KappaRequest
from labtui.tui.screens.queue import QueueRequest
from labtui.tui.screens.trials import TrialsRequest
loaders = {"queue": QueueRequest(), "kappa": KappaRequest(), "trials": TrialsRequest()}
def shown(snapshot):
    print(snapshot.problem or f"{1e3 * snapshot.seconds:.1f}", flush=True)
    poller.taken()
poller = Poller(lambda: open_lab(sys.argv[1]), shown)
poller.start()
poller.watch(sys.argv[2], loaders[sys.argv[2]])
sys.stdin.read()
poller.stop()
"""


class Answering:
    """In a worker's place: what it is told to train has ended, with curves, by the time it is asked."""

    closed = quitting = holding = False
    ready = m.Ready(1, "bench", "", "")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._lines: list[bytes] = []

    def send(self, message: m.Down) -> None:
        if isinstance(message, m.Train):
            tag = _TAGS.dump_json(message.tag)
            self._lines = [
                line.replace(_TAG, tag) for line in _answer(len(message.members), self._rng.randrange(8))
            ]

    def receive(self) -> Iterator[m.Up]:
        """The progress first; the ends at the next look."""
        now, self._lines = self._lines[:MESSAGES], self._lines[MESSAGES:]
        if len(now) < MESSAGES or not isinstance(m.decode_up(now[0][:-1]), m.Progress):
            now, self._lines = now + self._lines, []
        yield from (m.decode_up(line[:-1]) for line in now)


NOBODY = m.Tag("@", 0, 0)
_TAGS = TypeAdapter(m.Tag)
_TAG = _TAGS.dump_json(NOBODY)
"""What stands for the tag in an answer that is kept."""


@cache
def _answer(members: int, variant: int) -> tuple[bytes, ...]:
    """The lines of one assignment: a success by the first member, or failures;
    encoding them is the worker's time.
    """
    rng = random.Random(variant)
    won = variant % 2 == 0
    steps = tuple(500 * (k + 1) for k in range(EVALUATIONS))
    said: list[m.Up] = []
    for part in range(MESSAGES):
        at = steps[part * EVALUATIONS // MESSAGES : (part + 1) * EVALUATIONS // MESSAGES]
        said.append(
            m.Progress(NOBODY, tuple(m.Point(i, s, 0.5, 0.6, True) for s in at for i in range(members)))
        )
    for i in range(members):
        best = 1e-5 if won and i == 0 else 0.1 + rng.random()
        losses = tuple(best * (EVALUATIONS - k) for k in range(EVALUATIONS))
        outcome = Outcome.SUCCESS if won and i == 0 else Outcome.SUPERSEDED if won else Outcome.FAILURE
        ended = Ended(i, outcome, steps[-1], best, steps[-1], best, None)
        said.append(m.TrialEnded(NOBODY, ended, steps, losses, losses, (True,) * EVALUATIONS, 1.0))
    return tuple(encode(up) for up in [*said, m.Finished(NOBODY, 0.0, 0.1, 0.0)])


class Timed(Writer):
    """Keeps how long each transaction took, from asking for the lock to the end of its commit."""

    took: list[float]

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True, lock_timeout_s: float | None = None) -> Iterator[Tx]:
        begun = time.perf_counter()
        with super().transaction(durable=durable, lock_timeout_s=lock_timeout_s) as tx:
            yield tx
        self.took.append(time.perf_counter() - begun)


def write(paper: Path, folder: Path, seconds: float, screens: tuple[str, ...]) -> dict[str, Any]:
    """Trials per second and the times of transactions."""
    path = folder / f"write-{len(screens)}.db"
    shutil.copyfile(paper, path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE job SET state = 'paused', epoch = NULL WHERE state = 'running'")
        connection.execute("UPDATE probe SET state = 'lost' WHERE state = 'running'")
        already = connection.execute("SELECT count(*) FROM trial").fetchone()[0]
    bench = SupervisorState(Options(path, slots=SLOTS, speculate=False), LabPaths(path))
    rng = random.Random(1)
    bench.slots = [
        Slot(f"cpu/{k}", Device("cpu", "bench"), 1, worker=cast(WorkerProcess, Answering(rng)))
        for k in range(SLOTS)
    ]
    with Timed(path) as writer:
        writer.took = []
        with writer.transaction() as tx:
            bench.epoch = lab_rows.claim(tx, Identity(os.getpid(), 0.0, "bench", "boot", "bench"))
        watching = [
            subprocess.Popen(
                [sys.executable, "-c", SCREEN, str(path), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in screens
        ]
        for process in watching:
            assert process.stdout is not None
            process.stdout.readline()
        writer.took.clear()
        begun_at = time.perf_counter()
        curves_due = 0.0
        while (wall := time.perf_counter() - begun_at) < seconds:
            for slot in bench.slots:
                intake.read(bench, slot)
            if live := wall >= curves_due:
                curves_due = wall + CURVES_S
            ledger.flush(bench, writer, live=live)
            dispatch.dispatch(bench, writer)
    seen: dict[str, dict[str, Any]] = {}
    for name, process in zip(screens, watching, strict=True):
        said, _ = process.communicate()
        times = [float(x) for x in said.split("\n") if x.replace(".", "").isdigit()]
        other = [x for x in said.split("\n") if x and not x.replace(".", "").isdigit()]
        seen[name] = {
            "snapshots": len(times),
            "median_ms": round(statistics.median(times), 1) if times else None,
            "errors": other,
        }
    with open_lab(path) as lab:
        written = sum(
            t.outcome != "running" for t in lab.trials_by_id([i for i in lab.trial_ids() if i > already])
        )
    took = sorted(writer.took)
    return {
        "screens": seen,
        "trials_per_s": round(written / wall, 1),
        "transactions": len(took),
        "transaction_p50_ms": round(1e3 * statistics.median(took), 2),
        "transaction_p99_ms": round(1e3 * took[int(0.99 * (len(took) - 1))], 2),
        "longest_ms": round(1e3 * took[-1], 2),
    }


def read(path: Path) -> dict[str, float]:
    """Milliseconds, the best of seven."""

    def best(ask: Callable[[], object]) -> float:
        times = []
        for _ in range(7):
            started = time.perf_counter()
            ask()
            times.append(time.perf_counter() - started)
        return round(1e3 * min(times), 2)

    def first_cells() -> float:
        with open_lab(path) as lab:
            started = time.perf_counter()
            lab.cells()
            return time.perf_counter() - started

    found = {"open_ms": best(lambda: open_lab(path).close())}
    found["kappa_table_first_ms"] = round(1e3 * min(first_cells() for _ in range(7)), 2)
    with open_lab(path) as lab:
        ids, trials = lab.job_ids(), lab.trial_ids()
        found |= {
            "job_list_ms": best(lambda: lab.jobs(lab.job_ids()[:128])),
            "one_bracket_ms": best(lambda: (lab.job(100), lab.probes(100), lab.trials(job_id=100))),
            "kappa_table_ms": best(lab.cells),
            "filtered_ms": best(
                lambda: lab.job_ids([Condition("state", "=", "running"), Condition("model", "=", "lstm")])
            ),
            "trial_ids_ms": best(lab.trial_ids),
            "trial_page_ms": best(lambda: lab.trials_by_id(trials[5000:5128])),
            "data_version_ms": best(lab.data_version),
        }
        found |= {"jobs": len(ids), "trials": len(trials), "file_mb": round(path.stat().st_size / 1e6, 1)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a small lab and a few seconds, to show that it works"
    )
    quick = parser.parse_args().quick
    from tests.support.paperlab import paper_lab

    with tempfile.TemporaryDirectory(prefix="labtui-bench-") as name:
        folder = Path(name)
        seconds = 1.0 if quick else 10.0
        paper = paper_lab(folder / "paper.db", searches=1_500 if quick else 12_700)
        result = {
            "read": read(paper),
            "write": [write(paper, folder, seconds, screens) for screens in ((), SCREENS)],
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
