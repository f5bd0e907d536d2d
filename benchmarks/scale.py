"""How far one supervisor reaches: many slots with a stand-in trial of fixed length.

``python -m benchmarks.scale --slots 64 --engine ray --trial 30`` lets workers sleep through their trials, on
this machine or as actors of a Ray cluster of this machine: the share of the slots' time that they train, and
messages lost and doubled. ``--simulated 1000`` is the supervisor alone, its messages fed by a simulation in
the same process: trials per second, its processor time for each message, and how long a verb waits for its
answer. Both begin to count when every slot is staffed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import heapq
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from runners.engine.types import Control, Ended, EngineEvent, Evaluated, Member, Plan, Planned, Stopped
from runners.pool import inbox
from runners.pool import protocol as m
from runners.pool.devices import Device
from runners.pool.identity import ProcessId
from runners.pool.local import LocalPool
from runners.pool.options import Options
from runners.pool.protocol import Clock, Pool
from runners.pool.state import Assignment, Slot, SupervisorState
from runners.pool.supervisor import Supervisor
from runners.spec import Job, Study
from runners.verdict import Outcome
from store import commands
from store.locks import SupervisorLock
from store.paths import LabPaths
from store.read import open_lab
from store.write import create_or_open, submit

SLEEPER = "benchmarks.scale:Sleeper"
LENGTH = "LABTUI_BENCH_TRIAL_S"
BEAT_S = 1.0
PROGRESS_S = 1.0
VERB_S = 0.5


def wins(job: Job, n: int) -> bool:
    """The truth of the stand-in: each search has a threshold of its own."""
    digest = hashlib.sha256(job.hash.encode()).digest()
    return n > job.n_max * int.from_bytes(digest[:4], "big") / 2**32 / 2


class Sleeper:
    """A trainer that sleeps: the constructor and ``run`` of ``runners.engine.trainer.Trainer``."""

    def __init__(
        self,
        job: Job,
        members: Sequence[Member],
        *,
        device: str,
        plan: Plan | None,
        checkpoint_dir: Path | None,
        resume: bool,
    ) -> None:
        self.job, self.members = job, tuple(members)
        self.plan = plan or Plan(device, members_at_once=1, note="sleeps")

    def run(self, control: Control) -> Iterator[EngineEvent]:
        yield Planned(self.plan)
        until = time.monotonic() + float(os.environ.get(LENGTH, "10"))
        step = 1
        while (left := until - time.monotonic()) > 0:
            if control.stop:
                yield Stopped(None)
                return
            time.sleep(min(left, PROGRESS_S))
            every = tuple(range(len(self.members)))
            losses = (1.0,) * len(every)
            yield Evaluated(step, every, losses, losses, (True,) * len(every))
            step += 1
        for index, member in enumerate(self.members):
            outcome = Outcome.SUCCESS if wins(self.job, member.n) else Outcome.FAILURE
            yield Ended(index, outcome, step, 0.5, step, 0.5, None)


# The simulation


class Puppet:
    """A worker whose words come from :class:`Stage`."""

    def __init__(self, stage: Stage, number: int, clock: Clock) -> None:
        self.up, self._wake = os.pipe()
        os.set_blocking(self.up, False)
        os.set_blocking(self._wake, False)
        self.id = ProcessId(0, str(number), "simulated")
        self.pid, self.rss, self.silent_s = number, 0, 0.0
        self.ready: m.Ready | None = None
        self.closed = self.quitting = self.holding = False
        self.heard = clock()
        self._stage, self._clock = stage, clock
        self.said: deque[bytes] = deque()
        self.train: m.Train | None = None
        self.code: int | None = None
        self.say(m.Ready(number, SLEEPER, "", ""))

    def say(self, message: m.Up) -> None:
        """In the thread of the stage."""
        self.said.append(m.encode(message))
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake, b".")

    def send(self, message: m.Down) -> None:
        if isinstance(message, m.Train):
            self._stage.begin(self, message)
        elif isinstance(message, m.Stop) and self.train is not None:
            self.train = None
            self.say(m.Halted(message.tag, False))
        elif isinstance(message, m.Quit):
            self.code = 0
            self.say(m.Beat("", 0.0, 0))

    def flush(self) -> None:
        """Nothing is queued."""

    def receive(self) -> Iterator[m.Up]:
        with contextlib.suppress(BlockingIOError, OSError):
            os.read(self.up, 4096)
        self.heard = self._clock()
        while self.said:
            message = m.decode_up(self.said.popleft())
            self._stage.taken += 1
            if isinstance(message, m.Ready):
                self.ready = message
            yield message
        self.closed = self.code is not None

    def quit(self) -> None:
        self.quitting = True
        self.send(m.Quit())

    def exit_code(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.code = -9

    def close(self) -> None:
        if not self.closed or self.up >= 0:
            os.close(self.up)
            os.close(self._wake)
            self.up = -1
        self.closed = True

    def tail(self, size: int = 2000) -> str:
        return ""


class Stage(LocalPool):
    """A pool of simulated workers, and the thread that speaks for them: a beat every second, progress every
    second while one trains, and the ends when the trial's time is over.
    """

    def __init__(self, slots: int, trial_s: float) -> None:
        super().__init__([Device("cpu", "simulated")])
        self._count, self._trial_s = slots, trial_s
        self.puppets: list[Puppet] = []
        self.said = self.taken = self.trials = 0
        self.thread_cpu_s = 0.0
        self._due: list[tuple[float, int, Puppet, m.Train | None]] = []
        self._order = 0
        self._new: deque[tuple[float, Puppet, m.Train | None]] = deque()
        threading.Thread(target=self._speak, daemon=True).start()

    def slots(self, device: Device) -> int:
        return self._count

    def shortage(self, device: Device, need: int, reserve: float) -> str:
        return ""

    def start(self, slot: str, device: Device, trainer: str, threads: int, log: Path, clock: Clock) -> Any:
        made = Puppet(self, len(self.puppets) + 1, clock)
        self.puppets.append(made)
        self._push(time.monotonic() + BEAT_S * (len(self.puppets) % 100) / 100, made, None)
        return made

    def begin(self, puppet: Puppet, train: m.Train) -> None:
        puppet.train = train
        self._push(time.monotonic() + self._trial_s, puppet, train)

    def _push(self, at: float, puppet: Puppet, train: m.Train | None) -> None:
        self._new.append((at, puppet, train))  # no lock: a stage that lags would keep it from the supervisor

    def _speak(self) -> None:
        while True:
            while self._new:
                self._order += 1
                new_at, new_puppet, new_train = self._new.popleft()
                heapq.heappush(self._due, (new_at, self._order, new_puppet, new_train))
            due = self._due[0] if self._due else None
            if due is not None and due[0] <= time.monotonic():
                heapq.heappop(self._due)
            else:
                due = None
            self.thread_cpu_s = time.thread_time()
            if due is None:
                time.sleep(0.005)
                continue
            at, _, puppet, train = due
            if puppet.code is not None:
                continue
            if train is None:
                self._live(puppet)
                # One that lags leaves beats out, as a worker does that gets no processor.
                self._push(max(at, time.monotonic() - BEAT_S / 2) + BEAT_S, puppet, None)
            elif puppet.train is train:
                self._end(puppet, train)

    def _live(self, puppet: Puppet) -> None:
        train = puppet.train
        puppet.say(m.Beat(train.tag.assignment if train is not None else "", 0.0, 1 << 28))
        self.said += 1
        if train is not None:
            points = tuple(m.Point(i, 1, 1.0, 1.0, True) for i in range(len(train.members)))
            puppet.say(m.Progress(train.tag, points))
            self.said += 1

    def _end(self, puppet: Puppet, train: m.Train) -> None:
        job = Job.from_json(train.job)
        puppet.train = None
        for index, member in enumerate(train.members):
            outcome = Outcome.SUCCESS if wins(job, member.n) else Outcome.FAILURE
            ended = Ended(index, outcome, 100, 0.5, 50, 0.5, None)
            curve = (50, 100), (1.0, 0.5), (1.0, 0.5), (True, True)
            puppet.say(m.TrialEnded(train.tag, ended, *curve, self._trial_s))
        puppet.say(m.Finished(train.tag, 0.01, self._trial_s, 0.0))
        self.trials += len(train.members)
        self.said += len(train.members) + 1


# Measuring


def study(searches: int) -> Study:
    """At least so many searches, of four trials a candidate."""
    eps = tuple(1e-4 * (1 + i / 1000) for i in range(-(-searches // 5)))
    sweep = {
        "task": ({"kind": "modular_addition", "m": 5},),
        "model": ({"kind": "dense_ssm", "hidden": 8},),
        "format": ("acot",),
        "L": (5,),
        "grid": {"learning_rates": (0.01, 0.003), "seeds": (1, 2)},
        "training": {"steps": 100, "eval_every": 10, "validation_size": 64},
    }
    sweeps = tuple({**sweep, "search": {"eps": e}} for e in eps)
    return Study.model_validate({"name": "scale", "sweep": sweeps})


class Watch:
    """What the supervisor took in while it ran, and when."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.ready = self.messages = 0
        self.full: float | None = None
        self.cpu_at_full = 0.0
        self.spans: list[tuple[float, float]] = []
        self.begun: dict[tuple[str, int, int], int] = {}
        self.tags: dict[tuple[str, int, int], int] = {}
        self._take, self._over = inbox.take, inbox._over

    def __enter__(self) -> Watch:
        inbox.take, inbox._over = self._heard, self._timed
        return self

    def __exit__(self, *_: object) -> None:
        inbox.take, inbox._over = self._take, self._over

    def _heard(self, state: SupervisorState, slot: Slot, message: Any) -> None:
        self.messages += 1
        if isinstance(message, m.Ready):
            self.ready += 1
            if self.ready == self.slots:
                self.full, self.cpu_at_full, self.messages = time.monotonic(), time.process_time(), 0
        self._take(state, slot, message)

    def _timed(self, state: SupervisorState, slot: Slot, assignment: Assignment, message: Any) -> None:
        if isinstance(message, m.Finished):
            now = time.monotonic()
            self.spans.append((now - message.train_s, now))
            key = (message.tag.assignment, message.tag.epoch, message.tag.attempt)
            self.tags[key] = self.tags.get(key, 0) + 1
        self._over(state, slot, assignment, message)


