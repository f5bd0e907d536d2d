"""A lab, its supervisor and its workers in one process and on one clock,
so that a test decides what happens next.

The supervisor is the real one and so is the file. A worker is a worker whose process is a generator of the
stand-in's events: it trains only when it is told to, and dies, hangs or fails when it is told to.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from runners.engine.types import Control, Stopped
from runners.pool import protocol as m
from runners.pool import worker as real_worker
from runners.pool.devices import Device
from runners.pool.identity import ProcessId
from runners.pool.local import LocalPool
from runners.pool.options import Options
from runners.pool.supervisor import Supervisor
from runners.pool.workers import NoWorker
from runners.spec import Job
from store.errors import Busy, Fenced, LabError, NoRoom
from store.locks import SupervisorLock
from store.paths import LabPaths
from store.write import Tx, Writer
from tests.support import standin

ENV = {"STANDIN_EVAL_S": "0", "STANDIN_EVALS": "4", "STANDIN_CHECKPOINT_EVERY": "1"}
NOBODY = 1 << 30
"""Process ids from here on are of nobody."""


class Crash(BaseException):
    """The supervisor's process is killed here: nothing may handle it."""


@dataclass
class FakeWorker:
    """A :class:`runners.pool.protocol.WorkerProcess` that the test moves."""

    simulation: Simulation
    up: int
    ready: m.Ready | None = None
    rss: int = 0
    silent_s: float = 0.0
    heard: float = 0.0
    closed: bool = False
    quitting: bool = False
    holding: bool = False
    frozen: bool = False
    inbox: list[m.Down] = field(default_factory=list)
    said: list[m.Up] = field(default_factory=list)
    code: int | None = None
    orphan: bool = False
    leaving: bool = False
    holding_still: bool = False
    train: m.Train | None = None
    _events: Iterator[Any] | None = None
    _control: Control = field(default_factory=Control)
    _early: list[m.Stop | m.Drop] = field(default_factory=list)
    _report: Any = None
    _waiting: list[m.Train] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.heard = self.simulation.now
        self.said.append(m.Ready(self.pid, "stand-in", "", ""))

    # As the supervisor sees it

    @property
    def pid(self) -> int:
        return NOBODY + self.up

    @property
    def id(self) -> ProcessId:
        return ProcessId(self.pid, str(self.up), "this boot")

    def send(self, message: m.Down) -> None:
        if self.code is None:
            self.inbox.append(message)

    def flush(self) -> None:
        """Nothing is ever queued."""

    def receive(self) -> Iterator[m.Up]:
        if not self.frozen and self.code is None:
            self.heard = self.simulation.now
        said, self.said = self.said, []
        for message in said:
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
        if self.code is None:
            self.code = -9

    def close(self) -> None:
        self.closed = True

    def tail(self, size: int = 2000) -> str:
        return "the end of a log"

    # As the test moves it

    def beat(self) -> None:
        """A word that it lives, as every second."""
        if self.code is None and not self.frozen:
            self.said.append(m.Beat("", 0.0, 0))

    @property
    def busy(self) -> bool:
        return (
            self.code is None
            and not self.frozen
            and bool(self._events or self._waiting or self.inbox or self.leaving)
        )

    def die(self, keep: int) -> None:
        """Killed: only the first ``keep`` of its last words got into the pipe."""
        del self.said[keep:]
        self.kill()

    def abandon(self) -> None:
        """Its supervisor is gone: end of file."""
        self.orphan, self.leaving = True, True
        if self._control.stop != "discard":
            self._control.stop = "checkpoint"

    def fail(self, error: Exception) -> None:
        """The trainer raises."""
        self._listen()
        if self.train is not None and self.code is None and not self.frozen:
            self.said.append(real_worker._failure(self.train.tag, error))
            self._over()

    def step(self) -> None:
        """Up to the trainer's next event."""
        if self.code is not None or self.frozen:
            return
        self._listen()
        if self._events is None and not self.leaving and self._waiting:
            self._begin(self._waiting.pop(0))
            return
        if self._events is None or self.train is None:
            if self.leaving:
                self.code = 0
            return
        if self.holding_still and not self._control.stop:
            return
        event = next(self._events, None)
        if isinstance(event, Stopped):
            self._report.flush()
            self.said.append(m.Halted(self.train.tag, event.path is not None))
            self._over()
        elif event is None:
            self._report.flush()
            self.said.append(m.Finished(self.train.tag, 0.1, 1.0, 0.0))
            self._over()
        else:
            self._report.take(event)

    def _listen(self) -> None:
        inbox, self.inbox = self.inbox, []
        for message in inbox:
            if isinstance(message, m.Train):
                self._waiting.append(message)
            elif isinstance(message, m.Quit):
                self.leaving = True
                self._control.stop = self._control.stop or "checkpoint"
            elif isinstance(message, m.Hold):
                self.holding_still = message.on
            elif isinstance(message, m.Stop | m.Drop):
                if self.train is not None and self.train.tag == message.tag:
                    self._apply(message)
                else:
                    self._early.append(message)

    def _apply(self, message: m.Stop | m.Drop) -> None:
        if isinstance(message, m.Drop):
            self._control.drop |= set(message.probes)
        elif self._control.stop != "discard":
            self._control.stop = message.mode

    def _begin(self, train: m.Train) -> None:
        self.simulation.trains(self, train)
        self.train, self._control = train, Control(drop=set(train.drop))
        for message in self._early:
            if message.tag == train.tag:
                self._apply(message)
        self._early.clear()
        trainer = standin.Trainer(
            Job.from_json(train.job),
            train.members,
            device=train.device,
            plan=train.plan,
            checkpoint_dir=Path(train.checkpoint_dir),
            resume=train.resume,
        )
        self._events = trainer.run(self._control)
        self._report = real_worker._Report(train, lambda message: self.said.append(message))

    def _over(self) -> None:
        self._events = self.train = None
        self._control = Control()


