"""Streams and folders that are not what a command expects: one sentence, exit 1 or 2, never a traceback."""

from __future__ import annotations

import io
import os
import resource
import shlex
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from labtui.__main__ import main
from labtui.cli.arguments import Parser
from labtui.cli.commands import ENTRIES
from labtui.cli.parse import build
from tests.cli.conftest import Labtui
from tests.cli.test_hostile import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
LONG = "a" * 300
WAITS = {"demo", "run", "daemon", "watch", "rerun", "scan"}
"""Commands that train, or wait for training; with --help alone they are tried here."""


def examples() -> list[list[str]]:
    """The example of every command, as its help gives it."""
    found = []

    def add(parser: Parser) -> None:
        if parser.parts:
            for inner in parser.parts.choices.values():
                add(inner)
        elif parser.epilog and "example: labtui " in parser.epilog:
            line = parser.epilog.partition("example: labtui ")[2].splitlines()[0]
            found.append(shlex.split(line.replace("study.toml --start", "quick")))

    add(build())
    return [words for words in found if words[0] not in WAITS and "--follow" not in words]


def told(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("stream", ["closed", "full"])
def test_every_command_where_stdout_takes_nothing(
    lab: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stream: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    silent = 0
    for words in [*examples(), *map(list, COMMANDS), *([name, "--help"] for name in ENTRIES)]:
        with closing(io.StringIO() if stream == "closed" else Path("/dev/full").open("w")) as file:
            monkeypatch.setattr(sys, "stdout", None if stream == "closed" else file)
            code = main(words)
            monkeypatch.undo()
            monkeypatch.chdir(tmp_path)
        said = told(capsys)
        assert code in (0, 1, 2), words
        if code == 0:  # what only narrates has nothing for stdout
            silent += 1
            assert "--json" not in words, words
            assert "--help" not in words, words
        elif code == 1:
            assert "labtui: stdout " in said, (words, said)
    assert silent < 30


@pytest.mark.parametrize("limit", [0, 700])
def test_every_command_at_the_limit_of_a_files_size(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], limit: int
) -> None:
    """``ulimit -f``, which holds for the lab as well: what cannot be written is told, nothing is broken."""
    monkeypatch.chdir(tmp_path)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    refused = 0
    for words in [*examples(), *map(list, COMMANDS), *([name, "--help"] for name in ENTRIES)]:
        with (tmp_path / "out.txt").open("w") as file:
            monkeypatch.setattr(sys, "stdout", file)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
            try:
                code = main(words)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
                monkeypatch.undo()
                monkeypatch.chdir(tmp_path)
        said = told(capsys)
        assert code in (0, 1, 2), words
        assert code == 0 or "labtui: " in said or str(lab) in said, (words, said)
        refused += code == 1
    assert refused > 30
    assert main(["db", "check"]) == 0, capsys.readouterr()


def test_every_command_where_the_lab_has_no_usable_name(
    labtui: Labtui, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in ("/", "..", ".", LONG, str(tmp_path), "/dev/null/lab.db"):
        for words in examples():
            answer = labtui("--lab", where, *words)
            assert answer.code == 2, (where, words, answer)
            assert answer.err.startswith("labtui: "), (where, words, answer.err)
            assert answer.out == ""
    for command in (
        "submit",
        "compare",
        "scan",
        "rerun",
        "snapshot",
        "export jobs --out",
        "submit --dry-run",
    ):
        for name in (LONG, f"{LONG}.toml", f"{LONG}.json", "x/" * 3000):
            answer = labtui(*command.split(), name)
            assert answer.code == 2, (command, answer)
            assert answer.err.count("\n") == 1


def test_every_command_where_the_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for words in examples():
        code = main(words)
        assert code in (1, 2), words
        assert told(capsys).startswith("labtui: "), words


def test_every_command_with_a_byte_that_is_not_utf8(labtui: Labtui, lab: Path) -> None:
    before = labtui("jobs", "--json").out
    for words in (
        ["jobs", "name~\udce9"],
        ["trials", "\udce9"],
        ["jobs", "--study", "\udce9"],
        ["jobs", "--order", "\udce9"],
        ["rename", "1", "\udce9"],
        ["note", "1", "\udce9"],
        ["tag", "1", "\udce9"],
        ["edit", "1", '{"name": "\udce9"}'],
        ["edit", "1", r'{"name": "\ud800"}'],
        ["edit", "1", r'{"\ud800": 1}'],
        ["study", "rename", "1", "\udce9"],
        ["show", "\udce9"],
        ["kappa", "--rows", "\udce9"],
        ["submit", "\udce9"],
        ["device", "\udce9", "--slots", "1"],
    ):
        answer = labtui(*words)
        assert answer.code == 2, (words, answer)
        assert answer.err.count("\n") == 1, answer.err
    assert labtui("jobs", "--json").out == before
    assert labtui("rename", "1", "a good name").code == 0, "what was refused stands in nobody's way"


def test_a_home_that_is_no_folder(
    labtui: Labtui, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for home in ("~nosuch", "", "relative", "/nowhere/at/all", "~"):
        monkeypatch.setenv("HOME", home)
        assert labtui("doctor").code in (0, 1)
        assert labtui("queue").code == 0
    assert {p.name for p in tmp_path.iterdir()} <= {"lab.db", "lab.db.d", "lab.db-wal", "lab.db-shm"}


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ("jobs >&-", 1),
        ("jobs >/dev/full", 1),
        ("--help >/dev/full", 1),
        ("jobs --json >/dev/full 2>/dev/full", 1),
        ("jobs <&- >&- 2>&-", 1),
        ("trials | head -c 1", 0),
        ("pause 999 >&-", 2),
    ],
)
def test_in_a_real_shell(lab: Path, shell: str, code: int) -> None:
    """File numbers are closed for real here, and the interpreter ends."""
    script = f"set -o pipefail; {sys.executable} -m labtui --lab {lab} {shell}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.stderr.count("\n") <= 1
