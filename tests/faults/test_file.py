"""The lab file under stress: locked, without room, copied while live, with broken checkpoints,
with the clock set about.
"""

from __future__ import annotations

import contextlib
import logging
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from runners.pool import client as launcher
from runners.pool.devices import Device
from runners.pool.local import LocalPool
from runners.pool.options import Options
from store.locks import SupervisorLock
from store.paths import LabPaths
from store.read import open_lab
from tests.support import labs
from tests.support.faults import long

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

ENV = {"STANDIN_EVAL_S": "0.01"}
LOCKER = """
import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA wal_autocheckpoint=0")
c.execute("BEGIN IMMEDIATE"); print("locked", flush=True)
time.sleep(float(sys.argv[2])); c.execute("ROLLBACK")
"""
FLOCKER = """
import fcntl, sys, time
f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print("locked", flush=True)
time.sleep(float(sys.argv[2]))
"""


def told(lab: Path) -> str:
    with open_lab(lab) as opened:
        return "\n".join(e.text for e in opened.events(limit=10_000))


@pytest.mark.parametrize("how", ["sqlite", "flock"])
def test_locked_by_another_process(lab_path: Path, counts: Counter[str], how: str) -> None:
    seconds = long(3, 30)
    labs.make(lab_path, labs.study(4))
    with labs.supervisor(lab_path, env=ENV) as running:
        labs.wait(lambda: labs.state_of(lab_path).get("done"), 30)
        target = lab_path if how == "sqlite" else LabPaths(lab_path).write_lock
        code = LOCKER if how == "sqlite" else FLOCKER
        locker = subprocess.Popen(
            [sys.executable, "-c", code, str(target), str(seconds)], stdout=subprocess.PIPE, text=True
        )
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        with open_lab(lab_path) as opened:  # a reader is not disturbed
            assert opened.counts()
        assert locker.wait() == 0
        assert running.ended() == 0
    labs.verify(lab_path)
    assert "nothing is lost" in told(lab_path)
    counts[f"seconds locked ({how})"] += seconds


@pytest.mark.parametrize("rounds", [1])
def test_no_room_on_the_disk(lab_path: Path, counts: Counter[str], rounds: int) -> None:
    """A limit on the size of files, set on the living supervisor, is a full disk that comes and goes."""
    for turn in range(long(1, 5)):
        lab = lab_path.parent / str(turn) / "lab.db"
        lab.parent.mkdir()
        labs.make(lab, labs.study(5, eps=(1e-4 * (turn + 1),)))
        with labs.supervisor(lab, env={"STANDIN_EVAL_S": "0.03"}) as running:
            labs.wait(lambda lab=lab: labs.state_of(lab).get("done"), 30)
            _, hard = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
            said = labs.wait(lambda lab=lab: launcher.status(lab).message, 30, "a word about the disk")
            assert said.startswith("waiting: ")
            time.sleep(long(1, 5))
            assert running.process.poll() is None
            resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            assert running.ended() == 0
        labs.verify(lab)
        assert "nothing is lost" in told(lab)
        counts["full disks"] += 1


@pytest.mark.parametrize("how", ["truncated", "flipped", "emptied", "no manifest"])
def test_broken_checkpoints(lab_path: Path, counts: Counter[str], how: str) -> None:
    rng = random.Random(how)
    labs.make(lab_path, labs.study(4), max_attempts=100)
    env = {"STANDIN_EVAL_S": "0.03", "STANDIN_EVALS": "20", "STANDIN_CHECKPOINT_EVERY": "1"}
    folder = LabPaths(lab_path).checkpoints
    before = whole(folder)
    for _ in range(long(2, 10)):
        running = labs.spawn(lab_path, env=env)
        process = running.process
        labs.wait(
            lambda process=process, before=before: whole(folder) - before or process.poll() is not None, 40
        )
        running.kill()
        labs.wait(lambda: not _alive(lab_path), 40, "the end of the workers")
        for file in folder.rglob("assignment.json" if how == "no manifest" else "*.ckpt"):
            data = bytearray(file.read_bytes())
            if not data:
                continue  # broken in an earlier round, and its probe not yet gone on with
            if how == "truncated":
                data = data[: rng.randrange(len(data))]
            elif how == "flipped":
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            else:
                data = bytearray()
            file.write_bytes(data)
            counts["checkpoints broken"] += 1
        before = whole(folder)
    assert labs.spawn(lab_path, env={"STANDIN_EVALS": "20"}).ended() == 0
    labs.verify(lab_path)