class Board:
    """A selector of workers. Waiting makes time pass, and lets those that were told to stop do so."""

    def __init__(self, simulation: Simulation) -> None:
        self._world = simulation
        self._slots: dict[int, Any] = {}

    def register(self, up: int, events: int, slot: Any) -> None:
        self._slots[up] = slot

    def unregister(self, up: int) -> None:
        del self._slots[up]

    def select(self, timeout: float) -> list[tuple[Any, int]]:
        if timeout > 0:
            self._world.now += timeout
            for worker in self._world.workers:
                worker.beat()
                if worker.leaving or worker._control.stop or worker.inbox:
                    worker.step()
        found = []
        for up, slot in list(self._slots.items()):
            if slot.worker is not None and (slot.worker.said or slot.worker.code is not None):
                found.append((SimpleNamespace(data=slot, fileobj=up), 1))
        return found


class FakePool(LocalPool):
    """One CPU whose workers the simulation moves."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__([Device("cpu", "test")])
        self._simulation = simulation

    def shortage(self, device: Device, need: int, reserve: float) -> str:
        return ""

    def start(self, slot: str, device: Device, trainer: str, threads: int, log: Path, clock: m.Clock) -> Any:
        return self._simulation.spawn()


class Simulation:
    """One lab and all that happens to it."""

    def __init__(self, lab: Path) -> None:
        self.lab = lab
        self.now = 1000.0
        self.wall = 1.7e9
        self.workers: list[FakeWorker] = []
        self.supervisor: Supervisor | None = None
        self.zombies: list[Supervisor] = []
        self.faults: list[str] = []
        """What befalls the next transactions, in order; "" for nothing."""
        self._numbers = itertools.count(1)
        self._stack = ExitStack()
        for patch in (
            mock.patch.dict(os.environ, ENV),
            mock.patch("runners.pool.worker.PROGRESS_S", 0.0),
            mock.patch.object(ProcessId, "alive", lambda who: self._alive(who)),
            mock.patch.object(ProcessId, "kill", lambda who, *_: self._kill(who)),
            mock.patch.object(Writer, "transaction", self._faulty(Writer.transaction)),
            mock.patch("runners.pool.supervisor.time.sleep", self._sleep),
        ):
            self._stack.enter_context(patch)

    def pack(self, on: bool) -> None:
        """Whether searches of one shape share loads."""
        os.environ["STANDIN_AT_ONCE"] = "64" if on else "1"

    def pick(self, number: int) -> FakeWorker:
        """One of those that live; where none does, somebody whom nothing can happen to."""
        living = [p for p in self.workers if p.code is None]
        return living[number % len(living)] if living else FakeWorker(self, 0)

    def close(self) -> None:
        for supervisor in [*self.zombies, *([self.supervisor] if self.supervisor else [])]:
            self._drop(supervisor)
        self._stack.close()

    # What the patches do

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def spawn(self) -> FakeWorker:
        worker = FakeWorker(self, next(self._numbers))
        self.workers.append(worker)
        return worker

    def _alive(self, who: ProcessId) -> bool:
        return any(p.id == who and p.code is None for p in self.workers)

    def _kill(self, who: ProcessId) -> bool:
        for worker in self.workers:
            if worker.id == who:
                worker.kill()
        return True

    def _faulty(self, real: Any) -> Any:
        @contextmanager
        def transaction(writer: Writer, **options: Any) -> Iterator[Tx]:
            mine = (
                self.faults
                and self.supervisor is not None
                and getattr(self.supervisor, "writer", None) is writer
            )
            fault = self.faults.pop(0) if mine else ""
            if fault == "killed before":
                raise Crash
            if fault == "busy":
                raise Busy("busy, says the test")
            if fault == "no room":
                raise NoRoom("no room, says the test")
            with real(writer, **options) as tx:
                tx.now = self.wall + self.now
                yield tx
                if fault == "killed within":
                    raise Crash
                if fault == "no room for the commit":
                    raise NoRoom("no room to commit, says the test")
            if fault == "killed after":
                raise Crash

        return transaction

    def trains(self, worker: FakeWorker, train: m.Train) -> None:
        """A worker begins: what it was given must be wanted, by the newest supervisor."""
        if worker.orphan:
            return
        from store.read import open_lab

        with open_lab(self.lab) as lab:
            states = {p.id: p.state for j in lab.jobs() for p in lab.probes(j.id)}
        for key in {x.probe for x in train.members} - set(train.drop):
            assert states[int(key)] != "done", f"probe {key} is trained although it is done"

    # The supervisor's life

    def start(self, *, usurp: bool = False) -> None:
        """A supervisor where none lives; with ``usurp`` beside a living one,
        which has lost the lab from then on.
        """
        if self.supervisor is not None:
            if not usurp:
                return
            self.zombies.append(self.supervisor)
            self.supervisor.lock.release()
            self._orphan(self.supervisor)
            self.supervisor = None
        options = Options(self.lab, slots=2, daemon=True)
        lock = SupervisorLock.acquire(LabPaths(self.lab))
        made = Supervisor(options, lock, FakePool(self), clock=lambda: self.now)
        made.selector = made.workers.selector = Board(self)  # type: ignore[assignment]
        self.supervisor = made
        try:
            made._open()
        except Crash:
            self.crash()

    def crash(self) -> None:
        """The supervisor is gone, as by SIGKILL; its workers see the end of their pipes."""
        gone, self.supervisor = self.supervisor, None
        self.faults.clear()
        if gone is not None:
            self._orphan(gone)
            self._drop(gone)

    def _orphan(self, gone: Supervisor) -> None:
        for slot in gone.state.slots:
            if slot.worker is not None:
                slot.worker.abandon()  # type: ignore[attr-defined]

    def _drop(self, gone: Supervisor) -> None:
        for name in ("writer", "lab"):
            with suppress(AttributeError):
                getattr(gone, name).close()
        gone.lock.release()

    def turn(self, seconds: float = 0.1) -> None:
        """One round of the supervisor, begun where none lives; it may end by itself."""
        self.start()
        self.now += seconds
        for worker in self.workers:
            worker.beat()
        living = self.supervisor
        if living is None:
            return
        try:
            if living._finished():
                self.end()
            else:
                living._round(0.0)
                assert living._faults == 0, "a turn failed for no reason that was foreseen"
        except Crash:
            self.crash()
        except NoWorker:
            self.end(1)

    def end(self, code: int = 0) -> None:
        """The supervisor closes as at the end of ``run``."""
        living = self.supervisor
        if living is None:
            return
        try:
            living._close(code)
        except Crash:
            self.crash()
        else:
            self.supervisor = None

    def stop(self) -> None:
        """SIGTERM, and the wait for its end: a frozen worker has until ``grace_s``."""
        if self.supervisor is not None:
            self.supervisor._signals.count = 1
            for _ in range(round(self.supervisor.options.grace_s / 0.1) + 50):
                if self.supervisor is None:
                    return
                for worker in self.workers:
                    worker.step()
                self.turn()
            raise AssertionError("a supervisor did not end when it was told to")

    def haunt(self) -> None:
        """A supervisor that has lost the lab goes on for a round: whatever it wants to write is refused."""
        if self.zombies:
            zombie = self.zombies.pop()
            faults, self.faults = self.faults, []
            self.now += 5.0
            with suppress(Fenced):
                zombie._round(0.0)
                raise AssertionError("a supervisor wrote into a lab that is another's")
            for slot in zombie.state.slots:
                slot.worker = None
            with suppress(LabError):
                zombie._close(1)
            self.faults = faults
