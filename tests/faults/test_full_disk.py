"""A disk that is full and has room again, seen from everybody who writes to it:
one sentence each, nothing half written.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from runners.pool import client as launcher
from store.paths import LabPaths
from store.read import open_lab
from store.rows import SupervisorRow
from tests.support import labs
from tests.support.faults import long

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1200)]

MIB = 1 << 20
SPEC = """
name = "another"
[[sweep]]
task = {kind = "modular_addition", m = 5}
model = {kind = "dense_ssm", hidden = 8}
format = "acot"
L = 4
"""


@pytest.fixture(params=[4])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A disk of so many MiB; 4 is about what the WAL alone would grow to."""
    place = tmp_path / "disk"
    place.mkdir()
    made = mount("-t", "tmpfs", "-o", f"size={request.param}m", "tmpfs", place)
    if made.returncode:
        pytest.skip(
            "this user cannot mount a disk; test_no_room_on_the_disk limits the size of files instead"
        )
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def mount(*words: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["mount", *map(str, words)], capture_output=True, check=False)


@contextlib.contextmanager
def filled(disk: Path, *, keep: Path | None = None) -> Iterator[None]:
    """No byte is free, and what becomes free is taken at once: the bench gives room back where it can."""
    filler, over, full = keep or disk / "filler", threading.Event(), threading.Event()

    def fill() -> None:
        with filler.open("wb", buffering=0) as f:
            while not over.wait(0.002):
                with contextlib.suppress(OSError):
                    while not over.is_set():
                        f.write(bytes(4096))
                full.set()

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        assert full.wait(20)
        yield
    finally:
        over.set()
        thread.join()
        if keep is None:
            filler.unlink()


