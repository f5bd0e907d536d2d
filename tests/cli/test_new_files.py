"""Where what a person asked for is written: a new file, whole or not at all, beside no lab's own files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Labtui

WRITERS = {
    "snapshot": ("snapshot", "{}"),
    "export": ("export", "jobs", "--out={}"),
    "merge": ("merge", "lab.db", "lab.db", "-o", "{}"),
}


def words(name: str, out: str) -> list[str]:
    return [word.format(out) for word in WRITERS[name]]


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_that_leads_nowhere_is_there_already(labtui: Labtui, lab: Path, name: str) -> None:
    Path("link").symlink_to("victim")
    answer = labtui(*words(name, "link"))
    assert (answer.code, answer.err) == (2, "labtui: link is there already; expected a new file\n")
    assert Path("link").is_symlink()
    assert not Path("victim").exists()


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal", ".d", ".toml"])
@pytest.mark.parametrize("name", ["snapshot", "merge"])
def test_no_output_takes_the_name_of_a_part_of_a_lab(
    labtui: Labtui, lab: Path, name: str, ending: str
) -> None:
    lab.with_name("lab.db.d").rename("aside")
    answer = labtui("--read-only", *words(name, f"lab.db{ending}"))
    assert answer.code == 2
    assert "would be taken for a part of lab.db" in answer.err
    assert not Path(f"lab.db{ending}").exists()
    assert labtui("--read-only", "jobs").code == 0


def test_the_ending_of_a_table_says_its_format(labtui: Labtui, lab: Path) -> None:
    for out in ("jobs.xlsx", "jobs.csv.gz"):
        answer = labtui("export", "jobs", "-o", out)
        assert answer.code == 2
        assert f"{out} has no ending of a table" in answer.err
        assert not Path(out).exists()
    assert labtui("export", "jobs", "-o", "-").out == labtui("export", "jobs").out
    assert not Path("-").exists()


def test_a_figure_comes_with_its_data_or_not_at_all(labtui: Labtui, lab: Path) -> None:
    pytest.importorskip("matplotlib")
    for data in ("no/such.csv", "k.svg"):
        answer = labtui("figure", "kappa", "k.svg", "--data", data)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert not Path("k.svg").exists()


def test_a_kill_leaves_no_half_table(labtui: Labtui, lab: Path) -> None:
    code = (
        "import os, signal, pathlib; from labtui.cli.new_file import into\n"
        "def half(path):\n"
        "    path.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "into(pathlib.Path('t.csv'), half)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert not os.path.lexists("t.csv")


def test_damage_is_told_of_the_lab_that_was_read(labtui: Labtui, lab: Path) -> None:
    data = lab.read_bytes()
    lab.with_name("bad.db").write_bytes(data[:16384] + b"\xa5" * (len(data) - 16384))
    for asked in (("--lab", "bad.db", "snapshot", "x.db"), ("merge", "lab.db", "bad.db", "-o", "x.db")):
        answer = labtui(*asked)
        assert answer.code == 2
        assert "/bad.db is damaged" in answer.err
        assert "second.db" not in answer.err
        assert not Path("x.db").exists()


@pytest.mark.parametrize(
    ("variable", "asked"),
    [
        ("SOURCE_DATE_EPOCH=abc", "fits"),
        ("MPLBACKEND=nosuch", "figure kappa k.svg"),
        ("MATPLOTLIBRC=/dev/zero", "figure kappa k.svg"),
    ],
)
def test_a_variable_of_others_is_no_fault(labtui: Labtui, lab: Path, variable: str, asked: str) -> None:
    pytest.importorskip("matplotlib")
    assert started(asked, dict([variable.split("=")])) == (0, "")


@pytest.mark.parametrize("kind", ["pipe", "bytes", "endless"])
def test_a_strange_matplotlibrc_of_the_current_folder_is_no_fault(
    labtui: Labtui, lab: Path, kind: str
) -> None:
    pytest.importorskip("matplotlib")
    if kind == "pipe":
        os.mkfifo("matplotlibrc")
    elif kind == "bytes":
        Path("matplotlibrc").write_bytes(b"\xff\xfe")
    else:
        Path("matplotlibrc").symlink_to("/dev/zero")
    assert started("figure kappa k.svg", {}) == (0, "")
    assert Path("k.svg").is_file()


def started(asked: str, env: dict[str, str]) -> tuple[int, str]:
    """A command in a process of its own; (exit code, what it says beside a file that was written)."""
    found = subprocess.run(
        [sys.executable, "-P", "-m", "labtui", *asked.split()],
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return found.returncode, "".join(w for w in found.stderr.splitlines(True) if not w.startswith("wrote"))


def test_no_file_is_deleted_that_a_planted_journal_names(labtui: Labtui, lab: Path) -> None:
    victim = Path("victim.txt").absolute()
    victim.write_text("mine")
    name = os.fsencode(victim)
    tail = len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big") + bytes.fromhex("d9d505f920a163d7")
    Path("lab.db-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(504) + name + tail)
    for asked in (("note", "1", "hi"), ("jobs",), ("db", "check"), ("run",), ("db", "restore", "lab.db.d/x")):
        answer = labtui(*asked)
        assert (answer.code, answer.err.count("\n")) == (2, 1), asked
    assert "lab.db-journal names another file" in labtui("note", "1", "hi").err
    assert victim.read_text() == "mine"
