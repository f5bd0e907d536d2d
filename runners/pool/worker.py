"""A worker process: trains what comes down the pipe and tells what happens up the other.

It has no database connection.

``python -m runners.pool.worker --read FD --write FD --trainer
module:Class``, spawned by the supervisor for one slot. Three threads beside the main one, which trains: one
reads, one writes, one beats. End of file means that the supervisor is gone: checkpoint and end.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import io
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import psutil

from runners.engine.types import (
    Began,
    Checkpointed,
    Control,
    Ended,
    EngineError,
    EngineEvent,
    Evaluated,
    Member,
    Note,
    Plan,
    Stopped,
)
from runners.engine.types import Planned as EnginePlanned
from runners.interrupt import Interrupted, Listener
from runners.pool import protocol as m
from runners.pool.interpreter import end_process, importing
from runners.pool.protocol import MessageError, encode
from runners.pool.thinning import ThinCurve
from runners.programs.trainer import ProgramError, ProgramTrainer
from runners.spec import Job

BEAT_S = 1.0
PROGRESS_S = 0.2
GRACE_S = 60.0
"""After the supervisor has gone: how long a checkpoint may take."""


class TrainerLike(Protocol):
    """What :class:`runners.engine.trainer.Trainer` and every stand-in look like."""

    def __init__(
        self,
        job: Job,
        members: Sequence[Member],
        *,
        device: str,
        plan: Plan | None,
        checkpoint_dir: Path | None,
        resume: bool,
    ) -> None: ...

    def run(self, control: Control) -> Iterator[EngineEvent]: ...


class WatchedControl(Control):
    """A control that remembers when the trainer last looked at it:
    a heartbeat thread alone would hide a hung trainer.

    While ``go`` is cleared, the look itself waits: that is how training stands still without a word
    to the engine.
    """

    def __init__(self, go: threading.Event, drop: Sequence[str] = ()) -> None:
        self.looked = time.monotonic()
        self._go = go
        self._stop: Any = ""
        super().__init__(drop=set(drop))

    @property
    def stop(self) -> Any:
        while not self._stop and not self._go.wait(timeout=1.0):
            self.looked = time.monotonic()
        self.looked = time.monotonic()
        return self._stop

    @stop.setter
    def stop(self, value: Any) -> None:
        # Discard wins over checkpoint; neither is taken back.
        if self._stop != "discard":
            self._stop = value


def load_trainer(name: str) -> type[TrainerLike]:
    """Load the class behind ``module:Class``.

    Raises:
        ValueError: the name is not of that form or leads nowhere.
    """
    module, colon, attribute = name.partition(":")
    if not colon or not attribute:
        raise ValueError(f"the trainer is {name!r}; expected module:Class")
    found = getattr(importlib.import_module(module), attribute, None)
    if not isinstance(found, type):
        raise ValueError(f"the trainer {name!r} is not a class")
    return cast("type[TrainerLike]", found)


class Worker:
    """One slot's process."""

    def __init__(self, read_fd: int, write_fd: int, trainer: str) -> None:
        self._in = open(read_fd, "rb", closefd=True)  # noqa: SIM115 - lives as long as the process
        self._write_fd = write_fd
        self._trainer_name = trainer
        self._work: queue.SimpleQueue[m.Train | None] = queue.SimpleQueue()
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = threading.RLock()  # a signal handler may come while the main thread holds it
        self._tag: m.Tag | None = None
        self._control: WatchedControl | None = None
        self._early: list[m.Stop | m.Drop] = []
        self._quit = threading.Event()
        self._stops = 0
        self._written = threading.Event()
        self._grace_s = GRACE_S
        self._go = threading.Event()
        self._go.set()
        self._trainer: type[TrainerLike] | None = None
        self._process = psutil.Process()

    def main(self) -> int:
        """Until the supervisor says quit or goes away."""
        for target in (self._read, self._write, self._beat):
            threading.Thread(target=target, daemon=True, name=target.__name__).start()
        self._load()
        while True:
            train = self._work.get()
            if train is None or self._quit.is_set():
                break
            self._run(train)
        self._out.put(None)
        self._written.wait(timeout=5)
        return 0

    def _load(self) -> None:
        """Import the trainer, and tell that it is there.

        Raises:
            ImportError, ValueError: it is not; without torch there is none, and no harm done.
        """
        try:
            with importing():
                self._trainer = load_trainer(self._trainer_name)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            self._trainer = None
            _log("worker: there is no torch here; programs alone can be run")
        torch = sys.modules.get("torch")
        version = str(getattr(torch, "__version__", "")) if torch else ""
        self._send(m.Ready(os.getpid(), self._trainer_name, version, ""))

    # Reading

    def _read(self) -> None:
        try:
            for line in self._in:
                self._obey(m.decode_down(line))
        except (MessageError, OSError) as error:
            _log(f"worker: {error}")
        self.leave()

    def leave(self) -> None:
        """Checkpoint and end: the supervisor has gone or said so, or the machine shuts down."""
        self._quit.set()
        with self._lock:
            if self._control is not None:
                self._control.stop = "checkpoint"
        self._work.put(None)
        watchdog = threading.Timer(self._grace_s, os._exit, (3,))
        watchdog.daemon = True
        watchdog.start()

    def _obey(self, message: m.Down) -> None:
        if isinstance(message, m.Train):
            self._work.put(message)
        elif isinstance(message, m.Prepare):
            threading.Thread(target=self._prepare, args=(message, self._stops), daemon=True).start()
        elif isinstance(message, m.Quit):
            self.leave()
        elif isinstance(message, m.Hold):
            (self._go.clear if message.on else self._go.set)()
        else:
            self._stops += isinstance(message, m.Stop)
            with self._lock:
                if self._tag == message.tag and self._control is not None:
                    _apply(message, self._control)
                else:  # it overtook its own assignment, or came too late: then nothing will ask for it
                    self._early.append(message)

    def _prepare(self, hint: m.Prepare, stops: int) -> None:
        """Given up at the next stop: the processor is to be free then."""
        prepare = getattr(self._trainer, "prepare", None)
        if prepare is None:
            return
        try:
            with Listener(lambda: self._quit.is_set() or self._stops != stops):
                prepare(Job.from_json(hint.job), hint.members, hint.device)
        except Interrupted:
            pass
        except Exception as error:  # a hint is never worth a run
            _log(f"worker: preparing data failed: {error}")

    # Writing

    def _send(self, message: m.Up) -> None:
        self._out.put(encode(message))

    def _write(self) -> None:
        try:
            while (line := self._out.get()) is not None:
                view = memoryview(line)
                while view:
                    view = view[os.write(self._write_fd, view) :]
        except OSError:
            self.leave()
        finally:
            self._written.set()

    def _beat(self) -> None:
        while True:
            with self._lock:
                tag, control = self._tag, self._control
            silent = time.monotonic() - control.looked if control is not None else 0.0
            assignment = tag.assignment if tag is not None else ""
            rss = 0
            with contextlib.suppress(psutil.Error):
                mine = [self._process, *(self._process.children(recursive=True) if tag is not None else ())]
                rss = sum(int(p.memory_info().rss) for p in mine)
            self._send(m.Beat(assignment, silent, rss))
            time.sleep(BEAT_S)

    # Training

    def _run(self, train: m.Train) -> None:
        control = WatchedControl(self._go, train.drop)
        with self._lock:
            self._tag, self._control = train.tag, control
            for message in self._early:
                if message.tag == train.tag:
                    _apply(message, control)
            self._early.clear()
            if self._quit.is_set():
                control.stop = "checkpoint"
        try:
            self._train(train, control)
        except Exception as error:
            _log(traceback.format_exc())
            self._send(_failure(train.tag, error))
        finally:
            with self._lock:
                self._tag = self._control = None
            gc.collect()
            torch = sys.modules.get("torch")
            if torch is not None and train.device.startswith("cuda"):
                with contextlib.suppress(Exception):
                    torch.cuda.empty_cache()

    def _train(self, train: m.Train, control: WatchedControl) -> None:
        began = time.monotonic()
        job = Job.from_json(train.job)
        if job.program is None and train.trainer not in ("", self._trainer_name):
            self._trainer_name = train.trainer
            self._load()
            control.looked = time.monotonic()
            began = control.looked
        kind: Any = self._trainer if job.program is None else ProgramTrainer
        if kind is None:
            raise EngineError("this search trains with torch, which is not installed here")
        self._grace_s = max(GRACE_S, job.program.grace + 10.0 if job.program is not None else 0.0)
        trainer = kind(
            job,
            train.members,
            device=train.device,
            plan=train.plan,
            checkpoint_dir=Path(train.checkpoint_dir),
            resume=train.resume,
        )
        report = _Report(train, self._send)
        first: float | None = None
        for event in trainer.run(control):
            control.looked = time.monotonic()
            if first is None:
                first = control.looked
            if isinstance(event, Stopped):
                report.flush()
                self._send(m.Halted(train.tag, event.path is not None))
                return
            report.take(event)
        report.flush()
        end = time.monotonic()
        setup = (first if first is not None else end) - began
        self._send(m.Finished(train.tag, setup, end - began - setup, report.blocked_s))


