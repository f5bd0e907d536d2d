"""The disk is remounted read-only, the quota is used up, an input or output fails:
under the living bench, and back.

What comes and goes is answered by a library that is loaded into the supervisor and its workers
(``failing_disk.c``), because a kernel remounts no disk on which files are open for writing. It does where the
disk breaks: that is tested with a real one.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.paths import LabPaths
from store.read import open_lab
from tests.support import labs
from tests.support.faults import long

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
SLOW = {"STANDIN_EVAL_S": "0.03", "STANDIN_CHECKPOINT_EVERY": "1"}


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here; test_no_room_on_the_disk limits the size of files instead")
    out = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    source = labs.ROOT / "tests" / "support" / "failing_disk.c"
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", out, source, "-ldl"], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"the compiler refused: {done.stderr.decode()[:200]}")
    return out


def said(lab: Path) -> str:
    """The word that the app shows."""
    with open_lab(lab) as opened:
        row = opened.supervisor()
    return row.message if row is not None and row.alive and row.state == "waiting" else ""


@pytest.mark.parametrize(
    "why",
    [errno.EROFS, errno.EDQUOT, pytest.param(errno.EIO, marks=pytest.mark.slow)],
    ids=lambda e: errno.errorcode[e],
)
def test_refused_and_allowed_again(
    shim: Path, tmp_path: Path, counts: Counter[str], monkeypatch: pytest.MonkeyPatch, why: int
) -> None:
    monkeypatch.setattr("store.read.lab.SILENT_S", 4.0)  # where the lock file takes no word either
    for turn in range(long(1, 4)):
        lab, control = tmp_path / str(turn) / "lab.db", tmp_path / f"errno{turn}"
        lab.parent.mkdir()
        labs.make(lab, labs.study(5, eps=(1e-4 * (turn + 1),)))
        env = {"LD_PRELOAD": str(shim), "FAILING_UNDER": str(lab.parent), "FAILING_ERRNO": str(control)}
        with labs.supervisor(lab, env={**SLOW, **env, "STANDIN_DIR": str(tmp_path)}) as running:
            labs.wait(lambda lab=lab: labs.state_of(lab).get("done"), 40)
            control.write_text(str(why))
            labs.wait(lambda lab=lab: said(lab), 40, "a word about the disk")
            workers, before = running.workers(), trained(lab)
            assert running.process.poll() is None
            control.unlink()
            assert running.ended() == 0
            assert workers
            assert trained(lab) > before
        labs.verify(lab)
        with open_lab(lab) as opened:
            assert any("nothing is lost" in e.text for e in opened.events(limit=10_000))
            assert all(j.crashes == 0 for j in opened.jobs())
        counts[f"disks that refused ({errno.errorcode[why]})"] += 1


def trained(lab: Path) -> int:
    with open_lab(lab) as opened:
        return sum(1 for e in opened.events(limit=10_000) if e.kind == "probe.done")


def mount(*words: object) -> bool:
    return subprocess.run(["mount", *map(str, words)], capture_output=True, check=False).returncode == 0


@pytest.fixture
def breaking(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """An image with ext4 in it and the place where it is mounted."""
    image, place = tmp_path / "image", tmp_path / "disk"
    image.write_bytes(bytes(16 << 20))
    place.mkdir()
    maker = shutil.which("mkfs.ext4") or shutil.which("mkfs.ext4", path="/usr/sbin:/sbin")
    made = (
        maker is not None
        and subprocess.run([maker, "-q", "-F", image], capture_output=True, check=False).returncode == 0
    )
    if not made or not mount("-o", "loop", image, place):
        pytest.skip("this user cannot mount an image")
    yield image, place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.slow
def test_a_disk_that_the_kernel_remounts_read_only(
    breaking: tuple[Path, Path], tmp_path: Path, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back only when it is unmounted, so the bench is told to end;
    what it had stored is there, and it goes on.
    """
    monkeypatch.setattr("store.read.lab.SILENT_S", 4.0)
    image, place = breaking
    lab = place / "lab.db"
    labs.make(lab, labs.study(5))
    with labs.supervisor(lab, "--grace", "1", env={**SLOW, "STANDIN_DIR": str(tmp_path)}) as running:
        labs.wait(lambda: labs.state_of(lab).get("done"), 40)
        had = trained(lab)
        assert mount("-o", "remount,abort", place)
        labs.wait(lambda: said(lab), 40, "a word about the disk")
        assert running.process.poll() is None
        running.process.terminate()
        assert running.ended(90) in (0, 1)
    subprocess.run(["umount", str(place)], check=True)
    subprocess.run(["fsck.ext4", "-p", str(image)], capture_output=True, check=False)
    assert mount("-o", "loop", image, place)
    assert trained(lab) >= had
    assert labs.spawn(lab, "--grace", "1", env={"STANDIN_DIR": str(tmp_path)}).ended() == 0
    labs.verify(lab)
    counts["disks that broke (ext4)"] += 1


@pytest.mark.slow
def test_read_only_at_the_start_and_back(
    breaking: tuple[Path, Path], tmp_path: Path, counts: Counter[str]
) -> None:
    """With nothing open a disk is remounted in both directions:
    who wants to write says so in a sentence, and looks on.
    """
    _, place = breaking
    lab = place / "lab.db"
    labs.make(lab, labs.study(3))
    assert mount("-o", "remount,ro", place)
    done = subprocess.run(
        [*labs.command(lab)],
        capture_output=True,
        text=True,
        cwd=labs.ROOT,
        env={**os.environ, "STANDIN_DIR": str(tmp_path)},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("labtui: ")
    assert "Read-only file system" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    with open_lab(lab) as opened:
        assert opened.counts()["queued"] > 0
        assert "cannot be written" in opened.notice
    assert not LabPaths(lab).wal.exists()
    assert mount("-o", "remount,rw", place)
    assert labs.spawn(lab, env={"STANDIN_DIR": str(tmp_path)}).ended() == 0
    labs.verify(lab)
    counts["disks read-only at the start"] += 1
