"""The lab file or its folder is moved, deleted or replaced under a living supervisor:
nothing grows in its place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from runners.pool import client as launcher
from runners.pool.identity import Roster
from store.check import check
from store.errors import LabError
from store.paths import LabPaths
from store.read import open_lab
from store.snapshot import snapshot
from tests.support import labs

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

SLOW = {"STANDIN_EVAL_S": "0.03", "STANDIN_CHECKPOINT_EVERY": "1"}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """In a folder of its own, which can go."""
    path = tmp_path / "home" / "lab.db"
    path.parent.mkdir()
    labs.make(path, labs.study(4))
    return path


def begun(lab: Path, *options: str, eval_s: str = "0.03") -> labs.Supervised:
    """A supervisor that has finished something and trains."""
    env = {**SLOW, "STANDIN_EVAL_S": eval_s, "STANDIN_DIR": str(lab.parent.parent)}
    running = labs.spawn(lab, *options, env=env)
    labs.wait(lambda: done(lab) and labs.state_of(lab).get("running"), 40)
    return running


def done(lab: Path) -> list[tuple[int, int, bool | None]]:
    with open_lab(lab) as opened:
        return [
            (j.id, p.n, p.verdict) for j in opened.jobs() for p in opened.probes(j.id) if p.state == "done"
        ]


def test_moved_away_and_back(lab: Path, tmp_path: Path, counts: Counter[str]) -> None:
    running, elsewhere = begun(lab), tmp_path / "elsewhere.db"
    workers = Roster(LabPaths(lab).folder / "workers.json").read()
    lab.rename(elsewhere)
    labs.wait(lambda: "was moved or deleted" in launcher.status(lab).message, 30, "a word about the file")
    assert not lab.exists()
    elsewhere.rename(lab)
    assert running.ended() == 0
    labs.verify(lab)
    assert not any(p.alive() for p in workers)
    with open_lab(lab) as opened:
        assert any("goes on, nothing is lost" in e.text for e in opened.events(limit=10_000))
    counts["files moved"] += 1


@pytest.mark.parametrize("how", ["moved", "deleted", pytest.param("replaced", marks=pytest.mark.slow)])
def test_gone_for_good(lab: Path, tmp_path: Path, counts: Counter[str], how: str) -> None:
    running, elsewhere = begun(lab, "--missing", "0.5"), tmp_path / "elsewhere.db"
    workers = Roster(LabPaths(lab).folder / "workers.json").read()
    had = done(lab)
    other = tmp_path / "other.db"
    if how == "moved":
        lab.rename(elsewhere)
    elif how == "deleted":
        lab.unlink()
    else:
        labs.make(other, labs.study(2))
        content = other.read_bytes()
        os.link(lab, elsewhere)
        other.replace(lab)
    assert running.ended() == 1
    assert not any(p.alive() for p in workers)
    said = launcher.status(lab).message
    assert ("was replaced by another file" if how == "replaced" else "was moved or deleted") in said
    assert lab.read_bytes() == content if how == "replaced" else not lab.exists()
    copies = list(LabPaths(lab).backups.glob("*rescued*"))
    assert len(copies) == 1
    assert str(copies[0]) in said
    assert said in running.log
    assert check(copies[0], replay=labs.replay_stored) == []
    assert set(had) <= set(done(copies[0]))
    # Either goes on from where it was: the copy, or the file itself beside the WAL that stayed.
    lab.unlink(missing_ok=True)
    (elsewhere if how == "moved" else copies[0]).rename(lab)
    assert set(had) <= set(done(lab))
    assert labs.spawn(lab, env={"STANDIN_DIR": str(tmp_path)}).ended() == 0
    labs.verify(lab)
    counts[f"files {how}"] += 1


@pytest.mark.parametrize("how", ["moved", pytest.param("deleted", marks=pytest.mark.slow)])
def test_the_whole_folder_is_gone(lab: Path, tmp_path: Path, counts: Counter[str], how: str) -> None:
    running = begun(lab, "--missing", "0.5")
    workers = Roster(LabPaths(lab).folder / "workers.json").read()
    home, new = lab.parent, tmp_path / "new"
    home.rename(new)
    if how == "deleted":
        shutil.rmtree(new)
    assert running.ended() == 1
    assert not any(p.alive() for p in workers)
    assert not home.exists(), list(home.rglob("*"))
    if how == "moved":
        assert "was moved or deleted" in launcher.status(new / "lab.db").message
        assert labs.spawn(new / "lab.db", env={"STANDIN_DIR": str(tmp_path)}).ended() == 0
        labs.verify(new / "lab.db")
    counts[f"folders {how}"] += 1


@pytest.mark.slow
def test_the_folder_beside_is_deleted(lab: Path, tmp_path: Path, counts: Counter[str]) -> None:
    """With the locks in it: a second supervisor could begin, so this one ends; the lab itself is whole."""
    running = begun(lab, "--missing", "0.5")
    LabPaths(lab).folder.rename(tmp_path / "deleted")  # at once: a worker deletes in it at the same time
    shutil.rmtree(tmp_path / "deleted", ignore_errors=True)
    assert running.ended() == 1
    assert labs.spawn(lab, env={"STANDIN_DIR": str(tmp_path)}).ended() == 0
    labs.verify(lab)
    counts["folders deleted"] += 1


@pytest.mark.parametrize("what", ["earlier", pytest.param("other", marks=pytest.mark.slow)])
def test_another_lab_is_copied_over_it(lab: Path, tmp_path: Path, counts: Counter[str], what: str) -> None:
    """``cp`` writes into the very file: it stays as it was copied, and who looks on is told.

    The other lab may be the same one, as it was before the supervisor began.
    """
    other = tmp_path / "other.db"
    if what == "earlier":
        shutil.copyfile(lab, other)
    else:
        labs.make(other, labs.study(2))
    content = other.read_bytes()
    running = begun(lab, eval_s="0.2")
    workers = Roster(LabPaths(lab).folder / "workers.json").read()
    with open_lab(lab) as reader:
        reader.data_version()
        shutil.copyfile(other, lab)
        with pytest.raises(LabError, match=r"was overwritten with another lab|was moved or replaced"):
            reader.data_version()
    assert running.ended() == 1, running.log
    assert not any(p.alive() for p in workers)
    assert lab.read_bytes() == content
    said = launcher.status(lab).message
    assert "was overwritten with another lab" in said
    assert list(LabPaths(lab).backups.glob("*left-behind*"))
    assert not done(lab)
    assert labs.spawn(lab, env={"STANDIN_DIR": str(tmp_path)}).ended() == 0
    labs.verify(lab)
    counts["files copied over"] += 1


@pytest.mark.slow
def test_a_backup_is_restored_under_it(lab: Path, tmp_path: Path, counts: Counter[str]) -> None:
    """``labtui db restore`` ends the supervisor first; what it had is kept, checkpoints included."""
    saved = tmp_path / "saved.db"
    snapshot(lab, saved)
    running = begun(lab)
    had = done(lab)
    restored = subprocess.run(
        [sys.executable, "-P", "-m", "labtui", "--lab", str(lab), "db", "restore", str(saved)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert restored.returncode == 0, restored.stderr
    assert running.ended() == 0
    assert done(lab) == []
    (old,) = LabPaths(lab).backups.glob("replaced-*.db")
    assert set(had) <= set(done(old))
    assert labs.spawn(lab, env={"STANDIN_DIR": str(tmp_path)}).ended() == 0
    labs.verify(lab)
    counts["files restored"] += 1
