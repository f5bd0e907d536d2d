"""Whatever people ask for and whatever dies, in any order:
no trial is lost or counted twice, no bracket is another.

hypothesis writes the course: verbs, progress, failures, refused transactions, crashes between any two of them
and within one, supervisors that lose the lab while they live. After each step the file is checked; at the end
every search is finished.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runners.spec import NamedJob
from store import commands
from store.check import check
from store.read import open_lab
from store.write import apply_pending
from tests.support import labs
from tests.support.fake_workers import Simulation
from tests.support.faults import COUNTS, long

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

COURSES = int(os.environ.get("LABTUI_COURSES") or long(5, 300))
JOBS = 5
"""Four of a study, and one of its own, whose spec can be edited."""
some_jobs = st.lists(st.integers(1, JOBS), min_size=1, max_size=JOBS, unique=True)
refusals = st.sampled_from(["", "busy", "no room", "no room for the commit"])
deaths = st.sampled_from(["killed before", "killed within", "killed after"])


class SearchStateMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="course-"))
        self.simulation = Simulation(self.folder / "lab.db")
        self.finished: dict[tuple[int, int], Any] = {}
        self.looked = -1

    @property
    def lab(self) -> Path:
        return self.simulation.lab

    @initialize(packed=st.booleans(), strategy=st.sampled_from(["log", "paper", "scan"]))
    def begin(self, packed: bool, strategy: str) -> None:
        self.simulation.pack(packed)
        more: dict[str, Any] = {"ladder": (2, 4, 8, 16)} if strategy == "scan" else {}
        labs.make(self.lab, labs.study(4, strategy=strategy, **more))
        single = labs.study(5, strategy=strategy, eps=(2e-4,), **more).jobs()[-1]
        commands.enqueue(self.lab, NamedJob(name="single", job=single).model_dump_json())
        apply_pending(self.lab)

    # The supervisor and its workers

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 3.0, 40.0]))
    def turn(self, seconds: float) -> None:
        self.simulation.turn(seconds)

    @rule(rounds=st.integers(1, 8), steps=st.integers(1, 3))
    def work(self, rounds: int, steps: int) -> None:
        self.go_on(rounds, steps)

    @rule(rounds=st.integers(5, 40))
    def work_much(self, rounds: int) -> None:
        self.go_on(rounds, 6)

    def go_on(self, rounds: int, steps: int) -> None:
        for _ in range(rounds):
            for worker in self.simulation.workers:
                for _ in range(steps):
                    worker.step()
            self.simulation.turn(0.2)

    @rule(who=st.integers(0, 99), steps=st.integers(1, 12))
    def step(self, who: int, steps: int) -> None:
        for _ in range(steps):
            self.simulation.pick(who).step()

    @rule(who=st.integers(0, 99), error=st.sampled_from(["bad value", "out of memory", "CUDA error: gone"]))
    def fail(self, who: int, error: str) -> None:
        self.simulation.pick(who).fail(RuntimeError(error))

    @rule(who=st.integers(0, 99), keep=st.integers(0, 5))
    def die(self, who: int, keep: int) -> None:
        self.simulation.pick(who).die(keep)
        COUNTS["courses: workers killed"] += 1

    @rule(who=st.integers(0, 99), on=st.booleans())
    def freeze(self, who: int, on: bool) -> None:
        self.simulation.pick(who).frozen = on

    @rule(faults=st.lists(refusals, min_size=1, max_size=5))
    def refuse(self, faults: list[str]) -> None:
        self.simulation.faults[:] = faults

    @rule(after=st.integers(0, 5), how=deaths, rounds=st.integers(1, 4))
    def crash(self, after: int, how: str, rounds: int) -> None:
        self.simulation.faults[:] = [""] * after + [how]
        for _ in range(rounds):
            for worker in self.simulation.workers:
                worker.step()
            self.simulation.turn(0.5)
        COUNTS["courses: supervisors killed in a transaction"] += not self.simulation.faults
        self.simulation.faults.clear()

    @rule()
    def kill(self) -> None:
        self.simulation.crash()
        COUNTS["courses: supervisors killed"] += 1

    @precondition(lambda self: self.simulation.supervisor is not None)
    @rule()
    def usurp(self) -> None:
        self.simulation.start(usurp=True)
        COUNTS["courses: supervisors that lost the lab"] += 1

    @rule()
    def haunt(self) -> None:
        self.simulation.haunt()

    @rule()
    def stop(self) -> None:
        self.simulation.stop()

    @rule(by=st.sampled_from([-3600.0, 3600.0, 1e7]))
    def set_the_clock(self, by: float) -> None:
        self.simulation.wall += by

    # People

    @rule(
        verb=st.sampled_from(["pause", "resume", "cancel", "undo_cancel", "retry", "delete", "restore"]),
        jobs=some_jobs,
    )
    def ask(self, verb: str, jobs: list[int]) -> None:
        getattr(commands, verb)(self.lab, jobs)
        COUNTS["courses: verbs"] += 1

    @rule(jobs=some_jobs, value=st.integers(-2, 2))
    def prioritise(self, jobs: list[int], value: int) -> None:
        commands.priority(self.lab, jobs, value)

    @rule(jobs=some_jobs, before=st.one_of(st.none(), st.integers(1, JOBS)))
    def move(self, jobs: list[int], before: int | None) -> None:
        commands.move(self.lab, jobs, before)

    @rule(verb=st.sampled_from(["hold", "release", "drain"]))
    def ask_the_bench(self, verb: str) -> None:
        getattr(commands, verb)(self.lab)
        COUNTS["courses: verbs"] += 1

    @rule(
        job=st.integers(1, JOBS),
        patch=st.sampled_from(
            [
                '{"max_attempts": 1}',
                '{"max_attempts": 9}',
                '{"name": "x"}',
                '{"spec": {"search": {"eps": 0.0003}}}',
            ]
        ),
    )
    def edit(self, job: int, patch: str) -> None:
        commands.edit(self.lab, job, patch)

    @rule(
        state=st.sampled_from(["active", "excluded", "reserved", None]),
        slots=st.sampled_from([1, 2, 3, None]),
    )
    def set_device(self, state: str | None, slots: int | None) -> None:
        commands.device(self.lab, "cpu", state=state, slots=slots)

    @precondition(lambda self: self.simulation.supervisor is None)
    @rule()
    def obey_without_a_supervisor(self) -> None:
        apply_pending(self.lab)

    # What must hold

    @invariant()
    def the_file_is_sound(self) -> None:
        if not self.lab.exists():
            return
        assert check(self.lab, replay=labs.replay_stored) == []
        with open_lab(self.lab) as opened:
            now = {
                (j, p.n): (
                    p.id,
                    p.verdict,
                    sorted((t.lr, t.seed, t.outcome) for t in opened.trials(probe_id=p.id)),
                )
                for j in range(1, JOBS + 1)  # also those that are deleted: they can be restored
                for p in opened.probes(j)
                if p.state == "done"
            }
        for key, told in self.finished.items():
            assert now.get(key) == told, f"job {key[0]}, N = {key[1]} was finished and is another now"
        self.finished = now

    def teardown(self) -> None:
        try:
            if self.lab.exists():
                self.finish()
        finally:
            self.simulation.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def finish(self) -> None:
        """People change their minds, the disk has room again, nobody dies:
        then all must be as if nothing had happened.
        """
        simulation = self.simulation
        simulation.faults.clear()
        everything = list(range(1, JOBS + 1))
        for verb in (
            commands.restore,
            commands.resume,
            commands.undo_cancel,
            commands.resume,
            commands.retry,
        ):
            verb(self.lab, everything)
        commands.release(self.lab)
        commands.device(self.lab, "cpu", state="active", slots=2)
        for worker in simulation.workers:
            worker.frozen = False
        for rounds in range(4000):
            for worker in simulation.workers:
                worker.step()
            simulation.turn(1.0)
            states = labs.state_of(self.lab)
            if set(states) == {"done"}:
                break
            if rounds % 200 == 199 and set(states) - {"queued", "running"}:
                commands.resume(self.lab, everything)  # a pause that was still under way has happened since
                commands.retry(self.lab, everything)
        assert set(states) == {"done"}, states
        simulation.stop()
        probes, trials = labs.verify(self.lab)
        self.the_file_is_sound()
        with open_lab(self.lab) as opened:
            COUNTS["courses: searches verified"] += len(opened.jobs())
        COUNTS["courses: probes verified"] += probes
        COUNTS["courses: trials verified"] += trials
        COUNTS["courses"] += 1


SearchStateMachine.TestCase.settings = settings(
    max_examples=COURSES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ],  # a course takes a second: shrinking one takes an hour
)
TestSearches = SearchStateMachine.TestCase