def labtui(lab: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LABTUI_NO_SUPERVISOR": "1"}
    command = [sys.executable, "-m", "labtui", *words, "--lab", str(lab)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=labs.ROOT, env=env, timeout=60, check=False
    )


def refused(done: subprocess.CompletedProcess[str]) -> None:
    """It failed, and said why in one line."""
    assert done.returncode in (1, 2), done
    *notice, said = done.stderr.splitlines()
    assert said.startswith("labtui: "), done.stderr
    assert "cannot be written" in said, done.stderr
    assert all("read-only" in line for line in notice), done.stderr


def told_or_done(done: subprocess.CompletedProcess[str]) -> None:
    """What is small may find room in the WAL, whose room is used again."""
    if done.returncode:
        refused(done)


def words(lab: Path) -> str:
    """What the supervisor says, as the app sees it."""
    said = row(lab)
    return said.message if said.state == "waiting" else ""


def leftovers(disk: Path) -> list[str]:
    return sorted(
        p.name
        for p in disk.rglob("*")
        if p.suffix in (".part", ".tmp", ".aside") or p.name.startswith(".out")
    )


def test_under_a_living_supervisor(disk: Path, tmp_path: Path, counts: Counter[str]) -> None:
    spec = tmp_path / "another.toml"
    spec.write_text(SPEC)
    for turn in range(long(2, 8)):
        lab = disk / f"{turn}.db"
        labs.make(lab, labs.study(5, eps=(1e-4 * (turn + 1),)))
        env = {"STANDIN_EVAL_S": "0.03", "STANDIN_CHECKPOINT_EVERY": "1", "STANDIN_DIR": str(tmp_path)}
        with labs.supervisor(lab, env=env) as running:
            labs.wait(lambda lab=lab: labs.state_of(lab).get("done"), 40)
            with filled(disk):
                labs.wait(lambda lab=lab: "cannot be written" in words(lab), 40, "a word about the disk")
                workers = running.workers()
                told_or_done(labtui(lab, "submit", str(spec)))
                told_or_done(labtui(lab, "note", "1", "a note"))
                refused(labtui(lab, "snapshot", str(disk / "out.db")))
                refused(labtui(lab, "export", "trials", "--out", str(disk / "out.csv")))
                refused(labtui(lab, "db", "backup"))
                for look in (("jobs",), ("kappa",), ("db", "check")):  # looking needs no room
                    done = labtui(lab, *look)
                    assert done.returncode == 0, done
                # A worker may be in the middle of a checkpoint that will not fit.
                labs.wait(lambda: not leftovers(disk), 20, "nothing half written")
                assert not (disk / "out.csv").exists()
                assert running.workers() == workers
                assert running.process.poll() is None
            assert running.ended() == 0
        labs.verify(lab)
        with open_lab(lab) as opened:
            assert all(j.crashes == 0 for j in opened.jobs())
        counts["full disks (tmpfs)"] += 1


@pytest.mark.parametrize("disk", [20], indirect=True)
def test_little_room_is_enough(disk: Path, tmp_path: Path, counts: Counter[str]) -> None:
    """Of a disk that was full half a MiB is free again, less than the WAL would grow to."""
    lab, filler = disk / "lab.db", disk / "filler"
    labs.make(lab, labs.study(6))
    with labs.supervisor(lab, env={"STANDIN_EVAL_S": "0.03", "STANDIN_DIR": str(tmp_path)}) as running:
        wal = LabPaths(lab).wal
        labs.wait(lambda: wal.exists() and wal.stat().st_size > 100 * 4096, 40, "a WAL of some size")
        with filled(disk, keep=filler):
            labs.wait(lambda: "cannot be written" in words(lab), 40, "a word about the disk")
        os.truncate(filler, filler.stat().st_size - (MIB >> 1))
        assert running.ended() == 0
    labs.verify(lab)
    counts["full disks (tmpfs)"] += 1


def test_at_the_start(disk: Path, tmp_path: Path, counts: Counter[str]) -> None:
    lab = disk / "lab.db"
    labs.make(lab, labs.study(2))
    assert labs.spawn(lab, env={"STANDIN_DIR": str(tmp_path)}).ended() == 0
    labs.make(lab, labs.study(3))
    with filled(disk):
        jobs = labtui(lab, "jobs")
        assert jobs.returncode == 0, jobs
        assert "dense_ssm" in jobs.stdout
        told_or_done(labtui(lab, "note", "1", "a note"))
        running = labs.spawn(lab, env={"STANDIN_DIR": str(tmp_path)})
        labs.wait(
            lambda: "cannot be" in launcher.status(lab).message + words(lab), 40, "a word about the disk"
        )
    assert running.ended() == 0
    labs.verify(lab)
    counts["full disks (tmpfs)"] += 1


def test_no_room_for_checkpoints_alone(tmp_path: Path, counts: Counter[str]) -> None:
    """Nothing begins that could not be kept, and nothing is begun and given back again and again."""
    lab = tmp_path / "lab.db"
    labs.make(lab, labs.study(3))
    folder = LabPaths(lab).checkpoints
    folder.rename(tmp_path / "aside")
    folder.write_text("no folder")
    with labs.supervisor(lab, until_empty=False) as running:
        # It is refused at the start, where the folder is looked for.
        assert running.ended() == 2
    folder.unlink()
    (tmp_path / "aside").rename(folder)
    with labs.supervisor(lab, env={"STANDIN_EVAL_S": "0.03"}) as running:
        labs.wait(lambda: labs.state_of(lab).get("running"), 40)
        folder.rename(tmp_path / "aside")
        folder.write_text("no folder")
        labs.wait(
            lambda: row(lab).message.startswith("checkpoints cannot be written"),
            40,
            "a word about checkpoints",
        )
        with open_lab(lab) as opened:
            before = opened.last_event_id()
        then = row(lab).heartbeat_at
        labs.wait(lambda: row(lab).heartbeat_at > then + 3.0, 40)
        with open_lab(lab) as opened:
            assert opened.last_event_id() - before < 10
        folder.unlink()
        (tmp_path / "aside").rename(folder)
        assert running.ended() == 0
    labs.verify(lab)


def row(lab: Path) -> SupervisorRow:
    with open_lab(lab) as opened:
        found = opened.supervisor()
    assert found is not None
    return found
