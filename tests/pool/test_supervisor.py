"""The supervisor with real processes and the stand-in trainer: whole studies, verbs, failures, ends."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from runners.pool import client as launcher
from runners.pool.identity import start_of
from runners.pool.options import Options
from runners.search.bisection import RULES
from runners.spec import Job
from store import commands
from store.locks import SupervisorLock
from store.paths import LabPaths
from store.read import open_lab
from store.rows import JobRow
from store.write import lab as lab_rows
from tests.support import labs
from tests.support.fake_workers import Simulation

SLOW = {"STANDIN_EVAL_S": "0.03", "STANDIN_EVALS": "30"}
"""A failing candidate takes a second: time to do something to it."""
SLOWER = SLOW | {"STANDIN_EVAL_S": "0.1"}
"""Three seconds: time to see how far it is, which is written about once a second."""


def job(lab: Path, job_id: int) -> JobRow:
    with open_lab(lab) as opened:
        return opened.job(job_id)


def until(lab: Path, job_id: int, ready: Callable[[JobRow], bool]) -> JobRow:
    labs.wait(lambda: ready(job(lab, job_id)), 40, f"job {job_id}")
    return job(lab, job_id)


def events(lab: Path) -> str:
    with open_lab(lab) as opened:
        return "\n".join(f"{e.kind} {e.level} {e.text} {e.data}" for e in opened.events(limit=10_000))


def trains(lab: Path) -> bool:
    """Whether a candidate of any job is in training and has been evaluated."""
    with open_lab(lab) as opened:
        return any(j.state == "running" and j.progress > 0 for j in opened.jobs())


@pytest.mark.parametrize("strategy", sorted(RULES))
def test_a_study_ends_as_the_sequential_search_does(lab_path: Path, strategy: str) -> None:
    labs.make(lab_path, labs.study(5, ("dense_ssm", "lstm"), strategy=strategy))
    running = labs.spawn(lab_path)
    assert running.ended() == 0
    probes, trials = labs.verify(lab_path)
    assert probes > 10
    assert trials == 4 * probes
    assert not list(LabPaths(lab_path).checkpoints.iterdir())
    assert running.workers() == []
    with open_lab(lab_path) as opened:
        told = opened.provenance(1)
        expected = {
            "version",
            "science_version",
            "commit",
            "torch",
            "device",
            "precision",
            "plan",
            "trainer",
            "host",
        }
        assert expected <= set(told)
        assert all(opened.curve(t.id) for t in opened.trials(job_id=1) if t.steps)


@pytest.mark.parametrize("slots", [1, 4])
def test_the_number_of_slots_changes_no_bracket(lab_path: Path, slots: int) -> None:
    labs.make(lab_path, labs.study(4))
    assert labs.spawn(lab_path, "--slots", str(slots), env={"STANDIN_EVAL_S": "0.01"}).ended() == 0
    labs.verify(lab_path)


def test_one_search_on_four_slots_speculates_and_its_bracket_is_the_sequential_one(lab_path: Path) -> None:
    spec = labs.study(6, name="one")
    one = spec.jobs()[4]
    from runners.spec import NamedJob
    from store.write import create_or_open, submit

    create_or_open(lab_path)
    submit(lab_path, NamedJob(name="one", job=one))
    assert labs.spawn(lab_path, "--slots", "4", env={"STANDIN_EVAL_S": "0.02"}).ended() == 0
    labs.verify(lab_path)
    assert "ahead of its turn" in events(lab_path)


def test_adaptive_uses_fresh_seeds(lab_path: Path) -> None:
    spec = labs.study(2, strategy="adaptive", seed_budget=24)
    labs.make(lab_path, spec)
    assert labs.spawn(lab_path).ended(110) == 0
    assert labs.state_of(lab_path) == {"done": len(spec.jobs())}
    with open_lab(lab_path) as opened:
        for row in opened.jobs():
            seen: set[int] = set()
            for probe in opened.probes(row.id):
                seeds = {t.seed for t in opened.trials(probe_id=probe.id)}
                assert not seeds & seen
                seen |= seeds
                assert probe.seeds == len(seeds)


def test_a_scan_takes_what_was_measured_ahead_of_its_turn(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(3, strategy="scan", ladder=(2, 4, 8, 12, 16, 20)))
    assert labs.spawn(lab_path, env={"STANDIN_EVAL_S": "0.02"}).ended() == 0
    labs.verify(lab_path)
    assert "ahead of its turn" in events(lab_path)


@pytest.mark.parametrize("what", ["spec", "evidence"])
def test_a_job_that_cannot_be_read_fails_and_blocks_nobody(lab_path: Path, what: str) -> None:
    from store.write import Writer

    labs.make(lab_path, labs.study(4))
    if what == "spec":
        with Writer(lab_path) as writer, writer.transaction() as tx:
            tx.run("UPDATE job_text SET spec = '{\"task\": 7}' WHERE job_id = 1")
    else:
        with labs.supervisor(lab_path, env=SLOW):
            labs.wait(lambda: job(lab_path, 1).candidates, 40)
            commands.pause(lab_path, [1])
            until(lab_path, 1, lambda j: j.state in ("paused", "done"))
        commands.resume(lab_path, [1])
        with Writer(lab_path) as writer, writer.transaction() as tx:
            tx.run("UPDATE probe SET n = n + 1000000000 WHERE job_id = 1 AND state = 'done'")
    assert labs.spawn(lab_path).ended() == 0
    assert labs.state_of(lab_path) == {"failed": 1, "done": 3}
    assert "cannot be read" in (job(lab_path, 1).reason or "")


def test_pause_keeps_the_work_and_resume_goes_on(lab_path: Path, tmp_path: Path) -> None:
    labs.make(lab_path, labs.study(3))

    def training() -> int | None:
        """A job in the middle of a candidate: which ones take long depends on what their hashes
        make of them.
        """
        found = (job(lab_path, i) for i in (1, 2, 3))
        return next((j.id for j in found if j.state == "running" and j.progress > 0), None)

    with labs.supervisor(lab_path, env=SLOW):
        state = ""
        while state != "paused":  # its last candidate may end before the command is obeyed: then another's
            chosen: int = labs.wait(training, 40, "a job in the middle of a candidate")
            commands.pause(lab_path, [chosen])
            paused = until(lab_path, chosen, lambda j: j.state in ("paused", "done"))
            state = paused.state
        assert paused.current_n is None
        for other in {1, 2, 3} - {chosen}:
            until(lab_path, other, lambda j: j.state == "done")
        assert job(lab_path, chosen).state == "paused"
    assert job(lab_path, chosen).state == "paused"
    commands.resume(lab_path, [chosen])
    assert labs.spawn(lab_path, env={"STANDIN_EVALS": "30"}).ended() == 0
    labs.verify(lab_path)
    begun = (tmp_path / "trained.log").read_text().splitlines()
    assert len(begun) == len(set(begun)), "a probe was begun afresh although its checkpoint was there"


def test_cancel_and_retry(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(3))
    with labs.supervisor(lab_path, env=SLOW, until_empty=False):
        until(lab_path, 1, lambda j: j.state == "running")
        commands.cancel(lab_path, [1, 2, 3])
        ended = [until(lab_path, i, lambda j: j.state in ("cancelled", "done")).state for i in (1, 2, 3)]
        assert "cancelled" in ended
        commands.retry(lab_path, [i for i, state in enumerate(ended, 1) if state == "cancelled"])
        for i in (1, 2, 3):
            until(lab_path, i, lambda j: j.state == "done")
    labs.verify(lab_path)


def test_pausing_a_job_in_a_pack_keeps_its_checkpoint_and_the_others(lab_path: Path) -> None:
    # Equal but for eps: one shape, so they share loads once a plan says that company pays.
    spec = labs.study(2, eps=(1e-4, 2e-4, 3e-4, 4e-4))
    labs.make(lab_path, spec)
    plan = {**SLOW, "STANDIN_AT_ONCE": "64"}
    with labs.supervisor(lab_path, "--slots", "1", "--no-speculation", env=plan) as running:
        labs.wait(lambda: _packed(lab_path), 40, "a load of several jobs")
        ids = _packed(lab_path)
        commands.pause(lab_path, ids[:1])
        labs.wait(lambda: job(lab_path, ids[0]).state in ("paused", "done"), 40)
        commands.resume(lab_path, ids[:1])
        assert running.ended() == 0
    labs.verify(lab_path)


def _packed(lab: Path) -> list[int]:
    with open_lab(lab) as opened:
        out = []
        for row in opened.jobs():
            out += [row.id for p in opened.probes(row.id) if p.state == "running"]
        return out if len(out) > 1 else []


def test_hold_release_priority(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(5))
    commands.hold(lab_path)
    with labs.supervisor(lab_path, "--slots", "1", "--no-speculation", until_empty=False):
        labs.wait(lambda: _supervisor_state(lab_path) == "holding", 30)
        assert labs.state_of(lab_path) == {"queued": 5}
        commands.priority(lab_path, [4], 10)
        commands.release(lab_path)
        for i in range(1, 6):
            until(lab_path, i, lambda j: j.state == "done")
    with open_lab(lab_path) as opened:
        first = min(opened.jobs(), key=lambda j: j.started_at or 0)
    assert first.id == 4
    labs.verify(lab_path)


def test_a_search_whose_slot_another_takes_waits_in_the_queue(lab_path: Path) -> None:
    """One slot trains one search; the other is told as queued, and goes on where it stood."""
    labs.make(lab_path, labs.study(5))
    with labs.supervisor(lab_path, "--slots", "1", "--no-speculation", env=SLOW, until_empty=False):
        labs.wait(lambda: job(lab_path, 1).candidates, 40)
        commands.priority(lab_path, [5], 10)
        until(lab_path, 5, lambda j: j.state == "running")
        with open_lab(lab_path) as opened:
            assert opened.counts()["running"] == 1
        tried = job(lab_path, 1).candidates
        assert job(lab_path, 1).state == "queued"
        assert job(lab_path, 1).reason is None
        commands.priority(lab_path, [1], 20)
        until(lab_path, 1, lambda j: j.state == "done")
        assert job(lab_path, 1).candidates > tried
        until(lab_path, 5, lambda j: j.state == "done")
    assert job(lab_path, 1).crashes == 0
    assert labs.spawn(lab_path).ended() == 0
    labs.verify(lab_path)


def _supervisor_state(lab: Path) -> str:
    with open_lab(lab) as opened:
        row = opened.supervisor()
    return row.state if row is not None else ""


def test_drain_ends_after_the_running_probes(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(4))
    running = labs.spawn(lab_path, env=SLOWER, until_empty=False)
    labs.wait(lambda: trains(lab_path), 40, "a candidate in training")
    commands.drain(lab_path)
    assert running.ended() == 0
    with open_lab(lab_path) as opened:
        assert all(p.state == "done" for j in opened.jobs() for p in opened.probes(j.id))
        assert "running" not in opened.counts()
    assert labs.spawn(lab_path, env={"STANDIN_EVALS": "30"}).ended() == 0
    labs.verify(lab_path)


def test_a_device_excluded_and_taken_back(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(3))
    with labs.supervisor(lab_path, env=SLOWER) as running:
        labs.wait(lambda: trains(lab_path), 40, "a candidate in training")
        commands.device(lab_path, "cpu", state="excluded")
        labs.wait(lambda: not running.workers(), 30, "no worker on an excluded device")
        commands.device(lab_path, "cpu", state="active", slots=1)
        assert running.ended() == 0
    labs.verify(lab_path)


def test_a_worker_that_stops_unasked_ends_and_its_job_goes_on_uncounted(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(3))
    faults = json.dumps([{"kind": "refused", "at": 2, "times": 1}])
    running = labs.spawn(lab_path, env={"STANDIN_FAULTS": faults})
    assert running.ended() == 0
    labs.verify(lab_path)
    with open_lab(lab_path) as opened:
        assert {j.crashes for j in opened.jobs()} == {0}
        assert {j.attempt for j in opened.jobs()} == {1}
    assert "(failed)" not in events(lab_path)


@pytest.mark.parametrize("kind", ["raise", "oom", "exit", "device", "assert"])
def test_a_crash_is_retried_with_its_reason(lab_path: Path, kind: str) -> None:
    labs.make(lab_path, labs.study(3))
    faults = json.dumps([{"kind": kind, "at": 2, "times": 2}])
    assert labs.spawn(lab_path, env={"STANDIN_FAULTS": faults}).ended() == 0
    labs.verify(lab_path)
    word = {
        "raise": "failed",
        "oom": "out_of_memory",
        "exit": "lost",
        "device": "device",
        "assert": "failed",
    }[kind]
    assert f"({word})" in events(lab_path)


def test_a_poisoned_job_fails_with_its_traceback_and_blocks_nobody(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(4))
    with open_lab(lab_path) as opened:
        poisoned = Job.from_json(opened.job_spec(1))
    faults = json.dumps([{"kind": "raise", "at": 0, "times": 1000, "hash": poisoned.hash}])
    assert labs.spawn(lab_path, env={"STANDIN_FAULTS": faults}).ended() == 0
    row = job(lab_path, 1)
    assert row.state == "failed"
    assert row.reason is not None
    assert row.reason.startswith("failed")
    assert "ValueError: the stand-in was told to fail" in row.reason
    assert row.crashes == row.max_attempts
    assert labs.state_of(lab_path) == {"failed": 1, "done": 3}
    commands.retry(lab_path, [1])
    assert labs.spawn(lab_path).ended() == 0
    labs.verify(lab_path)


def test_a_job_queued_under_another_version_of_the_science_is_not_trained(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(2))
    with sqlite3.connect(lab_path) as connection:
        connection.execute("UPDATE job SET hash = ? WHERE id = 1", ("0" * 32,))
    connection.close()
    assert labs.spawn(lab_path).ended() == 0
    row = job(lab_path, 1)
    assert (row.state, row.candidates) == ("failed", 0)
    assert "another version of the science" in events(lab_path)
    assert job(lab_path, 2).state == "done"


def test_a_hung_trainer_and_a_stopped_worker_are_killed(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(3))
    faults = json.dumps([{"kind": "hang", "at": 1, "times": 1}])
    env = {"STANDIN_FAULTS": faults, "STANDIN_EVAL_S": "0.02"}
    with labs.supervisor(lab_path, "--lease", "2.5", "--stall", "1.5", env=env) as running:
        pid = labs.wait(running.workers, 30)[0]
        labs.wait(lambda: job(lab_path, 1).state == "running", 30)
        os.kill(pid, signal.SIGSTOP)
        assert running.ended() == 0
        assert start_of(pid) is None
    labs.verify(lab_path)
    assert "(stale)" in events(lab_path)


def test_a_worker_that_never_starts_ends_the_supervisor_with_the_reason(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(2))
    assert labs.spawn(lab_path, trainer="tests.support.nowhere:Trainer").ended() == 1
    assert labs.state_of(lab_path) == {"queued": 2}
    assert job(lab_path, 1).crashes == 0
    assert "nowhere" in launcher.status(lab_path).message


def test_it_ends_by_itself_when_idle(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(2))
    assert labs.spawn(lab_path, "--idle", "0.3", until_empty=False).ended() == 0
    labs.verify(lab_path)


def test_commands_are_obeyed_while_it_waits_for_work(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(2))
    with labs.supervisor(lab_path, until_empty=False):
        until(lab_path, 1, lambda j: j.state == "done")
        text = labs.study(3).model_dump_json()
        commands.enqueue(lab_path, text)
        until(lab_path, 2, lambda j: j.state == "done")


class TestLauncher:
    def test_start_status_stop(self, lab_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STANDIN_DIR", str(lab_path.parent))
        labs.make(lab_path, labs.study(2))
        assert not launcher.is_running(lab_path)
        started = launcher.start(lab_path, ["--trainer", labs.TRAINER, "--slots", "1"])
        try:
            assert started.ok, started.text
            told = launcher.status(lab_path)
            assert told.running
            assert told.pid is not None
            assert str(told.pid) in started.text
            assert launcher.start(lab_path).text == started.text
            until(lab_path, 1, lambda j: j.state == "done")
        finally:
            stopped = launcher.stop(lab_path)
        assert stopped.ok, stopped.text
        assert not launcher.is_running(lab_path)
        assert launcher.stop(lab_path).ok

    def test_the_reason_why_not(self, lab_path: Path) -> None:
        assert "there is no lab" in launcher.start(lab_path).text
        labs.make(lab_path, labs.study(2))
        refused = launcher.start(lab_path, ["--devices", "cuda:77"])
        assert not refused.ok
        assert "cuda:77" in refused.text
        assert not launcher.is_running(lab_path)

    def test_a_second_one_is_told_who_has_it(self, lab_path: Path) -> None:
        import subprocess
        import sys

        labs.make(lab_path, labs.study(2))
        with labs.supervisor(lab_path, until_empty=False) as running:
            labs.wait(lambda: launcher.status(lab_path).pid, 30)
            command = [sys.executable, "-m", "runners", "--lab", str(lab_path), "--foreground"]
            done = subprocess.run(command, capture_output=True, text=True, cwd=labs.ROOT, timeout=60)
            assert done.returncode == 2
            assert str(running.process.pid) in done.stderr
            assert os.uname().nodename in done.stderr
            assert "Traceback" not in done.stderr


def test_a_supervisor_that_has_not_written_yet_is_not_the_one_before(lab_path: Path) -> None:
    """Its lock is taken, its row not written: nobody is told that it stands still, or of a gone pid."""
    labs.make(lab_path, labs.study(2))
    with labs.supervisor(lab_path) as first:
        assert first.ended() == 0
    with sqlite3.connect(lab_path) as connection:
        connection.execute("UPDATE supervisor SET heartbeat_at = heartbeat_at - 3600")
    connection.close()
    with open_lab(lab_path) as opened:
        before = opened.supervisor()
        assert before is not None
        assert (before.alive, before.pid) == (False, first.process.pid)
        lock = SupervisorLock.acquire(LabPaths(lab_path), version="1")
        try:
            row = opened.supervisor()
            assert row is not None
            assert (row.alive, row.pid, row.state, row.message) == (True, os.getpid(), "running", "")
            lock.tell("waiting: no room", version="1")
            row = opened.supervisor()
            assert row is not None
            assert (row.pid, row.state, row.message) == (os.getpid(), "waiting", "no room")
        finally:
            lock.release()


@pytest.mark.parametrize(
    ("setting", "asked", "threads"),
    [(None, None, 1), ("2", None, 2), ("2", 3, 3), ("4,2", None, 4), ("many", None, 1), ("0", None, 1)],
)
def test_threads_of_a_worker(
    lab_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str | None, asked: int | None, threads: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if setting is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", setting)
    for slots in (1, 2, None):
        assert Options(lab_path, slots=slots, threads=asked).threads_of_a_worker() == threads


@pytest.mark.parametrize("words", [[], ["--threads", "3"]])
def test_the_number_of_threads_does_not_depend_on_the_slots(lab_path: Path, words: list[str]) -> None:
    labs.make(lab_path, labs.study(2))
    with labs.supervisor(lab_path, *words, "--slots", "1", env={"OMP_NUM_THREADS": "2"}) as running:
        assert running.ended() == 0
    with open_lab(lab_path) as opened:
        assert opened.provenance(opened.jobs()[0].id)["threads"] == (3 if words else 2)


def test_old_events_are_forgotten_while_it_runs(lab_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_rows, "KEEP_EVENTS", 3)
    labs.make(lab_path, labs.study(2))
    world = Simulation(lab_path)
    try:
        for _ in range(6):
            world.turn(5.0)
        with open_lab(lab_path) as opened:
            kept = opened.events(limit=1000)
        assert kept[0].id > 3
        assert len(kept) < kept[-1].id
    finally:
        world.close()
