"""How far one supervisor reaches: many slots with a stand-in trial of fixed length.

``python -m benchmarks.scale --slots 64 --engine ray --trial 30`` lets workers sleep through their trials, on
this machine or as actors of a Ray cluster of this machine: the share of the slots' time that they train, and
trials lost and doubled. ``--simulated 1000`` is the supervisor alone, its messages fed by one process that
speaks for all workers: trials per second, its processor time for each message, and how long a verb waits for
its answer. Both begin to count one trial's length after every slot is staffed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import heapq
import itertools
import json
import multiprocessing
import os
import selectors
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from runners.engine.types import Control, Ended, EngineEvent, Evaluated, Member, Plan, Planned, Stopped
from runners.pool import inbox
from runners.pool import protocol as m
from runners.pool.devices import Device
from runners.pool.identity import ProcessId
from runners.pool.local import LocalPool, LocalWorker
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

SPAWN = multiprocessing.get_context("spawn")
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


class Puppet(LocalWorker):
    """A worker without a process: :func:`speak` answers at the other end of its socket."""

    def __init__(self, number: int, mine: socket.socket, clock: Clock) -> None:
        self.name, self.clock = str(number), clock
        self.ready = None
        self.rss, self.silent_s = 0, 0.0
        self.heard = self.started = clock()
        self.closed = self.quitting = self.holding = False
        self._in, self._out, self._log = bytearray(), bytearray(), Path(os.devnull)
        mine.setblocking(False)
        self._down, self.up = mine.detach(), -1
        self.up = os.dup(self._down)
        self.id = ProcessId(0, str(number), "simulated")
        self._code: int | None = None
        self.send(m.Hold(False))  # the stage begins to speak for it

    @property
    def pid(self) -> int:
        return int(self.name)

    def exit_code(self) -> int | None:
        return 0 if self.closed else self._code

    def kill(self) -> None:
        self._code = -9

    def close(self) -> None:
        for descriptor in (self._down, self.up):
            os.close(descriptor)
        self.closed = True


class Stage(LocalPool):
    """A pool of simulated workers, for which one process of its own speaks."""

    def __init__(self, slots: int, trial_s: float) -> None:
        super().__init__([Device("cpu", "simulated")])
        self._count = self._free = slots
        pairs = [socket.socketpair() for _ in range(slots)]
        self._ends = [mine for mine, _ in pairs]
        theirs = [end for _, end in pairs]
        self._process = SPAWN.Process(target=speak, args=(theirs, trial_s), daemon=True)
        self._process.start()
        for end in theirs:
            end.close()

    def slots(self, device: Device) -> int:
        return self._count

    def shortage(self, device: Device, need: int, reserve: float) -> str:
        return ""

    def start(
        self, slot: str, device: Device, trainer: str, threads: int, log: Path, clock: Clock
    ) -> LocalWorker:
        if not self._free:
            raise OSError("a simulated worker is started once")
        self._free -= 1
        return Puppet(self._count - self._free, self._ends[self._free], clock)

    def close(self) -> None:
        self._process.join(10.0)


def speak(ends: list[socket.socket], trial_s: float) -> None:
    """Speak for all workers: a beat every second, progress every second while one trains, and the ends when
    the trial's time is over.
    """
    _room(len(ends) + 200)
    selector = selectors.DefaultSelector()
    words: dict[socket.socket, bytearray] = {}
    trains: dict[socket.socket, m.Train] = {}
    due: list[tuple[float, int, socket.socket, m.Train | None]] = []
    order = itertools.count()
    idle = m.encode(m.Beat("", 0.0, 1 << 28))

    def hear(end: socket.socket) -> None:
        if not (chunk := end.recv(1 << 18)):
            quit_(end)
            return
        if end not in words:
            words[end] = bytearray()
            end.sendall(m.encode(m.Ready(len(words), SLEEPER, "", "")))
            at = time.monotonic() + BEAT_S * (len(words) % 100) / 100
            heapq.heappush(due, (at, next(order), end, None))
        words[end] += chunk
        *lines, rest = bytes(words[end]).split(b"\n")
        words[end][:] = rest
        for line in lines:
            message = m.decode_down(line)
            if isinstance(message, m.Train):
                trains[end] = message
                heapq.heappush(due, (time.monotonic() + trial_s, next(order), end, message))
            elif isinstance(message, m.Stop) and trains.pop(end, None) is not None:
                end.sendall(m.encode(m.Halted(message.tag, False)))
            elif isinstance(message, m.Quit):
                quit_(end)
                return

    def quit_(end: socket.socket) -> None:
        trains.pop(end, None)
        selector.unregister(end)
        end.close()

    for end in ends:
        selector.register(end, selectors.EVENT_READ)
    while selector.get_map():
        for key, _ in selector.select(max(0.0, min(0.1, due[0][0] - time.monotonic())) if due else 0.1):
            hear(key.fileobj)  # type: ignore[arg-type]
        while due and due[0][0] <= time.monotonic():
            at, _, end, train = heapq.heappop(due)
            if end.fileno() < 0:
                continue
            if train is None:
                end.sendall(_live(trains[end]) if end in trains else idle)
                # One that lags leaves beats out, as a worker does that gets no processor.
                again = max(at, time.monotonic() - BEAT_S / 2) + BEAT_S
                heapq.heappush(due, (again, next(order), end, None))
            elif trains.get(end) is train:
                del trains[end]
                end.sendall(_ends(train, trial_s))


def _live(train: m.Train) -> bytes:
    points = tuple(m.Point(i, 1, 1.0, 1.0, True) for i in range(len(train.members)))
    return m.encode(m.Beat(train.tag.assignment, 0.0, 1 << 28)) + m.encode(m.Progress(train.tag, points))


def _ends(train: m.Train, trial_s: float) -> bytes:
    job = Job.from_json(train.job)
    out = b""
    for index, member in enumerate(train.members):
        outcome = Outcome.SUCCESS if wins(job, member.n) else Outcome.FAILURE
        ended = Ended(index, outcome, 100, 0.5, 50, 0.5, None)
        curve = (50, 100), (1.0, 0.5), (1.0, 0.5), (True, True)
        out += m.encode(m.TrialEnded(train.tag, ended, *curve, trial_s))
    return out + m.encode(m.Finished(train.tag, 0.01, trial_s, 0.0))


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
        self.spans: list[tuple[float, float]] = []
        self.ends: set[tuple[str, int]] = set()
        """(assignment, member) of each trial whose end was heard."""
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
                self.full, self.messages = time.monotonic(), 0
        elif isinstance(message, m.TrialEnded):
            self.ends.add((message.tag.assignment, message.ended.member))
        self._take(state, slot, message)

    def _timed(self, state: SupervisorState, slot: Slot, assignment: Assignment, message: Any) -> None:
        if isinstance(message, m.Finished):
            now = time.monotonic()
            self.spans.append((now - message.train_s, now))
            key = (message.tag.assignment, message.tag.epoch, message.tag.attempt)
            self.tags[key] = self.tags.get(key, 0) + 1
        self._over(state, slot, assignment, message)


def verbs(lab: Path, told: Any) -> None:
    """Somebody asks for something twice a second, and waits for the answer as the command line does: send the
    seconds until the verb was written down and until it was answered, as a process of its own.
    """
    with open_lab(lab) as opened:
        ids = [row.id for row in opened.jobs()]
        told.send(None)
        for turn in itertools.count():
            if told.poll(VERB_S):
                return
            began = time.monotonic()
            number = commands.priority(lab, [ids[turn % len(ids)]], turn % 5)
            wrote = time.monotonic()
            while not told.poll():
                row = opened.command(number)
                if row is not None and row.state != "pending":
                    told.send((wrote - began, time.monotonic() - began))
                    break
                time.sleep(0.01)


def run(pool: Pool, slots: int, trial_s: float, seconds: float, trainer: str) -> dict[str, Any]:
    """One supervisor for so long after every slot is staffed."""
    with tempfile.TemporaryDirectory() as folder, Watch(slots) as watch:
        lab = Path(folder) / "lab.db"
        create_or_open(lab)
        submit(lab, study(2 * slots))
        options = Options(lab, slots=slots, trainer=trainer, speculate=False, pack=False, daemon=True)
        supervisor = Supervisor(options, SupervisorLock.acquire(LabPaths(lab)), pool)
        mine, theirs = SPAWN.Pipe()
        person = SPAWN.Process(target=verbs, args=(lab, theirs), daemon=True)
        ends: list[float] = []

        def time_it() -> None:
            while watch.full is None:
                time.sleep(0.05)
            person.start()
            theirs.close()
            try:
                mine.recv()  # it is there
            except EOFError:  # it fell over, and has said why
                supervisor._signals.count += 1
                return
            time.sleep(trial_s)  # the first round begins slot by slot
            ends.append(time.monotonic())
            cpu, count = time.process_time(), watch.messages
            time.sleep(seconds)
            ends.extend((time.monotonic(), time.process_time() - cpu, watch.messages - count))
            mine.send("enough")
            supervisor._signals.count += 1

        threading.Thread(target=time_it, daemon=True).start()
        began = time.monotonic()
        code = supervisor.run()
        if len(ends) < 4:
            raise SystemExit(f"the supervisor ended early (code {code}): see what it said above")
        waits: list[tuple[float, float]] = []
        with contextlib.suppress(EOFError, OSError):  # it may have ended by now
            while mine.poll():
                waits.append(mine.recv())
        with open_lab(lab) as opened:
            probes = [p for row in opened.jobs() for p in opened.probes(row.id)]
            trials = [t for p in probes for t in opened.trials(probe_id=p.id)]
        stored = sum(t.outcome in ("success", "failure") for t in trials)
    begin, end, cpu_s, messages = ends
    ended = [s for s in watch.spans if begin < s[1] <= end]
    written, answered = (sorted(w[i] for w in waits) for i in (0, 1))
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
        "verb_p50_s": statistics.median(answered) if waits else None,
        "verb_p99_s": answered[min(len(waits) - 1, int(0.99 * len(waits)))] if waits else None,
        "verb_max_s": answered[-1] if waits else None,
        "verb_written_p99_s": written[min(len(waits) - 1, int(0.99 * len(waits)))] if waits else None,
        "load": os.getloadavg()[0],
        "candidates_done": sum(p.state == "done" for p in probes),
        "lost": max(0, len(watch.ends) - stored) + (code != 0),
        "doubled": sum(n - 1 for n in watch.tags.values()) + max(0, stored - len(watch.ends)),
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
