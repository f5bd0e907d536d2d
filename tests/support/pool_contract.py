"""What every pool owes the supervisor; each implementation passes it whole."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runners.engine.types import Member
from runners.pool import checkpoints
from runners.pool import protocol as m
from runners.pool.devices import Device
from runners.pool.protocol import Pool, WorkerProcess
from runners.pool.state import Assignment
from runners.verdict import Outcome
from tests.support import labs, standin

TAG = m.Tag("1.1", 1, 1)
ENV = {"STANDIN_EVAL_S": "0.03", "STANDIN_EVALS": "12", "STANDIN_CHECKPOINT_EVERY": "2"}
JOB, FAILS = next(
    (job, n)
    for job in labs.study(6).jobs()
    for n in range(1, job.n_max)
    if not any(standin.succeeds(job, n, lr, s) for lr, s in job.grid.members)
)
"""A search, and a candidate that the stand-in fails at."""


class Driver:
    """A worker driven by hand, as the supervisor's loop drives it."""

    def __init__(self, pool: Pool, device: Device, slot: str, log: Path) -> None:
        self.worker: WorkerProcess = pool.start(slot, device, labs.TRAINER, 1, log, time.monotonic)
        self.device = device
        self.seen: list[m.Up] = []

    def take(self) -> list[m.Up]:
        """What comes next, waited for at its descriptor."""
        select.select([self.worker.up], [], [], 0.2)
        self.worker.flush()
        came = list(self.worker.receive())
        self.seen += came
        return came

    def of(self, kind: type[m.Up], timeout_s: float = 90.0) -> m.Up:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            for message in self.take():
                if isinstance(message, kind):
                    return message
            assert not self.worker.closed, self.worker.tail()
        raise AssertionError(f"no {kind.__name__} came: {self.seen[-3:]}")

    def ended(self, timeout_s: float = 60.0) -> int:
        """Its exit code, once nothing comes from it any more."""
        labs.wait(lambda: self.take() is None or self.worker.closed, timeout_s, "its end")
        return labs.wait_code(self.worker, timeout_s)

    def train(self, folder: Path, *, resume: bool = False) -> None:
        members = tuple(Member("1", FAILS, lr, seed, JOB.search.eps) for lr, seed in JOB.grid.members)
        device = self.device.id
        checkpoints.prepare(
            Assignment(TAG, None, JOB, members, str(folder), {}, [], None, device, 0.0)  # type: ignore[arg-type]
        )
        self.worker.send(m.Train(TAG, JOB.to_json(), members, device, None, str(folder), resume))


class PoolContract:
    """Subclasses give the fixture ``pool``; its workers are stand-ins under ``ENV``."""

    @pytest.fixture
    def start(self, pool: Pool, tmp_path: Path) -> Iterator[Callable[[], Driver]]:
        device = labs.wait(pool.devices, 90.0, "a device")[0]
        started: list[Driver] = []

        def go() -> Driver:
            driver = Driver(pool, device, f"{device.id}.0", tmp_path / "worker.log")
            started.append(driver)
            driver.of(m.Ready)
            return driver

        yield go
        for driver in started:
            driver.worker.kill()
            driver.worker.close()

    def test_it_says_what_it_has(self, pool: Pool) -> None:
        device = labs.wait(pool.devices, 90.0, "a device")[0]
        assert device.kind == "cpu"
        assert device.id == f"{device.node}/{device.local}".removeprefix("/")
        assert pool.slots(device) >= 1
        assert pool.shortage(device, 1, 0.0) == ""
        assert not pool.lost
        assert {n.state for n in pool.nodes() if n.name == device.node} <= {"active"}

    def test_a_worker_trains_a_grid_and_stays_for_the_next(
        self, start: Callable[[], Driver], tmp_path: Path
    ) -> None:
        driver = start()
        assert driver.worker.ready is not None
        assert driver.worker.exit_code() is None
        for name in ("first", "second"):
            driver.seen.clear()
            driver.train(tmp_path / name)
            driver.of(m.Finished)
            ends = [x for x in driver.seen if isinstance(x, m.TrialEnded)]
            assert sorted(x.ended.member for x in ends) == [0, 1, 2, 3]
            assert {x.ended.outcome for x in ends} == {Outcome.FAILURE}
            plans = [x.plan for x in driver.seen if isinstance(x, m.Planned)]
            assert [p.device for p in plans] == [driver.device.id]

    def test_a_checkpoint_lies_beside_the_lab_and_another_worker_goes_on_from_it(
        self, start: Callable[[], Driver], tmp_path: Path
    ) -> None:
        folder = tmp_path / "checkpoints"
        first = start()
        first.train(folder)
        first.of(m.Saved)
        assert checkpoints.members(folder) is not None
        first.worker.send(m.Stop(TAG, "checkpoint"))
        halted = first.of(m.Halted)
        assert isinstance(halted, m.Halted)
        assert halted.kept
        first.worker.quit()
        assert first.ended() == 0
        first.worker.close()
        second = start()
        second.train(folder, resume=True)
        second.of(m.Finished)
        notes = [x.text for x in second.seen if isinstance(x, m.Noted)]
        assert not notes, notes
        steps = [p.step for x in second.seen if isinstance(x, m.Progress) for p in x.points]
        assert min(steps) > JOB.training.steps // 12, "it began at step 0 again"
        assert {x.ended.member for x in second.seen if isinstance(x, m.TrialEnded)} == {0, 1, 2, 3}

    def test_one_that_is_killed_has_ended_and_another_takes_its_slot(
        self, start: Callable[[], Driver], tmp_path: Path
    ) -> None:
        driver = start()
        driver.train(tmp_path / "c")
        driver.of(m.Progress)
        driver.worker.kill()
        assert driver.ended() < 0
        driver.worker.close()
        assert start().worker.exit_code() is None

    def test_one_that_is_told_to_quit_ends_well(self, start: Callable[[], Driver]) -> None:
        driver = start()
        driver.worker.quit()
        assert driver.ended() == 0

    def test_what_it_prints_is_in_its_log(self, start: Callable[[], Driver]) -> None:
        driver = start()
        driver.worker.send(m.Train(TAG, "{", (), driver.device.id, None, "", False))
        failed = driver.of(m.Failed)
        assert isinstance(failed, m.Failed)
        labs.wait(lambda: driver.take() is None or failed.text[:40] in driver.worker.tail(), 30.0, "its log")

    def test_it_beats(self, start: Callable[[], Driver]) -> None:
        driver = start()
        beat = driver.of(m.Beat)
        assert isinstance(beat, m.Beat)
        assert driver.worker.rss > 0
        assert driver.worker.heard <= time.monotonic()
