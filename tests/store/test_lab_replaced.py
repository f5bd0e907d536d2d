"""A lab that is replaced while its WAL is there: the new file stays as it is."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from store import commands, locks, wal
from store.errors import LabError, Moved, Overwritten
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
    """A process that writes and ends without closing anything, so that its WAL stays."""
    child = os.fork()
    if not child:
        try:
            writer = Writer(lab)
            for _ in range(30):
                with writer.transaction() as tx:
                    tx.event("after", "x" * 2000)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def move(source: Path, lab: Path) -> None:
    source.replace(lab)


def copy_over(source: Path, lab: Path) -> None:
    lab.write_bytes(source.read_bytes())


def remove_and_copy(source: Path, lab: Path) -> None:
    lab.unlink()
    shutil.copy(source, lab)


HOW = [move, copy_over, remove_and_copy]


@pytest.fixture(params=["backup", "raw"])
def saved(request: pytest.FixtureRequest, lab: Path, tmp_path: Path) -> Path:
    """A backup, or a copy that ``cp`` made of the lab at rest."""
    write(lab, "before")
    source = backup(lab) if request.param == "backup" else lab
    return Path(shutil.copy(source, tmp_path / "saved.db"))


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


@pytest.mark.parametrize("folds", [0, 1, 2])
def test_an_earlier_and_a_later_state_of_the_same_lab(lab: Path, tmp_path: Path, folds: int) -> None:
    """The inode and the id are the lab's own; copied over it back and forth, also between folds."""
    states = []
    write(lab, "before", 3)
    states.append(Path(shutil.copy(lab, tmp_path / "first.db")))
    write(lab, "after")
    states.append(Path(shutil.copy(lab, tmp_path / "second.db")))
    with Writer(lab) as writer:
        for _ in range(folds):
            with writer.transaction() as tx:
                tx.event("later", "x" * 5000)
            writer.checkpoint()
            states.append(Path(shutil.copy(lab, tmp_path / f"{len(states)}.db")))
    for state in [*states, *reversed(states), states[0]]:
        expected = words(Path(shutil.copy(state, tmp_path / "look.db")))
        killed_writer(lab)
        copy_over(state, lab)
        assert words(lab) == expected
        write(lab, "other", 3)
        assert words(lab) == expected | {"other"}
        assert_sound(lab)


def other_state(lab: Path, tmp_path: Path, state: str) -> Path:
    """Keep the lab as it is now, or make a foreign one, with the same words in it."""
    write(lab, "before")
    if state == "earlier":
        return Path(shutil.copy(lab, tmp_path / "saved.db"))
    foreign = tmp_path / "foreign.db"
    create_or_open(foreign)
    write(foreign, "before", 2)
    return foreign


@pytest.mark.parametrize("state", ["earlier", "foreign"])
def test_whoever_looks_first_does_not_let_the_writer_fold_into_what_was_put_there(
    lab: Path, tmp_path: Path, state: str
) -> None:
    saved = other_state(lab, tmp_path, state)
    content = saved.read_bytes()
    with open_lab(lab) as reader, Writer(lab) as writer:
        with writer.transaction() as tx:
            tx.event("after", "x" * 9000)
        reader.data_version()
        copy_over(saved, lab)
        assert words(lab) == {"before"}
        with pytest.raises(LabError, match="open it again"):
            reader.data_version()
        with pytest.raises(Moved), writer.transaction() as tx:
            tx.event("never", "")
    assert lab.read_bytes() == content
    write(lab, "later", 3)
    assert words(lab) == {"before", "later"}
    assert_sound(lab)


@pytest.mark.parametrize("state", ["earlier", "foreign"])
def test_what_is_put_there_while_a_transaction_ends_is_not_taken_for_its_fold(
    lab: Path, tmp_path: Path, state: str
) -> None:
    saved = other_state(lab, tmp_path, state)
    content = saved.read_bytes()
    with Writer(lab) as writer:
        with writer.transaction() as tx:
            tx.event("after", "x" * 9000)
        writer.checkpoint()
        with writer.transaction() as tx:
            tx.event("last", "x" * 9000)
            copy_over(saved, lab)
        with pytest.raises(Overwritten), writer.transaction() as tx:
            tx.event("never", "")
    assert lab.read_bytes() == content
    write(lab, "later", 3)
    assert words(lab) == {"before", "later"}
    assert_sound(lab)


