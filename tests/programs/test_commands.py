"""submit and allow as a person meets them: what is shown first, the question, the answer."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from labtui.__main__ import main
from runners.programs import consent
from runners.spec import Job, NamedJob, load
from store.read import open_lab
from tests.programs.conftest import HEAD, REPORTS, TAIL, Made
from tests.support import labs


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "train.sh").write_text(REPORTS)
    file = tmp_path / "study.toml"
    file.write_text(HEAD + 'name = "mine"\nenv = {DEPTH = "3"}' + TAIL)
    return file


def job_of(spec: Path) -> Job:
    found = load(str(spec))
    assert isinstance(found, NamedJob)
    return found.job


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_submit_shows_the_command_and_asks(answer: str, agreed: bool, spec: Path, lab_path: Path) -> None:
    screen, inside = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "labtui", "--lab", str(lab_path), "submit", str(spec)],
            stdin=inside, stdout=inside, stderr=inside, cwd=labs.ROOT, start_new_session=True,
        )  # fmt: skip
        os.close(inside)
        said = b""
        while b"[y/N]" not in said and select.select([screen], [], [], 60)[0]:
            said += os.read(screen, 65536)
        os.write(screen, answer.encode())
        assert process.wait(timeout=60) == 0
    finally:
        os.close(screen)
    assert b"sh train.sh {n} {seed} {lr}" in said
    assert b"train.sh" in said.split(b"file")[1]
    assert b"DEPTH=3" in said
    assert consent.allowed(job_of(spec)) == agreed
    with open_lab(lab_path) as lab:
        assert [row.state for row in lab.jobs()] == ["queued"]  # without a word it waits


def test_where_nobody_can_be_asked_it_waits_for_allow(
    spec: Path, lab_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--lab", str(lab_path), "submit", str(spec)]) == 0
    assert "wait for your word: labtui allow JOB" in capsys.readouterr().err
    assert main(["--lab", str(lab_path), "allow", "1"]) == 2
    assert "nothing is allowed; expected yes, or --yes" in capsys.readouterr().err
    assert not consent.allowed(job_of(spec))
    assert main(["--lab", str(lab_path), "allow", "1", "--yes"]) == 0
    assert "runs      sh train.sh {n} {seed} {lr}" in capsys.readouterr().err
    assert consent.allowed(job_of(spec))


def test_run_ends_with_the_word_that_is_missing(
    spec: Path, lab_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--lab", str(lab_path), "submit", str(spec)])
    assert main(["--lab", str(lab_path), "run", "--slots", "1"]) == 1
    assert "1 searches run a program and wait for your word: labtui allow 1" in capsys.readouterr().err


def test_submit_allow_asks_nothing(spec: Path, lab_path: Path) -> None:
    assert main(["--lab", str(lab_path), "submit", str(spec), "--allow"]) == 0
    assert consent.allowed(job_of(spec))


def test_allow_refuses_files_that_are_not_those_of_the_job(
    spec: Path, lab_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--lab", str(lab_path), "submit", str(spec)])
    (spec.parent / "train.sh").write_text("rm -rf ~")
    assert main(["--lab", str(lab_path), "allow", "1", "--yes"]) == 2
    assert "was queued with another train.sh" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["jobs"], ["queue"], ["show", "1"], ["show", "queue"], ["show", "job"]])
def test_a_word_that_is_missing_is_seen_at_once(
    words: list[str], spec: Path, lab_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the lab and the user's own file alone: no supervisor has looked at the lab, here or elsewhere."""

    def shown() -> bool:
        capsys.readouterr()
        assert main(["--lab", str(lab_path), *words]) == 0
        return "your word" in capsys.readouterr().out

    main(["--lab", str(lab_path), "submit", str(spec)])
    assert shown()
    with open_lab(lab_path, consent=consent) as lab:
        before = lab.data_version()
        consent.allow([job_of(spec)])
        assert lab.data_version() != before  # the screens look again
    assert not shown()
    consent.allowed_file().unlink()  # as on another machine
    assert shown()


def test_a_spec_of_many_files_is_read_whole(
    tmp_path: Path, lab_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.sh").write_text(REPORTS)
    for i in range(900):
        (tmp_path / f"{'a long name of data ' * 5}{i}.csv").touch()
    file = tmp_path / "study.toml"
    file.write_text(HEAD + 'files = ["*.csv"]' + TAIL)
    assert main(["--lab", str(lab_path), "submit", str(file)]) == 0
    assert main(["--lab", str(lab_path), "allow", "1", "--yes"]) == 0
    with open_lab(lab_path, consent=consent) as lab:
        assert not lab.jobs()[0].needs_word


def test_what_is_shown_is_escaped(lab_path: Path, made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    """A lab from elsewhere must not hide a command behind what a terminal obeys."""
    hidden = "\\u001b[2K\\u001b[1A\\u202e\\u0007"
    head = HEAD.replace('"{lr}"', f'"{{lr}}", "x{hidden}y"')
    labs.make(lab_path, NamedJob(job=made(head=head, allow=False)))  # type: ignore[arg-type]
    assert main(["--lab", str(lab_path), "allow", "1"]) == 2
    said = capsys.readouterr().err
    assert "sh train.sh" in said
    assert not any(c in said for c in "\x1b\u202e\x07")
