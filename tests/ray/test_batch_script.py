"""docs/slurm/ray.sbatch from end to end: srun stands for Slurm, the nodes are real ones on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from store import commands
from store.errors import LabError
from store.read import open_lab
from tests.support import labs

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]
SCRIPT = labs.ROOT / "docs" / "slurm" / "ray.sbatch"
RAY = f"""[ "$1" != start ] || set -- "$@" --min-worker-port=0 --max-worker-port=0
exec {sys.executable} -m ray.scripts.scripts "$@"
"""
"""Two nodes of one machine do not share a range of ports."""
PORT = 20007
"""What the script makes of the job's number."""
SPEC = """
name = "t"
[[sweep]]
task = [{kind = "modular_addition", m = 3}]
model = [{kind = "dense_ssm", hidden = 8}]
format = ["acot"]
L = [3, 4]
grid = {learning_rates = [0.01, 0.003], seeds = [1, 2]}
training = {steps = 100, eval_every = 10, validation_size = 64}
search = {eps = 1e-4, strategy = "log"}
"""
SRUN = """while [ "$1" != bash ]; do shift; done
PATH=$NODE_2:$PATH exec "$@"
"""
TOOLS = {
    "ray": RAY,
    "python": f'exec {sys.executable} "$@"',
    "labtui": f'exec {sys.executable} -P -m labtui "$@"',
    "srun": SRUN,
    "hostname": "echo localhost",
    "node-2/hostname": "echo node-2",
}


def test_a_job_begins_a_cluster_trains_on_its_nodes_and_leaves_nothing(
    tmp_path: Path, lab_path: Path
) -> None:
    for name, text in TOOLS.items():
        tool = tmp_path / "bin" / name
        tool.parent.mkdir(parents=True, exist_ok=True)
        tool.write_text(f"#!/bin/bash\n{text}\n")
        tool.chmod(0o755)
    labs.make(lab_path, labs.study(4, ("dense_ssm", "lstm")))
    commands.hold(lab_path)  # until both nodes are there
    (tmp_path / "study.toml").write_text(SPEC)
    live = tmp_path / "labtui-7" / "lab.db"
    env = {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "NODE_2": f"{tmp_path}/bin/node-2",
        "PYTHONPATH": os.pathsep.join([str(labs.ROOT), *sys.path]),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "2",
        "TMPDIR": str(tmp_path),
        "LABTUI_KEEP": str(lab_path),
        "LABTUI_TRAINER": labs.TRAINER,
        "STANDIN_DIR": str(tmp_path),
    }
    job = subprocess.Popen(
        ["bash", str(SCRIPT), "study.toml"],
        env={**os.environ, **env},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        process_group=0,
    )

    def nodes() -> set[str]:
        with contextlib.suppress(LabError), open_lab(live) as lab:  # it is being copied
            return {device.id for device in lab.devices() if device.state == "active"}
        return set()

    try:
        labs.wait(lambda: len(nodes()) >= 2 or job.poll() is not None, 200, "both nodes")
        assert nodes() == {"localhost/cpu", "node-2/cpu"}
        commands.release(live)
        assert job.wait(200) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGTERM)
    labs.verify(lab_path)
    assert not live.exists()
    labs.wait(lambda: not listens(), 60, "the end of the cluster")


def listens() -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", PORT), 1.0):
        return True
    return False
