"""Completion as a shell asks for it: in bash, zsh and fish where they are installed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runners.pool.interpreter import ROOT
from store.read import open_lab
from tests.cli.conftest import Labtui
from tests.cli.test_offline import state

SCRIPTS = {
    "bash": 'source <(labtui completion bash); COMP_LINE="$1"; COMP_POINT=${#1}; COMP_TYPE=9; COMPREPLY=();'
    " _python_argcomplete labtui; printf '%s\\n' \"${COMPREPLY[@]}\"",
    "fish": 'labtui completion fish | source; complete --do-complete "$argv[1]"',
    # zsh completes in its line editor alone: the function it would call is called with its own functions
    # replaced by ones that print.
    "zsh": "compdef() { :; }; _describe() { print -l -- ${(P)2}; }; source <(labtui completion zsh);"
    ' words=(labtui); BUFFER="$1"; CURSOR=${#1}; _python_argcomplete labtui',
}


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH that begins with a command labtui of this very source."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "labtui"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m labtui "$@"\n')
    command.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def completed(shell: str, line: str, path: str, cwd: Path) -> list[str]:
    words = [shell, "-c", SCRIPTS[shell], *(["x"] if shell != "fish" else []), line]
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    return [
        line.replace(":", "\t").split("\t")[0].strip() for line in done.stdout.splitlines() if line.strip()
    ]


@pytest.mark.parametrize("shell", [s for s in SCRIPTS if shutil.which(s)])
def test_jobs_studies_and_commands(shell: str, lab: Path, path: str) -> None:
    before = state(lab.parent)
    with open_lab(lab, read_only=True) as opened:
        ids = [str(i) for i in opened.job_ids() if str(i).startswith("1")]
    assert completed(shell, "labtui expo", path, lab.parent) == ["export"]
    assert sorted(completed(shell, f"labtui --lab {lab.name} show 1", path, lab.parent)) == sorted(ids)
    assert state(lab.parent).keys() - {"bin", "bin/labtui"} == before.keys() - {"bin", "bin/labtui"}


def ask(line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What the program itself answers a shell."""
    out = tmp_path / "answer"
    env = {
        **os.environ, "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(out), "PYTHONPATH": str(ROOT),
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-P", "-m", "labtui"], env=env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return out.read_text().split("\n") if out.exists() else []


def test_what_can_follow(lab: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(lab.parent)
    assert ask("labtui daemon s", monkeypatch, tmp_path) == ["start", "stop", "status"]
    assert "kappa" in ask("labtui export ", monkeypatch, tmp_path)
    assert "quick" in ask("labtui submit q", monkeypatch, tmp_path)
    assert ask("labtui config set notify_", monkeypatch, tmp_path) == ["notify_command"]
    assert ask("labtui --lab nosuch.db show 1", monkeypatch, tmp_path) == [""]
    assert ask("labtui jobs --study who", monkeypatch, tmp_path) in ([""], ["who shares"])


def test_a_script_for_each_shell(labtui: Labtui) -> None:
    for shell in SCRIPTS:
        assert "labtui" in labtui("completion", shell).out
    assert labtui("completion", "tcsh").code == 2
