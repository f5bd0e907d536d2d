"""Real searches on two nodes, one of which is killed, come out as on this machine: to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labtui.analysis.kappa import kappa
from runners.pool.options import TRAINER
from store.read import open_lab
from tests.ray.conftest import Nodes
from tests.support import labs

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
STUDY = labs.study(3, steps=120, eps=(0.05,))


def numbers(lab: Path) -> list[Any]:
    """Every bracket, verdict and loss of a finished lab, and kappa."""
    out: list[Any] = []
    with open_lab(lab) as opened:
        for job in sorted(opened.jobs(), key=lambda j: j.hash):
            out.append((job.hash, job.state, job.lo, job.hi, job.status, job.flags))
            for probe in sorted(opened.probes(job.id), key=lambda p: p.n):
                if probe.state == "done" and not probe.speculative:
                    trials = opened.trials(probe_id=probe.id)
                    ends = {(t.lr, t.seed, t.outcome, t.steps, t.best_loss, t.best_step) for t in trials}
                    out.append((job.hash, probe.n, probe.verdict, sorted(ends)))
        out += [kappa(cell).value for cell in opened.cells()]
    return out


def test_brackets_losses_and_kappa_are_those_of_one_machine(
    nodes: Nodes, tmp_path: Path, lab_path: Path
) -> None:
    pytest.importorskip("torch")
    here = tmp_path / "here.db"
    for lab in (here, lab_path):
        labs.make(lab, STUDY, max_attempts=100)
    # Which trials of a probe still run when one succeeds depends on the plan alone with one trial at a time.
    options = ("--no-packing", "--no-speculation")
    assert labs.spawn(here, *options, trainer=TRAINER).ended(300) == 0
    for name in ("a", "b"):
        nodes.add(name)
    cluster = ("--engine", "ray", "--address", nodes.address, *options)
    running = labs.spawn(lab_path, *cluster, trainer=TRAINER)
    try:

        def done() -> int:
            with open_lab(lab_path) as opened:
                return sum(p.state == "done" for j in opened.jobs() for p in opened.probes(j.id))

        labs.wait(lambda: done() >= 3 or running.process.poll() is not None, 240.0, "three candidates")
        nodes.kill("a")
        assert running.ended(300) == 0, running.log[-3000:]
    finally:
        running.kill()
    assert {job[1] for job in numbers(here) if isinstance(job, tuple) and len(job) == 6} == {"done"}
    assert numbers(lab_path) == numbers(here)
