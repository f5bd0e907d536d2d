"""Time that was spent is spent: no pause and no crash takes anything off wall, device time and steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from runners.pool.persist import TELL_S
from store import commands
from store.read import open_lab
from tests.support import labs
from tests.support.fake_workers import Simulation

TURN_S = 0.5


class Watched(Simulation):
    """A simulation that measures by itself how long each candidate has been with a worker."""

    def __init__(self, lab: Path) -> None:
        super().__init__(lab)
        self.spent: dict[int, float] = defaultdict(float)

    def train(self, turns: int, *, steps: bool = True) -> None:
        for _ in range(turns):
            before = self.now
            out = [] if self.supervisor is None else self.supervisor.state.assignments
            probes = [probe.id for assignment in out for probe in assignment.probes.values()]
            for worker in self.workers if steps else ():
                worker.step()
            self.turn(TURN_S)
            for probe in probes:
                self.spent[probe] += self.now - before


@pytest.fixture
def simulation(lab_path: Path) -> Iterator[Watched]:
    labs.make(lab_path, labs.study(3))
    watched = Watched(lab_path)
    watched.pack(False)
    yield watched
    watched.close()


@pytest.mark.parametrize("how", ["pause", "supervisor killed", "worker killed", "supervisor ended"])
def test_all_stretches_count(simulation: Watched, lab_path: Path, how: str) -> None:
    with open_lab(lab_path) as opened:
        ids = [job.id for job in opened.jobs()]
    for _ in range(3):
        simulation.train(3)
        simulation.train(12, steps=False)  # a long evaluation: time goes by, no step ends
        if how == "pause":
            commands.pause(lab_path, ids)
            simulation.train(6)
            simulation.train(20, steps=False)  # nothing trains: this counts for nobody
            commands.resume(lab_path, ids)
        elif how == "supervisor killed":
            simulation.crash()
        elif how == "worker killed":
            simulation.pick(0).die(0)
        else:
            simulation.stop()
    for _ in range(400):
        simulation.train(1)
        if set(labs.state_of(lab_path)) == {"done"}:
            break
    labs.verify(lab_path)
    interruptions = 3
    told: dict[int, float] = defaultdict(float)
    with open_lab(lab_path) as opened:
        for job in opened.jobs():
            done = [p for p in opened.probes(job.id) if p.state == "done"]
            for probe in done:
                told[probe.id] = probe.wall_s
                trials = opened.trials(probe_id=probe.id)
                assert probe.member_steps == sum(t.steps for t in trials)
            assert job.wall_s == pytest.approx(sum(p.wall_s for p in done))
            assert job.device_s == pytest.approx(job.wall_s)  # nothing was packed
            assert job.member_steps == sum(p.member_steps for p in done)
    # what a killed supervisor had not yet written is all that may be missing, and no time is invented
    slack = interruptions * (TELL_S + 2 * TURN_S)
    assert any(spent > 10 for spent in simulation.spent.values())
    for probe_id, wall in told.items():
        assert wall == pytest.approx(simulation.spent[probe_id], abs=slack), probe_id
