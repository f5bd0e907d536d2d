"""The examples of examples/: their specs are read, their programs run; whole searches are slow."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runners.programs import consent
from runners.spec import NamedJob, Study, load, with_keys
from store.read import open_lab
from tests.support import labs

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def found(lab: Path, spec: Study | NamedJob) -> list[tuple[str, int | None]]:
    """(state, hi) of each search, run to its end."""
    consent.allow(spec.jobs() if isinstance(spec, Study) else [spec.job])
    labs.make(lab, spec)  # type: ignore[arg-type]
    with labs.supervisor(lab) as running:
        assert running.ended(280) == 0, running.log
    with open_lab(lab) as opened:
        return [(row.state, row.hi) for row in opened.jobs()]


@pytest.mark.parametrize("name", ["digits", "torch_script", "shell"])
def test_the_specs_are_read(name: str) -> None:
    spec = load(str(EXAMPLES / name / "study.toml"))
    jobs = spec.jobs() if isinstance(spec, Study) else (spec.job,)
    assert {"digits": 3, "torch_script": 1, "shell": 1}[name] == len(jobs)


def test_the_digits_are_learned() -> None:
    words = ["--n", "600", "--seed", "1", "--classifier", "knn"]
    said = subprocess.run(
        [sys.executable, EXAMPLES / "digits" / "train.py", *words], capture_output=True, text=True, check=True
    ).stdout
    match = re.search(r"accuracy ([0-9.]+)", said)
    assert match is not None
    assert float(match.group(1)) > 0.95


def test_the_torch_script_keeps_and_goes_on(tmp_path: Path) -> None:
    report = tmp_path / "report"
    env = {**os.environ, "LABTUI_REPORT": str(report), "LABTUI_CHECKPOINT": str(tmp_path)}
    env["PYTHONPATH"] = str(EXAMPLES.parent)
    script = [sys.executable, str(EXAMPLES / "torch_script" / "train.py")]
    words = ["--n", "64", "--lr", "0.01", "--seed", "1", "--steps"]
    first = subprocess.Popen([*script, *words, "1000000"], env=env)
    try:
        labs.wait(lambda: report.exists() and report.stat().st_size > 0, what="a report")
        first.send_signal(signal.SIGTERM)
        assert first.wait(timeout=30) == 0
    finally:
        first.kill()
    assert (tmp_path / "last.pt").exists()
    steps = [int(x) for x in re.findall(r'"step": (\d+)', report.read_text())]
    report.unlink()
    subprocess.run([*script, *words, str(steps[-1] + 40)], env=env, check=True, timeout=60)
    again = [int(x) for x in re.findall(r'"step": (\d+)', report.read_text())]
    assert again[0] > steps[-1]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_torch_script_is_searched(lab_path: Path) -> None:
    keys = ["search.n_max=4", "program.threshold=0.5"]  # a handful of trials: each of them loads torch
    [(state, hi)] = found(lab_path, with_keys(load(str(EXAMPLES / "torch_script" / "study.toml")), keys))
    assert state == "done"
    assert hi is not None


def test_the_shell_script_is_searched(lab_path: Path) -> None:
    spec = with_keys(load(str(EXAMPLES / "shell" / "study.toml")), ["search.strategy=log", "search.n_max=64"])
    [(state, hi)] = found(lab_path, spec)
    assert state == "done"
    assert hi is not None


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_notebook_is_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "notebook" / "notebook.py"), str(tmp_path / "lab"), "8"],
        capture_output=True, text=True, timeout=280, env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("N* ") == 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_digits_are_searched(lab_path: Path) -> None:
    keys = ["search.strategy=log", "search.n_max=200", "program.threshold=0.8"]
    began = time.monotonic()
    results = found(lab_path, with_keys(load(str(EXAMPLES / "digits" / "study.toml")), keys))
    assert [state for state, _ in results] == ["done"] * 3, time.monotonic() - began
