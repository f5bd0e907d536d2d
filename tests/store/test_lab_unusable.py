"""Locks, folders and links beside a lab that cannot be used: one sentence, exit 2, no process left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from store import commands
from store.errors import LabError
from store.files import UnusableError, open_own, replace
from store.paths import LabPaths
from store.read import open_lab
from store.write import Writer, create_or_open
from store.write import lab as lab_rows
from tests.support.labs import TRAINER

ROOT = Path(__file__).resolve().parents[2]


def labtui(lab: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "labtui", "--lab", str(lab), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LABTUI_TRAINER": TRAINER},
        capture_output=True,
        text=True,
        timeout=60,
    )


def processes_of(lab: Path) -> list[str]:
    """The command lines that name the lab."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_text("utf-8", "replace").replace("\0", " ")
            except OSError:
                continue
            if str(lab) in line:
                found.append(line)
    return found


def _dangling(place: Path) -> None:
    place.symlink_to("/nowhere/at/all")


def _file(place: Path) -> None:
    place.write_text("")


def _linked_folder(place: Path) -> None:
    other = place.with_name("elsewhere")
    other.mkdir()
    place.symlink_to(other)


def _foreign(place: Path) -> None:
    place.mkdir()
    os.chown(place, 4321, -1)


def remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        for inside in place.iterdir():
            remove(inside)
        place.rmdir()
    else:
        place.unlink(missing_ok=True)


WRONG: list[tuple[str, Callable[[Path], None]]] = [
    ("supervisor.lock", _dangling),
    ("supervisor.lock", os.mkdir),
    ("supervisor.lock", os.mkfifo),
    ("write.lock", _dangling),
    ("", _file),
    ("", _dangling),
    ("", _linked_folder),
    ("", _foreign),
    ("logs", _linked_folder),
]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
@pytest.mark.parametrize(("name", "make"), WRONG)
def test_a_lock_or_folder_that_cannot_be_used(lab: Path, name: str, make: Callable[[Path], None]) -> None:
    if make is _foreign and os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    place = LabPaths(lab).folder / name
    remove(place)
    make(place)
    for words in (("run", "--slots", "1"), ("daemon", "start"), ("hold",)):
        if name == "supervisor.lock" and words == ("hold",):
            continue  # a verb takes the write lock alone
        begun = time.monotonic()
        done = labtui(lab, *words)
        said = done.stderr.strip().splitlines()
        assert done.returncode == 2, (words, done.stderr)
        assert str(place) in said[-1], (words, done.stderr)
        assert "Traceback" not in done.stderr
        assert time.monotonic() - begun < 50
        assert not processes_of(lab)
    open_lab(lab, read_only=True).close()


def test_nothing_is_opened_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link, second, pipe = tmp_path / "link", tmp_path / "second", tmp_path / "pipe"
    link.symlink_to(victim)
    os.link(victim, second)
    os.mkfifo(pipe)
    for place in (link, second, pipe, tmp_path):
        for flags in (os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_RDWR | os.O_CREAT | os.O_APPEND):
            with pytest.raises(UnusableError):
                os.close(open_own(place, flags))
    assert victim.read_text() == "precious"
    replace(link, b"new")
    assert (victim.read_text(), link.read_bytes(), link.is_symlink()) == ("precious", b"new", False)
    (tmp_path / "file.tmp").symlink_to(victim)
    replace(tmp_path / "file", b"more")
    assert victim.read_text() == "precious"


