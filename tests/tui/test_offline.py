"""The screens on a machine without torch and GPU, and for somebody who may only look: in a real terminal."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.plain import plain_user
from tests.tui.ptys import ROOT, Terminal, environment

ABSENT = """
from importlib.machinery import PathFinder

find = PathFinder.find_spec
absent = ("torch", "pynvml", "sqlmodel", "sqlalchemy", "alembic")


def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in absent else find(name, path, target)


PathFinder.find_spec = classmethod(find_spec)
"""
"""Not installed, for a Python that begins with it: neither found nor importable."""
SCREENS = (
    ("2", "candidates"),
    ("3", "κ = Σ N*_n / N*_joint"),
    ("4", "N* against longest length L"),
    ("5", "1,248 trials"),
    ("6", "8 searches, 2 kappas"),
    ("\x1b", "1,248 trials"),
    ("7", "Two jobs, or two labs, side by side."),
    ("8", "Since your last visit"),
    ("1", "who shares"),
)


def test_every_screen_opens_without_torch_and_what_it_keeps_is_its_owners(
    terminal: Callable[..., Terminal], small: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(ABSENT)
    before = {p.name: p.stat().st_mtime_ns for p in small.parent.rglob("*")}
    mask = os.umask(0)
    try:
        t = terminal(small, "--read-only", PYTHONPATH=f"{site}{os.pathsep}{ROOT}")
    finally:
        os.umask(mask)
    t.sees("read-only", "^p palette")
    for key, words in SCREENS:
        t.type(key)
        t.sees(words)
    t.type("p")
    t.sees("this lab is open read-only")
    t.type("q")
    assert os.waitstatus_to_exitcode(t.ended()) == 0
    assert {p.name: p.stat().st_mtime_ns for p in small.parent.rglob("*")} == before
    kept = list((tmp_path / ".local").rglob("*"))
    assert [p for p in kept if p.is_file()] != []
    assert [p for p in kept if stat.S_IMODE(p.stat().st_mode) & 0o077] == []


@pytest.fixture
def others(small: Path) -> Iterator[Path]:
    """A lab that a plain user may read, in a folder where it may not write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(small, folder / "lab.db")
        (folder / "lab.db").chmod(0o444)
        folder.chmod(0o555)
        yield folder / "lab.db"
        folder.chmod(0o700)


def test_a_lab_that_cannot_be_written_opens_to_be_looked_at(others: Path) -> None:
    command = [*plain_user(), sys.executable, "-m", "labtui", "--lab"]
    t = Terminal([*command, str(others)], 120, 30, environment(Path("/nonexistent")))
    try:
        t.sees("read-only", "lab.db cannot be written by this user; opened read-only", "^p palette")
        t.type("x")
        t.sees("this lab is open read-only")
        t.type("q")
        assert os.waitstatus_to_exitcode(t.ended()) == 0
    finally:
        t.close()
    t = Terminal([*command, str(others.with_name("new.db"))], 120, 30, environment(Path("/nonexistent")))
    try:
        assert os.waitstatus_to_exitcode(t.ended()) == 2
        said = " ".join(t.text().split())
        assert "new.db.d cannot be made or used by this user (Permission denied); expected a folder" in said
        assert said.endswith("give --lab a path in one, or look with --read-only")
    finally:
        t.close()
    assert [p.name for p in others.parent.iterdir()] == ["lab.db"]
