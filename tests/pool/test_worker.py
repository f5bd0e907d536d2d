"""A worker process on its own, driven through its pipes by hand."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runners.engine.types import Member
from runners.pool import protocol as m
from runners.pool.local import LOG_BYTES, LocalWorker, trim
from runners.spec import Job
from runners.verdict import Outcome
from tests.support import labs, standin

TRAINER = labs.TRAINER
JOB = labs.study(3).jobs()[1]
TAG = m.Tag("1.1", 1, 1)


def members(n: int) -> tuple[Member, ...]:
    return tuple(Member("1", n, lr, seed, JOB.search.eps) for lr, seed in JOB.grid.members)


def train(
    folder: Path, n: int, *, resume: bool = False, drop: tuple[str, ...] = (), tag: m.Tag = TAG
) -> m.Train:
    return m.Train(tag, JOB.to_json(), members(n), "cpu", None, str(folder), resume, drop)


FAILS = next(
    n for n in range(1, JOB.n_max) if not any(standin.succeeds(JOB, n, lr, s) for lr, s in JOB.grid.members)
)
WINS = next(
    n for n in range(1, JOB.n_max + 1) if any(standin.succeeds(JOB, n, lr, s) for lr, s in JOB.grid.members)
)


class Driver:
    def __init__(self, worker: LocalWorker) -> None:
        self.worker = worker
        self.seen: list[m.Up] = []

    def until(self, ready: Callable[[m.Up], bool], timeout_s: float = 30.0) -> m.Up:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            for message in self.worker.receive():
                self.seen.append(message)
                if ready(message):
                    return message
            if self.worker.closed:
                raise AssertionError(f"the worker ended: {self.worker.tail()}")
            time.sleep(0.005)
        raise AssertionError(f"nothing came: {self.seen[-3:]}")

    def of(self, kind: type) -> m.Up:
        return self.until(lambda x: isinstance(x, kind))

    def outcomes(self) -> dict[int, Outcome]:
        return {x.ended.member: x.ended.outcome for x in self.seen if isinstance(x, m.TrialEnded)}


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Driver]]:
    started: list[LocalWorker] = []

    def go(**env: str) -> Driver:
        monkeypatch.setenv("STANDIN_DIR", str(tmp_path))
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        worker = LocalWorker("cpu.0", TRAINER, 1, tmp_path / "worker.log")
        started.append(worker)
        driver = Driver(worker)
        driver.of(m.Ready)
        return driver

    yield go
    for worker in started:
        worker.kill()
        worker.close()


def test_trains_a_grid_and_stays_for_the_next(start: Callable[..., Driver], tmp_path: Path) -> None:
    driver = start()
    for n in (FAILS, WINS):
        driver.seen.clear()
        driver.worker.send(train(tmp_path / str(n), n))
        finished = driver.of(m.Finished)
        assert isinstance(finished, m.Finished)
        assert finished.tag == TAG
        got = driver.outcomes()
        assert set(got) == {0, 1, 2, 3}
        assert (Outcome.SUCCESS in got.values()) == (n == WINS)
        assert any(isinstance(x, m.Planned) for x in driver.seen)
        curves = [x for x in driver.seen if isinstance(x, m.TrialEnded)]
        assert all(list(c.steps) == sorted(c.steps) and c.steps for c in curves)


def test_stops_with_a_checkpoint_and_goes_on_where_it_was(
    start: Callable[..., Driver], tmp_path: Path
) -> None:
    driver = start(STANDIN_EVAL_S="0.05")
    driver.worker.send(train(tmp_path / "c", FAILS))
    driver.of(m.Progress)
    driver.worker.send(m.Stop(TAG, "checkpoint"))
    halted = driver.of(m.Halted)
    assert isinstance(halted, m.Halted)
    assert halted.kept
    step = json.loads((tmp_path / "c" / "standin.ckpt").read_text().split(" ", 1)[1])[0]
    assert step > 0
    again = m.Tag("1.2", 1, 2)
    driver.seen.clear()
    driver.worker.send(train(tmp_path / "c", FAILS, resume=True, tag=again))
    driver.of(m.Finished)
    assert len((tmp_path / "trained.log").read_text().splitlines()) == 1
    assert set(driver.outcomes().values()) == {Outcome.FAILURE}


def test_discard_keeps_nothing(start: Callable[..., Driver], tmp_path: Path) -> None:
    driver = start(STANDIN_EVAL_S="0.05")
    driver.worker.send(train(tmp_path / "c", FAILS))
    driver.of(m.Progress)
    driver.worker.send(m.Stop(TAG, "discard"))
    halted = driver.of(m.Halted)
    assert isinstance(halted, m.Halted)
    assert not halted.kept


def test_a_stop_that_overtakes_its_assignment_is_obeyed(start: Callable[..., Driver], tmp_path: Path) -> None:
    driver = start(STANDIN_EVAL_S="0.05")
    driver.worker.send(m.Stop(TAG, "discard"))
    driver.worker.send(train(tmp_path / "c", FAILS))
    driver.of(m.Halted)
    assert not any(isinstance(x, m.TrialEnded) for x in driver.seen)


def test_a_stop_for_another_attempt_is_not(start: Callable[..., Driver], tmp_path: Path) -> None:
    driver = start()
    driver.worker.send(m.Stop(m.Tag("1.1", 1, 99), "discard"))
    driver.worker.send(train(tmp_path / "c", FAILS))
    driver.of(m.Finished)


def test_dropped_probes_end_superseded(start: Callable[..., Driver], tmp_path: Path) -> None:
    driver = start()
    driver.worker.send(train(tmp_path / "c", FAILS, drop=("1",)))
    driver.of(m.Finished)
    assert set(driver.outcomes().values()) == {Outcome.SUPERSEDED}


def test_hold_stands_still_and_goes_on(start: Callable[..., Driver], tmp_path: Path) -> None:
    driver = start(STANDIN_EVAL_S="0.02")
    driver.worker.send(m.Hold(True))
    driver.worker.send(train(tmp_path / "c", FAILS))
    # Two heartbeats with the assignment on: time enough for the whole of it, were it not held.
    for _ in range(2):
        driver.until(lambda x: isinstance(x, m.Beat) and x.assignment == TAG.assignment)
        driver.seen.append(m.Quit())  # type: ignore[arg-type]
    assert not any(isinstance(x, m.TrialEnded) for x in driver.seen)
    driver.worker.send(m.Hold(False))
    driver.of(m.Finished)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("raise", "failed"), ("oom", "out_of_memory"), ("device", "device"), ("assert", "failed")],
)
def test_an_exception_is_told_and_survived(
    start: Callable[..., Driver], tmp_path: Path, kind: str, reason: str
) -> None:
    driver = start(STANDIN_FAULTS=json.dumps([{"kind": kind, "at": 1}]))
    driver.worker.send(train(tmp_path / "c", FAILS))
    failed = driver.of(m.Failed)
    assert isinstance(failed, m.Failed)
    assert failed.reason == reason
    assert failed.broken == (kind in ("device", "assert"))
    assert "standin.py" in failed.trace
    driver.worker.send(train(tmp_path / "d", FAILS))
    driver.of(m.Finished)


def test_end_of_the_pipe_checkpoints_and_ends(start: Callable[..., Driver], tmp_path: Path) -> None:
    driver = start(STANDIN_EVAL_S="0.05")
    driver.worker.send(train(tmp_path / "c", FAILS))
    driver.of(m.Progress)
    os.close(driver.worker._down)
    driver.worker._down = os.open(os.devnull, os.O_WRONLY)
    labs.wait(lambda: driver.worker.exit_code() is not None, 20)
    assert driver.worker.exit_code() == 0
    assert (tmp_path / "c" / "standin.ckpt").exists()


def test_sigterm_checkpoints_and_sigint_is_nothing(start: Callable[..., Driver], tmp_path: Path) -> None:
    driver = start(STANDIN_EVAL_S="0.05")
    driver.worker.send(train(tmp_path / "c", FAILS))
    driver.of(m.Progress)
    os.kill(driver.worker.pid, signal.SIGINT)
    driver.until(lambda x: isinstance(x, m.Progress))
    os.kill(driver.worker.pid, signal.SIGTERM)
    driver.of(m.Halted)
    labs.wait(lambda: driver.worker.exit_code() is not None, 20)
    assert driver.worker.exit_code() == 0


def test_noise_goes_to_the_log_not_to_the_pipe(start: Callable[..., Driver], tmp_path: Path) -> None:
    driver = start(STANDIN_FAULTS=json.dumps([{"kind": "noise", "at": 1}]))
    driver.worker.send(train(tmp_path / "c", FAILS))
    driver.of(m.Finished)
    assert "noise on stderr" in driver.worker.tail()
    assert (tmp_path / "worker.log").stat().st_mode & 0o777 == 0o600


def test_a_log_that_grows_too_big_is_cut(tmp_path: Path) -> None:
    log = tmp_path / "w.log"
    with log.open("ab") as f:
        f.write(b"x" * (LOG_BYTES + 1))
        f.flush()
        trim(log)
        f.write(b"end")
    assert log.read_bytes() == b"end"
    assert 0 < (tmp_path / "w.log.1").stat().st_size <= LOG_BYTES


def test_jobs_of_the_stand_in_are_what_the_truth_says() -> None:
    job = Job.from_json(JOB.to_json())
    assert labs.truth(job) == labs.truth(JOB)
