"""A plan that serves one hand-out alone (memory others held, a refused capture) is not kept for its shape."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from runners.pool import protocol as m
from tests.support import labs
from tests.support.fake_workers import Simulation


@pytest.mark.parametrize("passing", [True, False])
def test_a_plan_whose_reason_may_pass_serves_its_own_trials_alone(lab_path: Path, passing: bool) -> None:
    labs.make(lab_path, labs.study(4))
    simulation = Simulation(lab_path)
    try:
        for _ in range(400):
            for worker in simulation.workers:
                worker.step()
                worker.said[:] = [
                    replace(s, plan=replace(s.plan, passing=passing)) if isinstance(s, m.Planned) else s
                    for s in worker.said
                ]
            simulation.turn(1.0)
            if not {"queued", "running"} & set(labs.state_of(lab_path)):
                break
    finally:
        simulation.close()
    with closing(sqlite3.connect(lab_path)) as connection:
        kept = connection.execute("SELECT count(*) FROM calibration").fetchone()[0]
        plans = connection.execute("SELECT count(*) FROM probe WHERE plan <> ''").fetchone()[0]
    assert plans
    assert (kept == 0) == passing
