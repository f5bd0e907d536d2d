"""The current folder is data: no module that lies in it is ever run, whatever is started there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from runners.pool.client import stop
from tests.support import labs
from tests.tui.ptys import Terminal
from tests.tui.ptys import environment as terminal_environment

LABTUI = Path(sys.executable).with_name("labtui")
OURS = ("labtui", "runners", "store")
NAMES = (
    *(
        "psutil",
        "pynvml",
        "torch",
        "numpy",
        "pydantic",
        "sqlmodel",
        "sqlalchemy",
        "textual",
        "rich",
        "plotext",
    ),
    *("sitecustomize", "usercustomize", "__future__", "json", "argparse", "sqlite3", "subprocess", "signal"),
    *(
        "socket",
        "selectors",
        "logging",
        "dataclasses",
        "typing",
        "platform",
        "importlib",
        "encodings",
        "tests",
    ),
)

BEFORE_US = ("sitecustomize", "usercustomize", "__future__", "importlib", "encodings")


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Path]:
    """A lab and, in its folder, modules and packages that tell of themselves when they are run."""
    folder = tmp_path / "trap"
    folder.mkdir()
    for name in (*NAMES, *OURS):
        told = f"open({str(tmp_path / 'run')!r}, 'a').write({name!r} + '\\n')\n"
        (folder / f"{name}.py").write_text(told)
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(told)
    points = folder / "evil.egg-info"
    points.mkdir()
    (points / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (points / "entry_points.txt").write_text(
        "[labtui.models]\nevil = psutil:x\n[labtui.tasks]\nevil = store:x\n"
    )
    labs.make(folder / "lab.db", labs.study(3))
    yield folder
    stop(folder / "lab.db")


def call(folder: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    quick = {"LABTUI_TRAINER": labs.TRAINER, "STANDIN_EVAL_S": "0", "STANDIN_DIR": str(folder)}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **quick, **env},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def remove(folder: Path, *names: str) -> None:
    """Take modules out of the trap."""
    for name in names:
        (folder / f"{name}.py").unlink()
        (folder / name / "__init__.py").unlink()
        (folder / name).rmdir()


def nothing_was_run(folder: Path) -> None:
    told = folder.parent / "run"
    assert not told.exists(), told.read_text()


@pytest.mark.parametrize("path", ["", os.pathsep, os.pathsep + str(labs.ROOT)])
def test_supervisor_and_workers_take_no_module_of_the_current_folder(trap: Path, path: str) -> None:
    """In the foreground; an empty entry of PYTHONPATH means the current folder to Python."""
    if path:  # what Python itself runs with such a PYTHONPATH before labtui's first line
        remove(trap, "labtui", "typing", "platform", *BEFORE_US)
    env = {"PYTHONPATH": path} if path else {}
    done = call(trap, str(LABTUI), "run", **env)
    assert done.returncode == 0, done.stderr
    assert set(labs.state_of(trap / "lab.db")) == {"done"}
    nothing_was_run(trap)


def test_a_detached_supervisor(trap: Path) -> None:
    done = call(trap, str(LABTUI), "daemon", "start")
    assert done.returncode == 0, done.stderr
    labs.wait(lambda: set(labs.state_of(trap / "lab.db")) == {"done"})
    assert call(trap, str(LABTUI), "daemon", "stop").returncode == 0
    nothing_was_run(trap)


@pytest.mark.parametrize(
    "words", [("doctor",), ("jobs",), ("submit", "quick", "--dry-run"), ("show", "1", "--json")]
)
def test_commands_that_look(trap: Path, words: Sequence[str]) -> None:
    call(trap, str(LABTUI), *words)
    nothing_was_run(trap)


def test_a_rerun(trap: Path) -> None:
    assert call(trap, str(LABTUI), "run").returncode == 0
    done = call(trap, str(LABTUI), "rerun", "1", "--check")
    assert done.returncode == 0, done.stderr
    nothing_was_run(trap)


def test_python_m_labtui(trap: Path) -> None:
    """(``python -m`` itself runs a package called labtui there, and what Python imports before it.)"""
    remove(trap, "labtui", *BEFORE_US)
    done = call(trap, sys.executable, "-m", "labtui", "run")
    assert done.returncode == 0, done.stderr
    done = call(trap, sys.executable, "-P", "-m", "labtui", "jobs")
    assert done.returncode == 0, done.stderr
    nothing_was_run(trap)


@pytest.mark.parametrize("path", ["", os.pathsep + str(labs.ROOT)])
def test_python_m_runners(trap: Path, path: str) -> None:
    remove(trap, "runners", *BEFORE_US)
    if path:
        remove(trap, "typing", "platform")
    words = ("--lab", "lab.db", "--foreground", "--until-empty", "--trainer", labs.TRAINER)
    done = call(trap, sys.executable, "-m", "runners", *words, **({"PYTHONPATH": path} if path else {}))
    assert done.returncode == 0, done.stderr
    nothing_was_run(trap)


def test_the_app_and_the_supervisor_that_it_starts(trap: Path, tmp_path: Path) -> None:
    env = terminal_environment(tmp_path, LABTUI_TRAINER=labs.TRAINER)
    del env["LABTUI_NO_SUPERVISOR"], env["PYTHONPATH"]
    enter = f"cd {trap} && exec {LABTUI} --lab lab.db"
    terminal = Terminal(["/bin/sh", "-c", enter], 120, 40, env)
    try:
        terminal.until(lambda text: "dense_ssm" in text)
        terminal.type("S")
        terminal.until(lambda _: not labs.no_supervisor(trap / "lab.db"))
    finally:
        terminal.close()
    nothing_was_run(trap)


def test_a_plugin_of_pythonpath_is_found_by_the_workers(tmp_path: Path) -> None:
    """The user's PYTHONPATH is the user's word: a trainer that lies there alone is the one that trains."""
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin" / "mine.py").write_text(
        "from tests.support.standin import Trainer as Base\n\n\nclass Trainer(Base):\n    pass\n"
    )
    folder = tmp_path / "cwd"
    folder.mkdir()
    labs.make(folder / "lab.db", labs.study(2))
    done = call(
        folder, str(LABTUI), "run", PYTHONPATH=str(tmp_path / "plugin"), LABTUI_TRAINER="mine:Trainer"
    )
    assert done.returncode == 0, done.stderr
    done = call(folder, str(LABTUI), "show", "1", "--json")
    assert re.search(r'"trainer": "mine:Trainer"', done.stdout), done.stdout[-500:]
