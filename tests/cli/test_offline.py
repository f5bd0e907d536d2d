"""``--read-only`` on a lab of any kind, without torch:
every reading command answers, not a byte changes beside the file.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest

from tests.cli.conftest import Labtui
from tests.cli.test_hostile import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys
from store.write import Writer
with Writer(sys.argv[1]) as writer:
    with writer.transaction() as tx:
        tx.event("only in the wal", "")
    print("open", flush=True)
    sys.stdin.read()
"""


class NoTorch(MetaPathFinder):
    """A machine on which it is not installed."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another process has the lab open, with something in its WAL."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    try:
        yield
    finally:
        other.communicate()


def state(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, time of change and content of everything in a folder."""
    return {
        str(p.relative_to(folder)): (
            p.stat().st_mode,
            p.stat().st_mtime_ns,
            hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "",
        )
        for p in (folder, *folder.rglob("*"))
        if not p.name.endswith("-shm")  # readers of a live lab sign in there
    }


@pytest.mark.parametrize("kind", ["snapshot", "wal", "live"])
def test_every_reading_command_writes_not_a_byte(
    labtui: Labtui, lab: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(
        sys.modules, "torch", raising=False
    )  # scipy asks after it, and takes a None for a module
    monkeypatch.setattr(sys, "meta_path", [NoTorch(), *sys.meta_path])
    away = tmp_path / "away"
    away.mkdir()
    path = away / "lab.db"
    if kind == "snapshot":
        assert labtui("snapshot", str(path)).code == 0
    elif kind == "wal":
        with held(lab):
            for name in ("lab.db", "lab.db-wal"):
                shutil.copyfile(tmp_path / name, away / name)
    else:
        shutil.copyfile(lab, path)
    if kind != "live":
        away.chmod(0o500)
    try:
        with held(path) if kind == "live" else nullcontext():
            before = state(away)
            for words in [*COMMANDS, ("snapshot", str(tmp_path / "out.db"))]:
                answer = labtui("--read-only", str(path), *words)
                assert answer.code in (0, 1), (words, answer.err)
            found = labtui("--read-only", str(path), "events").out
            assert ("only in the wal" in found) == (kind != "snapshot")
            assert state(away) == before
    finally:
        away.chmod(0o700)