class _Report:
    """Engine events to messages, evaluations gathered for a fifth of a second."""

    def __init__(self, train: m.Train, send: Any) -> None:
        self._tag, self._send = train.tag, send
        self._curves = [ThinCurve() for _ in train.members]
        self._began = [0.0] * len(train.members)
        self._points: dict[int, m.Point] = {}
        self._over: set[int] = set()
        self._sent = 0.0
        self.blocked_s = 0.0

    def take(self, event: EngineEvent) -> None:
        if isinstance(event, Evaluated):
            now = time.monotonic()
            for index, member in enumerate(event.members):
                self._began[member] = self._began[member] or now
                losses = event.train[index], event.validation[index], event.exact[index]
                self._curves[member].add(event.step, *losses)
                self._points[member] = m.Point(member, event.step, *losses)
            if now - self._sent >= PROGRESS_S:
                self.flush()
        elif isinstance(event, Ended):
            self._points.pop(event.member, None)
            self._over.add(event.member)
            began = self._began[event.member]
            wall = time.monotonic() - began if began else 0.0
            self._send(m.TrialEnded(self._tag, event, *self._curves[event.member].columns(), wall))
        elif isinstance(event, Began):
            self._began[event.member] = time.monotonic()
        elif isinstance(event, Checkpointed):
            self.blocked_s += event.blocked_s
            self.flush()
            self._send(m.Saved(self._tag, event.step, event.blocked_s))
        elif isinstance(event, Note):
            self._send(m.Noted(self._tag, event.text[:2000], event.level))
        elif isinstance(event, EnginePlanned):
            # A new plan begins every trial that is not over again at step 0.
            for member in set(range(len(self._curves))) - self._over:
                self._curves[member] = ThinCurve()
            self._points.clear()
            self._send(m.Planned(self._tag, event.plan))

    def flush(self) -> None:
        if self._points:
            self._send(m.Progress(self._tag, tuple(self._points.values())))
            self._points.clear()
            self._sent = time.monotonic()


