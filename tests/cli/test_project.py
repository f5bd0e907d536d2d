"""What README, Makefile and constraints say is so."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks import study
from labtui import __version__
from labtui.cli.commands import ENTRIES
from tests.cli.conftest import Labtui

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
DEMO = ROOT / "docs" / "labs" / "demo.db"


def test_every_package_is_pinned_without_a_place() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line) for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    assert {re.split(r"[><=]", r)[0].lower() for r in asked} <= pinned


def test_ci_runs_what_the_readme_names() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert "make test" in (ROOT / ".ci/run").read_text()
    assert "make demo" in README
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_command_is_documented() -> None:
    page = (ROOT / "docs/cli.md").read_text("utf-8")
    missing = [name for name in ENTRIES if not re.search(rf"\b{name}\b", page)]
    assert not missing


def test_the_pages_of_the_command_line_are_what_the_code_says() -> None:
    """Else: python docs/make_cli.py."""
    subprocess.run([sys.executable, "docs/make_cli.py", "--check"], cwd=ROOT, check=True)


@pytest.mark.skipif(shutil.which("groff") is None, reason="there is no groff")
def test_the_manual_page_is_one() -> None:
    command = ["groff", "-man", "-Tutf8", "-ww", "-z", "docs/labtui.1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_links_and_pictures_are_there() -> None:
    for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text("utf-8")):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


@pytest.mark.parametrize("page", study.PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_is_what_its_commands_print(
    page: Path, labtui: Labtui, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else: python -m benchmarks.study."""
    monkeypatch.chdir(ROOT)
    shown = study.BLOCK.findall(page.read_text("utf-8"))
    assert shown
    for words, printed in shown:
        assert labtui(*shlex.split(words)).out.rstrip() == printed.rstrip(), words


def test_the_committed_lab_is_whole(labtui: Labtui, tmp_path: Path) -> None:
    copy = tmp_path / "demo.db"
    shutil.copy(DEMO, copy)
    assert DEMO.stat().st_size < 2 << 20
    assert labtui("db", "check", "--lab", str(copy)).err.endswith("no problem found\n")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_finds_a_python_and_says_so_where_there_is_none(tmp_path: Path) -> None:
    """Dry: the recipe is printed, nothing is installed."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    done = subprocess.run(["make", "-n", "test"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "constraints.txt" in done.stdout
    assert "pytest" in done.stdout
    env = {"PATH": str(tmp_path / "bin")}
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "touch"):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    make = str(shutil.which("make"))
    none = subprocess.run(
        [make, "SHELL=/bin/sh", "install"], cwd=tmp_path, capture_output=True, text=True, env=env, check=False
    )
    assert none.returncode != 0
    assert "labtui needs Python >= 3.11" in none.stderr
