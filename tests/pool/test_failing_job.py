"""A job whose verdict the search or the store refuses is failed, and everybody else's results are written."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from runners import search
from runners.spec import Job
from store.read import open_lab
from tests.support import labs
from tests.support.fake_workers import Simulation


@pytest.mark.parametrize("where", ["verdict", "beginning"])
def test_one_job_cannot_hold_up_the_others(lab_path: Path, where: str) -> None:
    labs.make(lab_path, labs.study(4))
    with open_lab(lab_path) as opened:
        poisoned = Job.from_json(opened.job_spec(1)).hash
    real = search.replay

    def replay(job: Job, evidence: object) -> object:
        if job.hash == poisoned and evidence:
            raise ValueError("evidence that cannot be")
        return real(job, evidence)  # type: ignore[arg-type]

    def grid_of(job: Job, candidate: object) -> object:
        return () if job.hash == poisoned else job.grid.members

    patch = (
        mock.patch("runners.pool.persist.replay", replay)
        if where == "verdict"
        else mock.patch("runners.pool.schedule.grid_of", grid_of)
    )
    simulation = Simulation(lab_path)
    try:
        with patch:
            for _ in range(400):
                for worker in simulation.workers:
                    worker.step()
                simulation.turn(1.0)
                if not {"queued", "running"} & set(labs.state_of(lab_path)):
                    break
    finally:
        simulation.close()
    assert labs.state_of(lab_path) == {"failed": 1, "done": 3}
    with open_lab(lab_path) as opened:
        assert "cannot go on" in (opened.job(1).reason or "")