def _apply(message: m.Stop | m.Drop, control: WatchedControl) -> None:
    if isinstance(message, m.Stop):
        control.stop = message.mode
    else:
        control.drop |= set(message.probes)


def _log(text: str) -> None:
    """To the worker's log; a disk without room must not end the work."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


LOST_CARD = (
    "uncorrectable ecc",
    "cudaerroreccuncorrectable",
    "gpu is lost",
    "fallen off the bus",
    "no cuda-capable device",
    "cudaerrornodevice",
)
"""What CUDA says of a card that has gone; all else (an assertion, a bad address, a card that others use) is
a job's."""


def _failure(tag: m.Tag, error: Exception) -> m.Failed:
    if isinstance(error, ProgramError):
        return m.Failed(tag, "failed", str(error)[:1000], error.log[-4000:])
    text = f"{type(error).__name__}: {error}"[:1000]
    names = {c.__name__ for c in type(error).__mro__}
    trace = io.StringIO()
    traceback.print_exception(error, file=trace)
    full = any(words in text.lower() for words in ("out of memory", "fit into the memory"))
    if isinstance(error, MemoryError) or "OutOfMemoryError" in names or full:
        return m.Failed(tag, "out_of_memory", text, trace.getvalue()[-4000:])
    broken = "AcceleratorError" in names or "CUDA error" in text or "cudaError" in text
    lost = broken and any(word in text.lower() for word in LOST_CARD)
    return m.Failed(tag, "device" if lost else "failed", text, trace.getvalue()[-4000:], broken)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m runners.pool.worker", description="A worker of a labtui supervisor."
    )
    parser.add_argument("--read", type=int, required=True, metavar="FD")
    parser.add_argument("--write", type=int, required=True, metavar="FD")
    parser.add_argument("--trainer", required=True, metavar="MODULE:CLASS")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = Worker(args.read, args.write, args.trainer)
    signal.signal(signal.SIGTERM, lambda *_: worker.leave())
    return worker.main()


if __name__ == "__main__":
    end_process(main())
