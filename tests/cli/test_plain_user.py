"""What a user is told who may look at a lab and not write:
one sentence with the way out, and nothing is left behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plain import plain_user

ROOT = Path(__file__).resolve().parents[2]
LOOK = "; look at it with --read-only, or take a copy of your own with `labtui snapshot OUT`\n"


@pytest.fixture
def open_lab(made: Path) -> Iterator[Path]:
    """A lab in a folder that everybody can enter, as pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(made, folder / "lab.db")
        yield folder / "lab.db"
        folder.chmod(0o700)


@pytest.fixture
def closed(open_lab: Path) -> Path:
    """One that everybody may read, where nobody else may write."""
    open_lab.chmod(0o444)
    open_lab.parent.chmod(0o555)
    return open_lab


def ask(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    command = [*plain_user(), sys.executable, "-m", "labtui", *words]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done


def test_looking_needs_no_right_to_write(closed: Path) -> None:
    for words in (("--read-only", "lab.db", "queue"), ("queue",), ("kappa",), ("db", "check")):
        done = ask(closed.parent, *words)
        assert done.returncode == 0, done.stderr
    assert (
        f"{closed} cannot be written by this user; opened read-only\n" in ask(closed.parent, "queue").stderr
    )


@pytest.mark.parametrize(
    "words", ["pause 1", "submit quick", "run", "daemon start", "daemon run", "db vacuum", "hold"]
)
def test_writing_is_refused_with_the_way_out(closed: Path, words: str) -> None:
    done = ask(closed.parent, *words.split())
    assert (done.returncode, done.stderr) == (2, f"labtui: {closed} cannot be written by this user{LOOK}")


def test_a_lab_of_ones_own_in_anothers_folder(closed: Path) -> None:
    closed.chmod(0o666)
    done = ask(closed.parent, "pause", "1")
    assert done.returncode == 2
    assert (
        done.stderr == f"labtui: {closed.parent}, the folder of lab.db, cannot be written by this user{LOOK}"
    )


@pytest.mark.parametrize("words", ["--lab new.db submit quick", "--lab new.db daemon start", "db backup"])
def test_nothing_can_be_made_beside_it(closed: Path, words: str) -> None:
    done = ask(closed.parent, *words.split())
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"labtui: {closed.parent}/")
    assert "Permission denied" in last
    assert last.endswith("expected a folder of one's own: give --lab a path in one, or look with --read-only")


def test_a_lab_that_may_not_be_read(open_lab: Path) -> None:
    lab = open_lab
    lab.chmod(0)
    for words in ("queue", "--read-only queue", "db check", "doctor", "daemon start"):
        done = ask(lab.parent, "--lab", "lab.db", *words.split())
        assert done.returncode == (1 if words == "doctor" else 2)
        assert (
            f"{lab} cannot be read by this user; expected a lab of one's own, or a copy"
            in done.stderr + done.stdout
        )