def whole(folder: Path) -> set[tuple[Path, int, int]]:
    """The checkpoints that are there: path, inode, time of writing."""
    found = set()
    for file in folder.rglob("*.ckpt"):
        with contextlib.suppress(OSError):
            told = file.stat()
            found.add((file, told.st_ino, told.st_mtime_ns))
    return found


def _alive(lab: Path) -> bool:
    from runners.pool.identity import Roster

    return any(p.alive() for p in Roster(LabPaths(lab).folder / "workers.json").read())


def test_a_copy_of_a_live_lab(lab_path: Path, tmp_path: Path, counts: Counter[str]) -> None:
    from store.check import check
    from store.snapshot import snapshot

    labs.make(lab_path, labs.study(4))
    with labs.supervisor(lab_path, env={"STANDIN_EVAL_S": "0.03"}) as running, open_lab(lab_path) as live:
        taken = seen = 0
        while running.process.poll() is None and taken < long(3, 20):
            if (now := live.last_event_id()) == seen:
                continue  # nothing has been written since the last copy
            seen, out = now, tmp_path / f"copy{taken}.db"
            snapshot(lab_path, out)
            assert check(out, replay=labs.replay_stored) == []
            taken += 1
        assert taken
        counts["live copies"] += taken
        assert running.ended() == 0
    labs.verify(lab_path)


def test_a_lab_at_rest_is_one_file_though_somebody_looks_on(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(3))
    with open_lab(lab_path) as looking:
        assert looking.counts()
        assert labs.spawn(lab_path).ended() == 0
        alone = lab_path.with_name("copy.db")
        alone.write_bytes(lab_path.read_bytes())
        labs.verify(alone)
    assert labs.spawn(lab_path).ended() == 0
    assert not LabPaths(lab_path).wal.exists()


@pytest.fixture
def keep_signals() -> Iterator[None]:
    """The supervisor runs in this very process here."""
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("keep_signals")
def test_a_clock_that_jumps(lab_path: Path, counts: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour forward, an hour back, again and again: leases, backoffs and brackets do not mind."""
    from runners.pool.supervisor import Supervisor

    monkeypatch.setenv("STANDIN_DIR", str(lab_path.parent))
    monkeypatch.setenv("STANDIN_EVAL_S", "0.01")
    monkeypatch.setenv("STANDIN_FAULTS", '[{"kind": "raise", "at": 2, "times": 2}]')
    labs.make(lab_path, labs.study(4))
    real, offset, over = time.time, [0.0], threading.Event()
    monkeypatch.setattr(time, "time", lambda: real() + offset[0])
    rng = random.Random(5)

    def jump() -> None:
        while not over.wait(0.05):
            offset[0] = rng.choice([-3600.0, 0.0, 3600.0])
            counts["clock jumps"] += 1

    thread = threading.Thread(target=jump)
    thread.start()
    try:
        options = Options(
            lab_path, slots=2, trainer=labs.TRAINER, until_empty=True, lease_s=5.0, backoff_s=0.05
        )
        lock = SupervisorLock.acquire(LabPaths(lab_path))
        assert Supervisor(options, lock, LocalPool([Device("cpu", "test")])).run() == 0
    finally:
        over.set()
        thread.join()
        logging.getLogger("labtui").handlers.clear()
    labs.verify(lab_path)