def _verbs(lab: Path, waits: list[float], stop: threading.Event) -> None:
    """Somebody asks for something twice a second, and waits for the answer as the command line does."""
    with open_lab(lab) as opened:
        ids = [row.id for row in opened.jobs()]
        turn = 0
        while not stop.wait(VERB_S):
            turn += 1
            began = time.monotonic()
            number = commands.priority(lab, [ids[turn % len(ids)]], turn % 5)
            while not stop.is_set():
                row = opened.command(number)
                if row is not None and row.state != "pending":
                    break
                time.sleep(0.01)
            waits.append(time.monotonic() - began)


def run(pool: Pool, slots: int, trial_s: float, seconds: float, trainer: str) -> dict[str, Any]:
    """One supervisor for so long after every slot is staffed."""
    stage = pool if isinstance(pool, Stage) else None
    with tempfile.TemporaryDirectory() as folder, Watch(slots) as watch:
        lab = Path(folder) / "lab.db"
        create_or_open(lab)
        submit(lab, study(2 * slots))
        options = Options(lab, slots=slots, trainer=trainer, speculate=False, pack=False, daemon=True)
        supervisor = Supervisor(options, SupervisorLock.acquire(LabPaths(lab)), pool)
        stop, waits = threading.Event(), list[float]()
        ends: list[float] = []

        def time_it() -> None:
            while watch.full is None:
                time.sleep(0.05)
            threading.Thread(target=_verbs, args=(lab, waits, stop), daemon=True).start()
            time.sleep(trial_s)  # the first round begins slot by slot
            ends.append(time.monotonic())
            feeder = stage.thread_cpu_s if stage is not None else 0.0
            cpu, count = time.process_time() - feeder, watch.messages
            time.sleep(seconds)
            feeder = stage.thread_cpu_s if stage is not None else 0.0
            ends.extend((time.monotonic(), time.process_time() - feeder - cpu, watch.messages - count))
            stop.set()
            supervisor._signals.count += 1

        threading.Thread(target=time_it, daemon=True).start()
        began = time.monotonic()
        code = supervisor.run()
        if len(ends) < 4:
            raise SystemExit(f"the supervisor ended early (code {code}): see what it said above")
        with open_lab(lab) as opened:
            probes = [p for row in opened.jobs() for p in opened.probes(row.id) if p.state == "done"]
            whole = all(len(opened.trials(probe_id=p.id)) == 4 for p in probes)
    begin, end, cpu_s, messages = ends
    ended = [s for s in watch.spans if begin < s[1] <= end]
    waits.sort()
    return {
        "slots": slots,
        "trial_s": trial_s,
        "staffed_s": (watch.full or end) - began,
        "measured_s": end - begin,
        "efficiency": len(ended) * trial_s / (slots * (end - begin)),
        "trials_per_s": 4 * len(ended) / (end - begin),
        "messages_per_s": messages / (end - begin),
        "supervisor_cpu_share": cpu_s / (end - begin),
        "cpu_ms_per_message": 1000 * cpu_s / max(1, messages),
        "cpu_ms_per_trial": 1000 * cpu_s / max(1, 4 * len(ended)),
        "verbs": len(waits),
        "verb_p50_s": statistics.median(waits) if waits else None,
        "verb_p99_s": waits[min(len(waits) - 1, int(0.99 * len(waits)))] if waits else None,
        "candidates_done": len(probes),
        "lost": 0 if whole and code == 0 else 1,
        "doubled": sum(n - 1 for n in watch.tags.values()),
        "late": supervisor.state.late,
    }


def main() -> None:
    """Print JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--slots", type=int, default=8, help="workers, each a process (and an actor with ray)"
    )
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--simulated", type=int, default=0, metavar="N", help="instead: N simulated slots")
    parser.add_argument(
        "--trial", type=float, default=20.0, metavar="S", help="seconds that a candidate takes"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to measure")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.simulated, args.trial, args.seconds = args.simulated or 20, 1.0, 3.0
    os.environ[LENGTH] = str(args.trial)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).resolve().parents[1])])
    slots = args.simulated or args.slots
    pool: Pool
    if args.simulated:
        _room(2 * slots + 200)
        pool = Stage(slots, args.trial)
    elif args.engine == "ray":
        from runners.pool.ray_pool import RayPool

        pool = RayPool("local", slots=slots, trainer=SLEEPER)
    else:
        pool = LocalPool([Device("cpu", "this machine")])
    before = signal.getsignal(signal.SIGTERM)
    print(json.dumps(run(pool, slots, args.trial, args.seconds, SLEEPER), indent=1))
    signal.signal(signal.SIGTERM, before)
    sys.stdout.flush()
    os._exit(0)


def _room(files: int) -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(files, 1024), hard), hard))


if __name__ == "__main__":
    main()