def test_links_planted_beside_a_lab_are_not_written_through(lab: Path, tmp_path: Path) -> None:
    from runners.pool.checkpoints import obstacle
    from runners.pool.identity import Roster

    paths = LabPaths(lab)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in (
        "checkpoints/assignment.json.room",
        "checkpoints/assignment.json.room.tmp",
        "workers.json",
        "workers.json.tmp",
        "logs/supervisor.log",
        "logs/cpu.0.log",
        "logs/cpu.0.log.1",
    ):
        (paths.folder / name).symlink_to(victim)
    assert obstacle(paths) == ""
    Roster(paths.folder / "workers.json").write([])
    done = labtui(lab, "run", "--slots", "1")
    assert done.returncode in (1, 2)
    assert "cpu.0.log is a link" in done.stderr or "is a link" in done.stderr
    begun = labtui(lab, "daemon", "start", "--slots", "1")  # it may come up before it meets the link
    assert "has done its work" not in begun.stdout + begun.stderr
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("kind", ["link to a folder", "link to nothing", "file", "pipe"])
def test_a_probe_whose_folder_cannot_be_used_fails_its_search_and_no_other(
    lab: Path, tmp_path: Path, kind: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    place = LabPaths(lab).checkpoints / "1"
    if kind == "file":
        place.write_text("")
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(victim if kind == "link to a folder" else tmp_path / "nothing")
    done = labtui(lab, "run", "--slots", "1")
    assert done.returncode == 1, done.stderr
    with open_lab(lab) as found:
        states = found.counts()
        failed = next(job for job in found.jobs() if job.state == "failed")
    assert states == {"failed": 1, "done": sum(states.values()) - 1}
    assert f"{place} is " in (failed.reason or "")
    assert list(victim.iterdir()) == []
    place.unlink()
    assert labtui(lab, "retry", str(failed.id)).returncode == 0
    assert labtui(lab, "run", "--slots", "1").returncode == 0


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
def test_sqlites_own_files_are_no_links(lab: Path, tmp_path: Path, end: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    place = lab.with_name(lab.name + end)
    place.unlink(missing_ok=True)
    place.symlink_to(victim)
    for use in (lambda: Writer(lab), lambda: commands.hold(lab), lambda: open_lab(lab)):
        with pytest.raises(LabError, match="is a link or no file"):
            use()
    assert victim.read_text() == "precious"


def test_two_hard_links_to_one_lab_are_refused(lab: Path, tmp_path: Path) -> None:
    other = lab.with_name("other.db")
    os.link(lab, other)
    for name, twin in ((lab, other), (other, lab)):
        for use in (Writer, commands.hold, create_or_open):
            with pytest.raises(LabError, match=f"has another name, {twin}"):
                use(name)
        done = labtui(name, "daemon", "start")
        assert (done.returncode, str(twin) in done.stderr) == (2, True), done.stderr
        with open_lab(name) as looked:
            assert looked.read_only
            assert str(twin) in looked.notice
    inside = tmp_path / "inside"
    inside.mkdir()
    other.rename(inside / "third.db")
    with pytest.raises(LabError, match="one that is not in its folder"):
        commands.hold(lab)
    (inside / "third.db").unlink()
    commands.hold(lab)


@pytest.mark.parametrize("slot", ["cpu.0", "cuda:0.1", "node-3/cuda:1.0", "../../x", ""])
def test_a_workers_log_lies_in_the_folder_of_logs(tmp_path: Path, slot: str) -> None:
    paths = LabPaths(tmp_path / "lab.db")
    log = paths.worker_log(slot)
    assert log.parent == paths.logs
    assert log.name.endswith(".log")
    paths.make_folder()
    log.write_text("x")
    assert paths.worker_logs() == [log]


def test_events_beyond_the_newest_are_forgotten_a_part_at_a_time(lab: Path) -> None:
    with Writer(lab) as writer:
        with writer.transaction() as tx:
            for k in range(40):
                tx.event("filler", str(k))
            most = tx.rows("SELECT max(id) FROM event")[0][0]
        gone = []
        for _ in range(3):
            with writer.transaction() as tx:
                gone.append(lab_rows.prune_events(tx, 10, at_once=most - 15))
        assert gone == [most - 15, 5, 0]
    with open_lab(lab) as reader:
        assert [e.text for e in reader.events(limit=100)] == [str(k) for k in range(30, 40)]