def test_a_fold_by_another_writer_is_no_replacement(lab: Path) -> None:
    """A supervisor that was fenced off still has the file open: it is told that, and nothing else."""
    with Writer(lab) as first, Writer(lab) as second:
        for writer, other in ((first, second), (second, first)):
            with writer.transaction() as tx:
                tx.event("after", "x" * 9000)
            writer.checkpoint()
            with other.transaction() as tx:
                tx.event("later", "x" * 9000)
    assert words(lab) == {"after", "later"}
    assert_sound(lab)


def test_what_writes_no_other_bytes_is_no_replacement(lab: Path) -> None:
    """``touch``, ``chmod``, a copy of the very bytes; and half of a file is waited for."""
    with Writer(lab) as writer, open_lab(lab) as reader:
        for k in range(4):
            with writer.transaction() as tx:
                tx.event("after", "x" * 9000)
            if k == 1:
                writer.checkpoint()
            content = lab.read_bytes()
            if k == 3:
                lab.write_bytes(content[: len(content) // 2])
                with pytest.raises(Moved), writer.transaction() as tx:
                    tx.event("never", "")
                lab.write_bytes(content)
            else:
                os.utime(lab, (k, k))
                lab.chmod(0o600)
            assert reader.data_version()
    killed_writer(lab)
    os.utime(lab, (1, 1))
    assert words(lab) == {"after"}
    assert_sound(lab)
    assert not list(LabPaths(lab).backups.glob("*left-behind*"))


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


def test_a_reader_knows_the_lab_while_a_writer_begins(
    lab_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks before and after each note of the writer's, as it would from a process of its own."""
    create_or_open(lab_path)
    Writer(lab_path).close()  # the file has a life
    versions: list[int] = []
    note = wal._note

    def noted(paths: LabPaths, what: dict[str, object]) -> None:
        versions.append(reader.data_version())
        note(paths, what)
        versions.append(reader.data_version())

    monkeypatch.setattr(wal, "_note", noted)
    with open_lab(lab_path) as reader:
        Writer(lab_path).close()
    assert len(set(versions)) > 1


def cut_short(lab: Path) -> None:
    """What a kill in the middle of a write with a rollback journal leaves."""
    other = lab.with_name("cut.db")
    shutil.copy(lab, other)
    with closing(sqlite3.connect(other, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("UPDATE event SET text = hex(randomblob(900))")
        shutil.copy(other, lab)
        shutil.copy(f"{other}-journal", f"{lab}-journal")
        connection.execute("ROLLBACK")
    other.unlink()
    assert Path(f"{lab}-journal").stat().st_size > 10_000


def test_a_journal_of_the_lab_before_is_not_rolled_back_into_what_was_restored(
    lab: Path, saved: Path, tmp_path: Path
) -> None:
    write(lab, "after")
    shutil.copy(backup(lab), lab)
    cut_short(lab)
    old, _ = restore(lab, saved)
    assert not Path(f"{lab}-journal").exists()
    write(lab, "later", 1)
    assert_sound(lab)
    assert words(lab) == {"before", "later"}
    assert words(old) == {"before", "after"}  # whoever opens it has it as it was before the write


@pytest.mark.parametrize("read_only", [True, False])
def test_a_write_that_was_cut_short_is_not_read(lab: Path, saved: Path, read_only: bool) -> None:
    write(lab, "after")
    shutil.copy(backup(lab), lab)
    cut_short(lab)
    before = lab.read_bytes()
    with open_lab(lab, read_only=read_only) as reader:
        assert all(e.text.endswith("x" * 2000) for e in reader.events(limit=1000) if e.kind == "after")
        assert "disk" not in reader.notice
    assert lab.read_bytes() == before


def test_a_journal_that_names_another_file_is_refused(lab: Path, saved: Path, tmp_path: Path) -> None:
    shutil.copy(saved, lab)
    cut_short(lab)
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    name = os.fsencode(victim)
    page = int.from_bytes(lab.read_bytes()[16:18], "big")
    tail = struct.pack(">I", (1 << 30) // page + 1) + name + struct.pack(">II", len(name), sum(name))
    with Path(f"{lab}-journal").open("ab") as file:
        file.write(tail + bytes.fromhex("d9d505f920a163d7"))
    for use in (lambda: write(lab, "later", 1), lambda: words(lab), lambda: create_or_open(lab)):
        with pytest.raises(LabError, match="names another file, which SQLite would delete"):
            use()
    assert victim.read_text() == "mine"
