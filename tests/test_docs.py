"""The commands in the docs, run as they are written, and the words of every other one.

A block ``sh`` is run by a shell, in a folder where the lab is the committed demo; in the tutorial in an empty
one, from its first command to its last. ``sh skip`` is only read: what it does (a clone, an installation, the
screens) is tested elsewhere or cannot be here. A block after ``<!-- file: NAME -->`` is a file of that name.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from labtui.__main__ import main
from labtui.cli.commands import ENTRIES
from labtui.cli.parse import parse

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DEMO = ROOT / "docs" / "labs" / "demo.db"
STANDIN = "tests.support.standin:Trainer"
TRAINS = re.compile(r"labtui (run|demo|watch|daemon (start|run)|allow|rerun)\b|--start|--engine")
"""Not run outside the tutorial: it trains, waits, or asks for what is not here."""
PLACEHOLDER = re.compile(r"\b[A-Z][A-Z0-9]{1,}\b|\.\.\.|\||\bJOB\b|\[")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``name``: of the file that it is."""

    language: str
    text: str
    name: str = ""


def blocks(page: Path) -> Iterator[Block]:
    for name, language, text in re.findall(
        r"(?:<!-- file: (\S+) -->\n)?^```(\S[^\n]*)?\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S
    ):
        yield Block(language.strip(), text, name)


def shell(lines: str, folder: Path, **more: str) -> str:
    """Run lines as a person types them, the commands labtui and python being this environment's."""
    commands = folder.parent / "bin"
    commands.mkdir(exist_ok=True)
    for name, words in (("labtui", "-P -m labtui"), ("python", "-P")):
        file = commands / name
        file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
        file.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LABTUI_")}
    env = {
        **kept, "PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
        "HOME": str(folder.parent), **more,
    }  # fmt: skip
    script = "set -eu\n" + lines
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{lines}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout + done.stderr


def write_files(page: Path, folder: Path) -> None:
    for block in blocks(page):
        if block.name:
            (folder / block.name).write_text(block.text)


def runnable(page: Path) -> list[str]:
    """Lines of its sh blocks that neither train nor wait."""
    lines = [line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
    plain = [line for line in lines if line.startswith("labtui ") and not TRAINS.search(line)]
    return [line for line in plain if not PLACEHOLDER.search(line.partition("#")[0])]


RUN = [page for page in PAGES if runnable(page)]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_commands_run_as_they_are_written(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(DEMO, tmp_path / "lab.db")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "labs").symlink_to(DEMO.parent)
    write_files(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABTUI_CONFIG", str(tmp_path / "config.toml"))
    for line in runnable(page):
        code = main(shlex.split(line, comments=True)[1:])
        # What doctor finds wrong on this machine is not the page's.
        assert code == 0 or (code == 1 and "doctor" in line), (line, capsys.readouterr().err)


def tutorial(folder: Path, **env: str) -> None:
    page = ROOT / "docs" / "tutorial.md"
    folder.mkdir()
    write_files(page, folder)
    said = [shell(block.text, folder, **env) for block in blocks(page) if block.language == "sh"]
    assert len(said) >= 8
    for name in ("kappa.pdf", "kappa.csv", "kappa.tex", "report.html", "result.zip", "from-python.svg"):
        assert (folder / name).stat().st_size > 100, name


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tutorial_from_the_first_command_to_the_last(tmp_path: Path) -> None:
    """With workers that only pretend to train."""
    tutorial(tmp_path / "empty", LABTUI_TRAINER=STANDIN)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_with_real_training(tmp_path: Path) -> None:
    tutorial(tmp_path / "empty")


def test_the_notebook_is_what_its_cells_say() -> None:
    """Else: python docs/make_notebook.py."""
    subprocess.run([sys.executable, "docs/make_notebook.py", "--check"], cwd=ROOT, check=True)


def mentions() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
        for text in re.findall(r"`((?:\.venv/bin/)?labtui [^`]+)`", prose):
            yield page.name, text.replace("\n", " ").replace("\\|", "|").removeprefix(".venv/bin/")


@pytest.mark.parametrize(("page", "text"), sorted(set(mentions())), ids=lambda t: str(t)[:50])
def test_every_command_that_is_named_is_one(page: str, text: str) -> None:
    """Whole ones are parsed; of those with a placeholder, or the name alone, the words must be there."""
    words = shlex.split(re.split(r" [>|<] ", text)[0].replace("; ", " ';' "))[1:]
    named = [w for w in words if not w.startswith("-")]
    if PLACEHOLDER.search(text) or all(w.isalpha() and w.islower() for w in words):
        known = [w for w in named if w in ENTRIES]
        assert known or words[0].startswith("-") or set(words[0].split("|")) <= set(ENTRIES), text
        return
    for part in " ".join(map(shlex.quote, words)).split("';' labtui "):
        parse(shlex.split(part))
