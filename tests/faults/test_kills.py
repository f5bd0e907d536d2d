"""The kill matrix: SIGKILL of workers, supervisors and the app,
at every state transition and at random times.

The study is restarted until it is done; then every bracket, verdict and trial must be those of the
undisturbed run. Seeded: LABTUI_KILL_SEED names another course. The short form kills 16 times, LABTUI_KILLS
(or LABTUI_FAULTS=long: 220) says otherwise.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import select
import struct
import subprocess
import sys
import termios
import time
from collections import Counter
from pathlib import Path

import pytest

from runners.pool.identity import Roster
from store import commands
from store.errors import LabError
from store.paths import LabPaths
from store.read import open_lab
from store.rows import EventRow
from store.write.jobs import LEGAL
from tests.support import labs
from tests.support.faults import long

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("LABTUI_KILLS") or long(16, 220))
SEED = int(os.environ.get("LABTUI_KILL_SEED", "1"))
TRANSITIONS = tuple(f"{old} to {new}" for old, legal in LEGAL.items() for new in sorted(legal))
MOMENTS = (
    *TRANSITIONS,
    *(
        "supervisor.started",
        "worker",
        "probe.begun",
        "probe.resumed",
        "probe.interrupted",
        "probe.cancelled",
        "probe.done",
    ),
    "a random time",
)
"""Every change of a job's state that the store allows, the kinds of events that a run goes through,
and any other time.
"""
ENV = {"STANDIN_EVAL_S": "0.01", "STANDIN_EVALS": "12", "STANDIN_CHECKPOINT_EVERY": "2"}


class Course:
    """One lab, killed about until it is done."""

    def __init__(
        self, lab: Path, jobs: int, rng: random.Random, counts: Counter[str], moments: list[str]
    ) -> None:
        self.lab, self.jobs, self.rng, self.counts, self.moments = lab, jobs, rng, counts, moments
        self.running: labs.Supervised | None = None
        self.app: subprocess.Popen[bytes] | None = None
        self.screen = -1

    def supervise(self) -> labs.Supervised:
        if self.running is None or self.running.process.poll() is not None:
            self.running = labs.spawn(self.lab, env=ENV)
            self.counts["supervisors started"] += 1
        return self.running

    def look(self) -> subprocess.Popen[bytes]:
        """Somebody has the app open in a terminal; whether anybody reads what it draws makes no
        difference to the run.
        """
        if self.app is None or self.app.poll() is not None:
            self.close_app()
            self.screen, inside = pty.openpty()
            fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
            env = {**os.environ, "LABTUI_NO_SUPERVISOR": "1", "TERM": "xterm-256color", "LANG": "C.UTF-8"}
            self.app = subprocess.Popen(
                [sys.executable, "-m", "labtui", "--lab", str(self.lab)],
                stdin=inside,
                stdout=inside,
                stderr=inside,
                cwd=labs.ROOT,
                env=env,
                start_new_session=True,
            )
            os.close(inside)
            drawn = b""
            while b"dense_ssm" not in drawn and select.select([self.screen], [], [], 20)[0]:
                drawn += os.read(self.screen, 65536)
            assert b"dense_ssm" in drawn, drawn[-2000:]
        return self.app

    def done(self) -> bool:
        return set(labs.state_of(self.lab)) == {"done"}

    def provoke(self, moment: str) -> None:
        """Ask for what leads to a moment that would not come by itself."""
        old, _, new = moment.partition(" to ")
        if moment == "probe.resumed":
            self.take_back()
        elif moment in ("probe.interrupted", "worker"):
            if (job := self.bring("running")) is not None:
                commands.pause(self.lab, [job]) if moment == "probe.interrupted" else self.crash(job, 1000)
        elif moment == "cancelled to paused":
            if (job := self.bring("paused")) is not None:
                commands.cancel(self.lab, [job])
                self.reached(job, "cancelled")
                commands.undo_cancel(self.lab, [job])
        elif moment in TRANSITIONS and moment not in ("queued to running", "running to done"):
            if (job := self.bring(old)) is None:
                return
            if new == "failed" or moment == "running to queued":
                self.crash(job, 1 if new == "failed" else 1000)
            else:
                verbs = {"paused": commands.pause, "cancelled": commands.cancel}
                verbs.get(new, {"paused": commands.resume}.get(old, commands.retry))(self.lab, [job])

    def bring(self, state: str) -> int | None:
        """A job in that state; None where there is none and none came."""
        with open_lab(self.lab) as opened:
            jobs = {job.id: job.state for job in opened.jobs() if job.state != "done"}
        if there := [job for job, now in jobs.items() if now == state]:
            return self.rng.choice(there)
        if state in ("queued", "running"):
            self.take_back()
            return next((job for job in jobs if self.reached(job, state)), None) if jobs else None
        job = self.bring("running" if state == "failed" else self.rng.choice(["queued", "running"]))
        if job is not None:
            if state == "failed":
                self.crash(job, 1)
            else:
                {"paused": commands.pause, "cancelled": commands.cancel}[state](self.lab, [job])
        return job if job is not None and self.reached(job, state) else None

    def crash(self, job: int, attempts: int) -> None:
        """The workers die under it, and so many attempts it may have."""
        commands.edit(self.lab, job, json.dumps({"max_attempts": attempts}))
        with open_lab(self.lab) as opened:
            labs.wait(lambda: not opened.pending_commands() or self.gone(), 10, "the number of attempts")
        for process in Roster(LabPaths(self.lab).folder / "workers.json").read():
            self.counts["workers killed to bring a state about"] += process.kill()

    def reached(self, job: int, state: str) -> bool:
        """It is in that state within a moment."""
        end = time.monotonic() + 1.5
        with open_lab(self.lab) as opened:
            while time.monotonic() < end and not self.gone():
                if opened.job(job).state == state:
                    return True
                time.sleep(0.002)
        return False

    def gone(self) -> bool:
        return self.running is None or self.running.process.poll() is not None

    def take_back(self) -> None:
        """Whatever was asked of a job is not wanted any more."""
        every = list(range(1, self.jobs + 1))
        for job in every:
            commands.edit(self.lab, job, '{"max_attempts": 1000}')
        for verb in (commands.resume, commands.undo_cancel, commands.retry):
            verb(self.lab, every)

    def wait_for(self, moment: str, within_s: float) -> bool:
        """Until an event of that kind is written; False where the time was over first."""
        end = time.monotonic() + within_s
        with open_lab(self.lab) as opened:
            last = opened.last_event_id()
            self.provoke(moment)
            end = max(end, time.monotonic() + 2.0)
            while time.monotonic() < end and not self.gone():
                for event in opened.events(after=last, limit=50):
                    if moment in (event.kind, transition(event)):
                        return True
                    last = event.id
                time.sleep(0.002)
        return False

    def kill(self) -> None:
        """One fault."""
        who = self.rng.choices(["supervisor", "worker", "both", "app"], [5, 5, 2, 2])[0]
        if who == "app":
            self.look()
        running = self.supervise()
        if not self.moments:
            self.moments += self.rng.sample(MOMENTS, len(MOMENTS))
        moment = self.moments.pop()
        if moment == "a random time":
            time.sleep(self.rng.uniform(0.0, 1.5))
        elif not self.wait_for(moment, 5.0):
            moment = "a random time"
        before = kills(self.counts)
        if who in ("worker", "both"):
            roster = Roster(LabPaths(self.lab).folder / "workers.json").read()
            alive = [p for p in roster if p.alive()]
            if alive and self.rng.choice(alive).kill():
                self.counts["workers killed"] += 1
        if who in ("supervisor", "both") and running.process.poll() is None:
            running.kill()
            self.counts["supervisors killed"] += 1
        if who == "app":
            assert self.app is not None
            assert self.app.poll() is None, "the app ended by itself"
            os.write(self.screen, self.rng.choice(["", "j", "p", "x", "jj\r"]).encode())
            self.app.kill()
            self.app.wait()
            self.counts["apps killed"] += 1
        self.counts[f"kills at {moment}"] += kills(self.counts) - before

    def finish(self) -> None:
        while not self.done():
            self.take_back()
            assert self.supervise().ended(120) in (0, -9)

    def close_app(self) -> None:
        if self.app is not None:
            self.app.kill()
            self.app.wait()
            os.close(self.screen)
            self.app = None

    def close(self) -> None:
        self.close_app()
        if self.running is not None and self.running.process.poll() is None:
            self.running.kill()


def transition(event: EventRow) -> str:
    """``running to done``, where it is one."""
    told = json.loads(event.data) if event.kind.startswith("job.") else {}
    return f"{told.get('from')} to {told.get('to')}"


def kills(counts: Counter[str]) -> int:
    return counts["workers killed"] + counts["supervisors killed"] + counts["apps killed"]


def test_brackets_after_kills_are_those_of_the_undisturbed_run(tmp_path: Path, counts: Counter[str]) -> None:
    rng = random.Random(SEED)
    before, number, moments = kills(counts), 0, list[str]()
    while kills(counts) - before < KILLS:
        number += 1
        lab = tmp_path / f"{number}" / "lab.db"
        lab.parent.mkdir()
        # Other eps, other thresholds: each lab is another set of searches.
        spec = labs.study(
            5, ("dense_ssm", "lstm"), eps=(1e-4 * number,), strategy=("log", "paper")[number % 2]
        )
        labs.make(lab, spec, max_attempts=1000)
        course = Course(lab, len(spec.jobs()), rng, counts, moments)
        try:
            while not course.done() and kills(counts) - before < KILLS:
                try:
                    course.kill()
                except LabError as error:  # a look at a moment when the supervisor is just being replaced
                    pytest.fail(f"a reader was refused: {error}")
            course.finish()
        finally:
            course.close()
        probes, trials = labs.verify(lab)
        counts["searches verified"] += len(spec.jobs())
        counts["probes verified"] += probes
        counts["trials verified"] += trials
    counts["labs verified"] += number
    if KILLS >= 220:
        assert [m for m in TRANSITIONS if not counts[f"kills at {m}"]] == [], (
            "moments at which nothing was killed"
        )
