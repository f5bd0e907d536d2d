"""A verb beside a process that holds the lab: it says whom it waits for, and gives up in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store import locks
from store.paths import LabPaths
from store.read import open_lab
from tests.cli.conftest import Labtui

FLOCK = (
    "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print('locked', flush=True); "
    "sys.stdin.read()"
)
SQLITE = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA wal_autocheckpoint = 0")
c.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
c.execute("ROLLBACK")
"""


@contextmanager
def locked(lab: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """The write lock, or a write transaction of a foreign program,
    held by another process until its stdin is closed.
    """
    target = lab if how == SQLITE else LabPaths(lab).write_lock
    other = subprocess.Popen(
        [sys.executable, "-c", how, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "locked\n"
    try:
        yield other
    finally:
        other.communicate(timeout=30)


@pytest.mark.parametrize("how", [FLOCK, SQLITE], ids=["flock", "sqlite"])
def test_who_is_waited_for_is_told_and_then_the_verb_is_done(lab: Path, how: str) -> None:
    with open_lab(lab) as reader:
        queued = next(job.id for job in reader.jobs() if job.state == "queued")
    with locked(lab, how) as other:
        words = [sys.executable, "-m", "labtui", "--lab", str(lab), "pause", str(queued)]
        verb = subprocess.Popen(
            words, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
        )
        assert verb.stderr is not None
        said = verb.stderr.readline()
        assert said.startswith(f"waiting up to 30 s for process {other.pid} (")
        with open_lab(lab) as reader:  # reading goes on meanwhile
            assert reader.job(queued).state == "queued"
    _, rest = verb.communicate(timeout=60)
    assert verb.returncode == 0
    assert "waiting" not in rest
    with open_lab(lab) as reader:
        assert reader.job(queued).state == "paused"


@pytest.mark.parametrize(
    ("how", "verb"),
    [(FLOCK, "hold"), (SQLITE, "hold"), (FLOCK, "submit quick"), (FLOCK, "db vacuum"), (SQLITE, "db vacuum")],
)
def test_it_gives_up_in_one_sentence(
    labtui: Labtui, lab: Path, monkeypatch: pytest.MonkeyPatch, how: str, verb: str
) -> None:
    monkeypatch.setattr(locks, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(locks, "PATIENCE_S", 0.05)
    before = lab.read_bytes()
    with locked(lab, how) as other:
        answer = labtui(*verb.split())
    assert answer.code == 2
    assert answer.out == ""
    waiting, last = answer.err.splitlines()
    assert waiting.startswith(f"waiting up to 0.2 s for process {other.pid} (")
    assert last.startswith("labtui: ")
    assert f"by process {other.pid} (" in last
    assert last.endswith("nothing was written")
    assert lab.read_bytes() == before


def test_nobody_is_made_up(lab: Path) -> None:
    paths = LabPaths(lab)
    found = paths.write_lock.stat()
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    assert (
        locks.writer_of(paths, f"1: FLOCK  ADVISORY  WRITE 999999999 {file} 0 EOF\n") == "process 999999999"
    )
    for line in (
        "",
        f"1: -> FLOCK  ADVISORY  WRITE 7 {file} 0 EOF",  # waits itself
        f"1: FLOCK  ADVISORY  READ 7 {file} 0 EOF",
        f"1: FLOCK  ADVISORY  WRITE -1 {file} 0 EOF",  # in another namespace
        f"1: FLOCK  ADVISORY  WRITE {os.getpid()} {file} 0 EOF",
        "1: FLOCK  ADVISORY  WRITE 7 00:00:1 0 EOF",
        f"1: POSIX  ADVISORY  WRITE 7 {file} 120 120",
    ):
        assert locks.writer_of(paths, line) == "another process"
