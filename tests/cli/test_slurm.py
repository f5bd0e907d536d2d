"""The batch scripts of docs/slurm, and what ``labtui run`` and ``submit --part`` owe a batch system."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runners.pool.signals import REQUEUE
from runners.spec import searches_of_part
from store.paths import LabPaths
from store.read import open_lab
from tests.support import labs

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "docs" / "slurm").glob("*.sbatch"))
SLOW = {"STANDIN_EVAL_S": "0.05", "STANDIN_EVALS": "200", "STANDIN_CHECKPOINT_EVERY": "2"}
"""No candidate ends within the second after its first checkpoint."""
SPEC = """
name = "t"
[[sweep]]
task = [{kind = "modular_addition", m = 3}]
model = [{kind = "dense_ssm", hidden = 8}, {kind = "lstm", hidden = 8}]
format = ["acot"]
L = [3, 4]
grid = {learning_rates = [0.01, 0.003], seeds = [1, 2]}
training = {steps = 100, eval_every = 10, validation_size = 64}
search = {eps = 1e-4, strategy = "log"}
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_a_script_is_sound(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    if (checker := shutil.which("shellcheck")) is not None:
        done = subprocess.run([checker, str(script)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a batch job: labtui and a scontrol that writes down what it is told."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {
        "labtui": f'exec {sys.executable} -P -m labtui "$@"',
        "scontrol": f'echo "$@" >> {tmp_path}/scontrol.log',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    (tmp_path / "study.toml").write_text(SPEC)
    (tmp_path / "node").mkdir()
    mine = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SLURM_JOB_ID": "7",
        "TMPDIR": str(tmp_path / "node"),
        "LABTUI_KEEP": str(tmp_path / "keep"),
        "LABTUI_TRAINER": labs.TRAINER,
        "LABTUI_SLOTS": "2",
        "STANDIN_DIR": str(tmp_path),
    }
    return {**os.environ, **mine}


@pytest.mark.slow
def test_a_job_at_its_limit_checkpoints_queues_itself_again_and_goes_on(
    machine: dict[str, str], tmp_path: Path
) -> None:
    script = ["bash", str(ROOT / "docs/slurm/requeue.sbatch"), "study.toml"]
    live = LabPaths(tmp_path / "node" / "labtui-7" / "lab.db")
    first = subprocess.Popen(script, env={**machine, **SLOW}, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        labs.wait(lambda: list(live.checkpoints.glob("*/standin.ckpt")), what="a checkpoint")
        first.send_signal(signal.SIGUSR1)
        assert first.wait(60) == 0
    finally:
        first.kill()
    assert (tmp_path / "scontrol.log").read_text().split() == ["requeue", "7"]
    assert not live.lab.exists()
    kept = tmp_path / "keep" / "lab.db"
    assert list(LabPaths(kept).checkpoints.glob("*/standin.ckpt"))
    begun = len((tmp_path / "trained.log").read_text().splitlines())
    quick = SLOW | {"STANDIN_EVAL_S": "0"}
    subprocess.run(
        script, env={**machine, **quick}, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL, timeout=90
    )
    labs.verify(kept)
    assert (tmp_path / "scontrol.log").read_text().split() == ["requeue", "7"]
    assert len((tmp_path / "trained.log").read_text().splitlines()) > begun


@pytest.mark.parametrize(
    ("number", "env", "code"),
    [(signal.SIGUSR1, {}, REQUEUE), (signal.SIGTERM, {"SLURM_JOB_ID": "7"}, REQUEUE)],
    ids=["SIGUSR1", "SIGTERM in Slurm"],
)
def test_a_run_whose_time_is_up_ends_with_the_code_that_requeues(
    tmp_path: Path, number: signal.Signals, env: dict[str, str], code: int
) -> None:
    lab = tmp_path / "lab.db"
    labs.make(lab, labs.study(3))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "labtui", "--lab", str(lab), "run", "--slots", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LABTUI_TRAINER": labs.TRAINER, "STANDIN_DIR": str(tmp_path), **SLOW, **env},
    )
    try:
        labs.wait(lambda: list(LabPaths(lab).checkpoints.glob("*/standin.ckpt")), what="a checkpoint")
        process.send_signal(number)
        assert process.wait(60) == code
    finally:
        process.kill()
    assert labs.no_supervisor(lab)
    assert labs.state_of(lab).get("running", 0) == 0


def test_parts_are_whole_cells_and_together_the_study() -> None:
    study = labs.study(6, ("dense_ssm", "lstm"), eps=(1e-4, 2e-4))
    everything = {job.hash for job in study.jobs()}
    for of in (1, 2, 3, 4):
        parts = [searches_of_part(study, number, of) for number in range(1, of + 1)]
        assert all(parts)
        assert set().union(*parts) == everything
        for cell in study.cells():
            assert any({job.hash for job in cell.jobs} <= part for part in parts)
    assert sum(len(searches_of_part(study, k, 4)) for k in (1, 2, 3, 4)) == len(everything)
    with pytest.raises(ValueError, match="4 cells"):
        searches_of_part(study, 1, 5)
    with pytest.raises(ValueError, match="no part 3 of 2"):
        searches_of_part(study, 3, 2)


@pytest.mark.slow
def test_the_jobs_of_an_array_make_one_study(machine: dict[str, str], tmp_path: Path) -> None:
    script = str(ROOT / "docs/slurm/array.sbatch")
    for part in ("1", "2"):
        array = {"SLURM_ARRAY_TASK_ID": part, "SLURM_ARRAY_TASK_COUNT": "2"}
        subprocess.run(
            ["bash", script, "study.toml"],
            env={**machine, **array},
            cwd=tmp_path,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=90,
        )
    parts = [f"labtui-parts/{part}.db" for part in ("1", "2")]
    with open_lab(tmp_path / parts[0]) as lab:
        assert {"done", "paused"} == {job.state for job in lab.jobs()}
    subprocess.run(
        ["bash", script, "merge", "all.db", *parts], env=machine, cwd=tmp_path, check=True, timeout=90
    )
    with open_lab(tmp_path / "all.db") as lab:
        assert len(lab.studies()) == 1
        assert len(lab.cells()) == 4
    labs.verify(tmp_path / "all.db")
