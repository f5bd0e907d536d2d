"""What stands at a lab's path and beside it: links, pipes, other people's folders;
and who may read what is written.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from store import commands
from store.errors import Busy, LabError, Moved, NotALab
from store.locks import SupervisorLock, holder, supervisor_alive, write_lock
from store.paths import LabPaths
from store.read import open_lab
from store.snapshot import backup, snapshot
from store.write import Writer, apply_pending, create_or_open, submit
from tests.store.lab_steps import study
from tests.support.labs import TRAINER

ROOT = Path(__file__).resolve().parents[2]
SPEC = """
name = "tiny"
[models.ssm]
kind = "dense_ssm"
hidden = 8
[[sweep]]
m = 3
model = "ssm"
format = "acot"
L = [3]
grid = { learning_rates = [1e-2], seeds = [1, 2] }
training = { steps = 100, eval_every = 10, validation_size = 40 }
search = { eps = 1e-2 }
"""


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, _socket])
def test_what_is_no_file_is_refused_and_left_alone(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "lab.db"
    make(path)
    before = path.lstat()
    for use in (
        lambda: create_or_open(path),
        lambda: submit(path, study()),
        lambda: Writer(path),
        lambda: open_lab(path),
        lambda: open_lab(path, read_only=True),
        lambda: commands.hold(path),
        lambda: apply_pending(path),
        lambda: snapshot(path, tmp_path / "out.db"),
        lambda: backup(path),
    ):
        with pytest.raises(NotALab, match="is not a file; expected a lab"):
            use()
    after = path.lstat()
    assert (before.st_ino, stat.S_IFMT(before.st_mode)) == (after.st_ino, stat.S_IFMT(after.st_mode))
    assert [p.name for p in tmp_path.iterdir()] == ["lab.db"]


def test_an_empty_file_is_no_lab_and_becomes_one_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "lab.db"
    path.touch()
    with pytest.raises(NotALab, match="is empty"):
        open_lab(path)
    create_or_open(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    open_lab(path).close()


def test_a_link_and_its_lab_are_one_lab(lab: Path, tmp_path: Path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    link = folder / "also.db"
    link.symlink_to(lab)
    held = SupervisorLock.acquire(LabPaths(lab))
    try:
        assert supervisor_alive(LabPaths(link))
        with pytest.raises(LabError, match="already has a supervisor"):
            SupervisorLock.acquire(LabPaths(link), wait_s=0.0)
    finally:
        held.release()
    with write_lock(LabPaths(lab)), pytest.raises(Busy), write_lock(LabPaths(link), 0.05):
        pass
    with Writer(lab) as writer:
        with writer.transaction() as tx:
            tx.event("in the wal", "")
        with open_lab(link, read_only=True) as reader:
            assert reader.events()[-1].kind == "in the wal"
    commands.hold(link)
    assert [p.name for p in folder.iterdir()] == ["also.db"]
    link.unlink()
    link.symlink_to(folder / "target.db")
    create_or_open(link)
    assert link.is_symlink()
    assert (folder / "target.db").is_file()


@pytest.mark.parametrize("lock", ["write.lock", "supervisor.lock"])
def test_nothing_is_written_through_what_stands_in_a_lock_files_place(
    lab: Path, tmp_path: Path, lock: str
) -> None:
    paths = LabPaths(lab)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    place = paths.folder / lock

    def take() -> None:
        if lock == "write.lock":
            commands.hold(lab)
        else:
            SupervisorLock.acquire(paths, wait_s=0.0)

    place.unlink(missing_ok=True)
    place.symlink_to(victim)
    with pytest.raises(LabError, match="a lock file, is a link"):
        take()
    assert victim.read_text() == "precious"
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(LabError, match="is no ordinary file"):
        take()
    assert holder(paths) == {}  # nor does looking wait for the other end of the pipe
    open_lab(lab, read_only=True).close()
    place.unlink()
    take()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_what_is_committed_is_told_as_written_though_the_file_moves_in_that_moment(
    lab: Path, tmp_path: Path
) -> None:
    """Else the supervisor begins the same candidate twice once the file is back, and its search fails."""
    elsewhere = tmp_path / "elsewhere.db"
    with Writer(lab) as writer:
        with writer.transaction() as tx:
            tx.run("UPDATE job SET notes = 'written'")
            lab.rename(elsewhere)
        with pytest.raises(Moved), writer.transaction():
            pass
        elsewhere.rename(lab)
        with writer.transaction() as tx:
            assert {row[0] for row in tx.rows("SELECT notes FROM job")} == {"written"}


def test_a_folder_of_another_user_is_refused(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(LabPaths(lab).folder, 4321, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(LabError, match="belongs to another user"):
        commands.hold(lab)


def test_a_folder_that_others_could_enter_is_closed(lab: Path) -> None:
    folder = LabPaths(lab).folder
    folder.chmod(0o777)
    commands.hold(lab)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_everything_that_is_written_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    spec = tmp_path / "tiny.toml"
    spec.write_text(SPEC)
    work = tmp_path / "work"
    work.mkdir()
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LABTUI_TRAINER": TRAINER,
        "XDG_STATE_HOME": str(work / "state"),
    }

    def labtui(*words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "labtui", "--lab", str(work / "lab.db"), *words],
            cwd=work,
            env=env,
            umask=umask,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr

    labtui("submit", str(spec))
    labtui("run", "--slots", "2")
    labtui("export", "jobs", "--out", "jobs.csv")
    labtui("snapshot", "out.db")
    labtui("db", "backup")
    with Writer(work / "lab.db") as writer, writer.transaction() as tx:
        tx.event("so that there is a wal", "")
    with open_lab(work / "lab.db"):
        found = {p.relative_to(work): stat.S_IMODE(p.lstat().st_mode) for p in work.rglob("*")}
    names = {str(p) for p in found}
    assert {
        "lab.db",
        "lab.db-wal",
        "lab.db-shm",
        "jobs.csv",
        "out.db",
        "lab.db.d/logs/supervisor.log",
    } <= names
    assert any(n.startswith("lab.db.d/backups/lab-") for n in names)
    assert {p: oct(mode) for p, mode in found.items() if mode & 0o077} == {}
    assert {p: oct(mode) for p, mode in found.items() if not mode & 0o400} == {}
