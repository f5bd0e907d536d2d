"""A lab that is replaced while its WAL is there: the new file stays as it is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from store import commands, locks
from store.errors import LabError, Moved
from store.locks import SupervisorLock
from store.paths import LabPaths
from store.read import open_lab
from store.snapshot import backup, restore, snapshot
from store.write import Writer, create_or_open
from tests.store.lab_steps import assert_sound

ROOT = Path(__file__).resolve().parents[2]


def write(lab: Path, word: str, many: int = 30) -> None:
    with Writer(lab) as writer:
        for k in range(many):
            with writer.transaction() as tx:
                tx.event(word, f"{word} {k}" + "x" * 2000)


def words(lab: Path) -> set[str]:
    with open_lab(lab) as reader:
        return {e.kind for e in reader.events(limit=1000)} & {"before", "after", "other", "later"}


def killed_writer(lab: Path) -> None:
    """A process that writes and is killed, so that its WAL stays."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from store.write import Writer
writer = Writer(sys.argv[1])
for k in range(30):
    with writer.transaction() as tx:
        tx.event("after", "x" * 2000)
print("written", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(lab)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()


def move(source: Path, lab: Path) -> None:
    source.replace(lab)


def copy_over(source: Path, lab: Path) -> None:
    lab.write_bytes(source.read_bytes())


def remove_and_copy(source: Path, lab: Path) -> None:
    lab.unlink()
    shutil.copy(source, lab)


HOW = [move, copy_over, remove_and_copy]


@pytest.fixture
def saved(lab: Path, tmp_path: Path) -> Path:
    write(lab, "before")
    return Path(shutil.copy(backup(lab), tmp_path / "saved.db"))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("first", ["read", "read-only", "write", "verb"])
def test_a_wal_of_another_file_is_recognised_before_it_is_read(
    lab: Path, saved: Path, how: Callable[[Path, Path], None], first: str
) -> None:
    killed_writer(lab)
    assert lab.with_name("lab.db-wal").stat().st_size > 0
    how(saved, lab)
    told: list[str] = []
    locks.tell_waits(told.append)
    try:
        if first == "read":
            assert words(lab) == {"before"}
        elif first == "read-only":
            with open_lab(lab, read_only=True) as reader:
                assert "after" not in {e.kind for e in reader.events(limit=1000)}
        elif first == "write":
            write(lab, "later")
        else:
            commands.hold(lab)
    finally:
        locks.tell_waits(None)
    write(lab, "later", 3)
    assert words(lab) == {"before", "later"}
    assert_sound(lab)
    if first != "read-only":
        assert "belonged to the file" in told[0]
    assert [p.stat().st_size > 0 for p in LabPaths(lab).backups.glob("*left-behind*")] == [True]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("foreign", [False, True])
def test_a_writer_lets_go_of_a_lab_that_was_replaced(
    lab: Path, saved: Path, tmp_path: Path, how: Callable[[Path, Path], None], foreign: bool
) -> None:
    if foreign:
        saved = tmp_path / "foreign.db"
        create_or_open(saved)
        write(saved, "before")
    content = saved.read_bytes()
    writer = Writer(lab)
    with writer.transaction() as tx:
        tx.event("after", "x" * 9000)
    reader = open_lab(lab)
    how(saved, lab)
    with pytest.raises(Moved), writer.transaction() as tx:
        tx.event("never", "")
    if how is not copy_over:
        rescued = writer.rescue()
        assert words(rescued) == {"before", "after"}
    for _ in range(2):
        with pytest.raises(LabError, match="open it again"):
            reader.data_version()
    reader.close()
    writer.close()
    assert lab.read_bytes() == content
    assert words(lab) == {"before"}
    write(lab, "later", 3)
    assert_sound(lab)


def test_a_wal_of_its_own_is_kept_after_a_kill_and_in_a_copy_of_the_whole(lab: Path, tmp_path: Path) -> None:
    write(lab, "before")
    killed_writer(lab)
    copied = tmp_path / "copied"
    shutil.copytree(lab.parent, copied, ignore=shutil.ignore_patterns("copied"))
    assert words(copied / lab.name) == {"before", "after"}
    assert words(lab) == {"before", "after"}
    write(lab, "later", 3)
    assert words(lab) == {"before", "after", "later"}
    assert not list(LabPaths(lab).backups.glob("*left-behind*"))


def test_restore(lab: Path, saved: Path, tmp_path: Path) -> None:
    killed_writer(lab)
    done = subprocess.run(
        [sys.executable, "-m", "labtui", "--lab", str(lab), "db", "restore", str(saved)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert words(lab) == {"before"}
    (old,) = LabPaths(lab).backups.glob("replaced-*.db")
    assert str(old) in done.stderr
    assert words(old) == {"before", "after"}
    write(lab, "later", 3)
    assert_sound(lab)
    assert saved.is_file()
    snapshot(lab, tmp_path / "snap.db")
    restore(lab, tmp_path / "snap.db")
    assert words(lab) == {"before", "later"}


@pytest.mark.parametrize("what", ["missing", "text", "torn", "itself", "supervised"])
def test_what_cannot_be_restored_changes_nothing(lab: Path, saved: Path, what: str) -> None:
    lock = None
    if what == "missing":
        saved.unlink()
    elif what == "text":
        saved.write_text("no lab")
    elif what == "torn":
        with saved.open("r+b") as file:
            file.truncate(saved.stat().st_size // 2)
    elif what == "itself":
        saved = lab
    else:
        lock = SupervisorLock.acquire(LabPaths(lab))
    before = lab.read_bytes()
    with pytest.raises(LabError):
        restore(lab, saved)
    if lock is not None:
        lock.release()
    assert lab.read_bytes() == before
    assert words(lab) == {"before"}
    assert not list(LabPaths(lab).folder.glob("*.part"))
