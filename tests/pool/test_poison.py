"""A job whose verdict the search or the store refuses is failed, and everybody else's results are written."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from runners.pool import persist as ledger
from runners.spec import Job
from store.read import open_lab
from tests.support import bench
from tests.support.fake_workers import World


@pytest.mark.parametrize("where", ["verdict", "beginning"])
def test_one_job_cannot_hold_up_the_others(lab_path: Path, where: str) -> None:
    bench.make(lab_path, bench.study(4))
    with open_lab(lab_path) as opened:
        poisoned = Job.from_json(opened.job_spec(1)).hash
    real = ledger.replay

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
    world = World(lab_path)
    try:
        with patch:
            for _ in range(400):
                for puppet in world.puppets:
                    puppet.step()
                world.turn(1.0)
                if not {"queued", "running"} & set(bench.state_of(lab_path)):
                    break
    finally:
        world.close()
    assert bench.state_of(lab_path) == {"failed": 1, "done": 3}
    with open_lab(lab_path) as opened:
        assert "cannot go on" in (opened.job(1).reason or "")
