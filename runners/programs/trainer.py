"""Run the trials of a program one after another, each under its guard; told as the engine tells its own.

The constructor and ``run`` are those of :class:`runners.engine.trainer.Trainer`. No torch.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from runners import machine
from runners.engine.trials import Point, Trials, evaluated
from runners.engine.types import (
    Began,
    Checkpointed,
    Control,
    EngineError,
    EngineEvent,
    Member,
    Note,
    Plan,
    Planned,
    Stopped,
)
from runners.programs import consent
from runners.programs.guard import descendants
from runners.spec import Job
from runners.spec.program import Value, fill
from runners.verdict import Outcome

GUARD = Path(__file__).with_name("guard.py")
STATE = "trials.json"
POLL_S = 0.1
SAMPLE_S = 1.0
"""Between looks at what a program takes of its GPU."""
LOG_LINES = 30
LEAST_DISK = 64 << 20
"""A program that leaves less room than this beside its checkpoints is ended."""


class ProgramError(EngineError):
    """A trial has no verdict: its program failed. ``log``: the end of what it printed."""

    def __init__(self, text: str, log: str = "") -> None:
        super().__init__(text)
        self.log = log


@dataclass
class _End:
    """How a guarded program ended."""

    why: str
    code: int | None
    killed: bool
    count: int
    bad: str
    log: str
    peak: float = math.nan
    """Most bytes of memory."""


class ProgramTrainer:
    """Trains members by running their program.

    Args:
        job: the search, whose model is a program.
        members: trials of one candidate.
        device: ``cpu`` or ``cuda:0``: the only one that the program sees.
        plan: has no meaning here.
        checkpoint_dir: a folder of this candidate alone: ended trials are remembered there, and each trial
            has its own folder in it.
        resume: go on from what lies there.
    """

    def __init__(
        self,
        job: Job,
        members: Sequence[Member],
        *,
        device: str,
        plan: Plan | None = None,
        checkpoint_dir: Path | None = None,
        resume: bool = False,
    ) -> None:
        if job.program is None:
            raise ValueError("the job has no program")
        if checkpoint_dir is None:
            raise ValueError("a program needs a folder for what it keeps; expected checkpoint_dir")
        self.job, self.program, self.device = job, job.program, device
        self.trials = Trials(members, job.budget or 1 << 40)
        self.folder = Path(os.path.abspath(checkpoint_dir))  # noqa: PTH100 - it runs in another folder
        self._resume = resume
        self._usage: tuple[float, ...] = ()
        """Of the trial that runs, or ran last."""

    def run(self, control: Control) -> Iterator[EngineEvent]:
        """Run until every trial has ended or ``control`` says stop.

        Raises:
            ProgramError: it may not run here, or a trial ended without a verdict.
        """
        self._check()
        if self._resume and (problem := self._load()):
            yield Note(problem, "warning")
        yield Planned(Plan(self.device, members_at_once=1, note="program"))
        yield from self.trials.history()
        yield from (self.trials.ended(i) for i, t in enumerate(self.trials) if not t.live)
        for i in range(len(self.trials.all)):
            yield from self._dropped(control)
            if not self.trials[i].live:
                continue
            if control.stop:
                yield Stopped(self._kept())
                return
            yield from self._trial(i, control)
            if self.trials[i].live:
                stop: str = control.stop
                yield Stopped(self._kept() if stop == "checkpoint" else None)
                return
        self._save()

    def _check(self) -> None:
        """Only what this user on this machine has allowed, and unchanged since.

        Raises:
            ProgramError: it is not.
        """
        if not consent.allowed(self.job):
            raise ProgramError("this program was never allowed on this machine; see: labtui allow JOB")
        if changed := consent.changed_files(self.job):
            raise ProgramError(
                f"{changed[0]} in {self.program.cwd} is not the file that was allowed; submit the spec again"
            )

    def _dropped(self, control: Control) -> Iterator[EngineEvent]:
        if control.drop:
            yield from (self.trials.ended(i) for i in self.trials.drop(sorted(control.drop)))

    # One trial

    def _trial(self, i: int, control: Control) -> Iterator[EngineEvent]:
        """Run one trial; it lives on where a stop ended it.

        Raises:
            ProgramError: no verdict.
        """
        trial = self.trials[i]
        place = self.folder / f"trial-{i}"
        if not self.program.resume:
            shutil.rmtree(place, ignore_errors=True)
            self.trials.all[i] = trial = type(trial)(trial.member, trial.budget)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield Began(i)
        guard = _Guarded(self._asked(i, place))
        try:
            yield from self._watch(i, guard, control)
        finally:
            guard.close()
            with contextlib.suppress(OSError):
                (self.folder / f"report-{i}").unlink(missing_ok=True)
        if trial.live and not control.stop and guard.end is not None:
            yield from self._end(i, self._outcome(i, guard.end))
        if not trial.live:
            shutil.rmtree(place, ignore_errors=True)
            self._save()
            yield Checkpointed(str(self.folder), sum(not t.live for t in self.trials), 0.0)
        elif guard.end is not None and guard.end.killed:
            after = f"{self.program.grace:g} s after SIGTERM"
            yield Note(f"the program had not ended {after} and was killed", "warning")

    def _watch(self, i: int, guard: _Guarded, control: Control) -> Iterator[EngineEvent]:
        """Follow one program to its end; one that has succeeded, or that nobody wants, is killed."""
        trial, asked, won = self.trials[i], "", False
        share = _CardShare(self.device, guard.pid)
        while guard.end is None:
            for step, value in guard.points(POLL_S):
                if won:
                    break
                loss = self.program.loss(value)
                trial.record(Point(step, math.nan, loss, True))
                yield evaluated(step, [(i, trial.curve[-1])])
                won = loss < trial.member.eps and not self.program.read
            share.look()
            if trial.live and not won:
                yield from self._dropped(control)
            stop: str = control.stop
            word = "kill" if won or not trial.live or stop == "discard" else "stop" if stop else ""
            if word not in ("", asked):
                guard.say(word)
                asked = word
        self._usage = (guard.end.peak, share.memory, share.use)
        if won:
            yield from self._end(i, Outcome.SUCCESS)

    def _end(self, i: int, outcome: Outcome) -> Iterator[EngineEvent]:
        for k in self.trials.end(i, outcome):
            ended = self.trials.ended(k)
            yield replace(ended, usage=self._usage) if k == i else ended

    def _outcome(self, i: int, end: _End) -> Outcome:
        """The verdict on a trial whose program ended by itself.

        Raises:
            ProgramError: it says nothing of N.
        """
        trial = self.trials[i]
        if end.why != "exit":
            told = f"it took more than {self.program.timeout:g} s" if end.why == "timeout" else end.why
            raise ProgramError(f"{self._name(i)}: {told}", end.log)
        if end.code != 0:
            how = (
                f"by signal {-end.code}" if end.code is not None and end.code < 0 else f"with code {end.code}"
            )
            raise ProgramError(f"{self._name(i)}: the program ended {how}", end.log)
        if not end.count:
            wanted = (
                f"expected {self.program.read!r} in its output"
                if self.program.read
                else (f'expected {{"{self.program.metric}": 0.5}} in the file that LABTUI_REPORT names')
            )
            bad = f"; {end.bad!r:.80} is none" if end.bad else ""
            raise ProgramError(f"{self._name(i)}: the program reported nothing{bad}; {wanted}", end.log)
        if self.program.read and trial.last_loss < trial.member.eps:
            return Outcome.SUCCESS
        return Outcome.FAILURE if math.isfinite(trial.best_loss) else Outcome.DIVERGED

    def _name(self, i: int) -> str:
        member = self.trials[i].member
        values = "".join(f" {k}={v}" for k, v in self.job.grid.setting(member.lr).items())
        return f"N = {member.n}, seed {member.seed}{values}"

    def _values(self, member: Member) -> dict[str, Value]:
        axes: dict[str, Value] = dict(getattr(self.job.task, "values", {}))
        own: dict[str, Value] = {"n": member.n, "seed": member.seed, "python": sys.executable}
        return own | axes | self.job.grid.setting(member.lr)

    def _asked(self, i: int, place: Path) -> dict[str, Any]:
        """What the guard is told."""
        program, values = self.program, self._values(self.trials[i].member)
        report = str(self.folder / f"report-{i}")
        with contextlib.suppress(OSError):
            Path(report).unlink(missing_ok=True)
        env = environment(self.device) | {k: fill(v, values) for k, v in program.env.items()}
        env |= {
            "LABTUI_REPORT": report,
            "LABTUI_CHECKPOINT": str(place),
            "LABTUI_GRACE": f"{program.grace:g}",
        }
        if program.function:
            named = json.dumps({k: v for k, v in values.items() if k != "python"})
            command = [sys.executable, "-P", "-m", "runners.programs.call", program.function, named]
            env |= {"LABTUI_METRIC": program.metric, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        else:
            command = [fill(word, values) for word in program.command]
            if command[0] in ("python", "python3") and shutil.which(command[0]) is None:
                command[0] = sys.executable
        return {
            "command": command,
            "env": env,
            "cwd": program.cwd,
            "report": report,
            "folder": str(self.folder),
            "metric": program.metric,
            "goal": program.goal,
            "read": program.read,
            "timeout": program.timeout,
            "grace": program.grace,
            "least_disk": LEAST_DISK,
        }

    # What outlives this process

    def _kept(self) -> str | None:
        self._save()
        return str(self.folder)

    def _save(self) -> None:
        """Which trials have ended, and what the others have done; a disk without room costs time alone."""
        body = json.dumps({"members": self._members(), "trials": self.trials.dump()})
        aside = self.folder / f"{STATE}.tmp"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            aside.unlink(missing_ok=True)
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as f:
                f.write(f"{zlib.crc32(body.encode())} {body}")
            aside.replace(self.folder / STATE)
        except OSError as error:
            sys.stderr.write(f"programs: {STATE} cannot be written: {error}\n")

    def _load(self) -> str:
        """Take over what :meth:`_save` kept; why not, in words."""
        try:
            crc, body = (self.folder / STATE).read_text("utf-8").split(" ", 1)
            data = json.loads(body)
            if int(crc) != zlib.crc32(body.encode()) or data["members"] != self._members():
                raise ValueError("it is damaged, or of other trials")
            self.trials.load(data["trials"])
            if not self.program.resume:
                self.trials.restart()
        except FileNotFoundError:
            return ""  # nothing had ended: each trial has its own folder to go on from
        except (OSError, ValueError, LookupError, TypeError) as error:
            return f"what was kept cannot be used ({error}): the trials begin again"
        return ""

    def _members(self) -> list[list[Any]]:
        return [[m.probe, m.n, m.lr, m.seed, m.eps] for m in (t.member for t in self.trials)]


class _CardShare:
    """What a program takes of its GPU, sampled."""

    def __init__(self, device: str, root: int) -> None:
        """``root``: its guard's process id."""
        kind, _, index = device.partition(":")
        self._index = int(index or 0) if kind == "cuda" else None
        self._root, self._looked = root, 0.0
        self._uses: list[float] = []
        self.memory = math.nan
        """The most bytes."""

    @property
    def use(self) -> float:
        """The mean, 0..1."""
        return sum(self._uses) / len(self._uses) if self._uses else math.nan

    def look(self) -> None:
        """Sample the card, where it is time."""
        now = time.monotonic()
        if self._index is None or now - self._looked < SAMPLE_S:
            return
        self._looked = now
        memory, use = machine.card_share(self._index, set(descendants(self._root)))
        if not math.isnan(memory):
            self.memory = memory if math.isnan(self.memory) else max(self.memory, memory)
        if not math.isnan(use):
            self._uses.append(use)


class _Guarded:
    """A guard process seen from here."""

    def __init__(self, asked: dict[str, Any]) -> None:
        adopt_orphans()
        self._before = _children()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        self.pid = self._process.pid
        self._rest = b""
        self.end: _End | None = None
        self._write(json.dumps(asked).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def say(self, word: str) -> None:
        """Tell the guard ``stop`` or ``kill``."""
        self._write(word.encode() + b"\n")

    def points(self, wait_s: float) -> list[tuple[int, float]]:
        """The (step, metric) that came in so long; sets ``end`` where the program has ended."""
        ready, _, _ = select.select([self._out], [], [], wait_s)
        if not ready:
            return []
        chunk = os.read(self._out, 1 << 18)
        if not chunk:
            self.end = self.end or _End("its guard was killed", None, False, 0, "", "")
            return []
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        found: list[tuple[int, float]] = []
        for line in lines:
            event = json.loads(line)
            if "points" in event:
                found += [(int(step), float(value)) for step, value in event["points"]]
            else:
                log = "\n".join(event["log"].strip().splitlines()[-LOG_LINES:])
                why = "exit" if event["end"] == "exit" else str(event["end"])
                self.end = _End(
                    why, event["code"], event["killed"], event["count"], event["bad"], log, event["peak"]
                )
        return found

    def close(self) -> None:
        """End the guard, and with it all that the program started."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it has gone already
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._process.returncode != 0:
            self._end_orphans()

    def _end_orphans(self) -> None:
        """The guard was killed: what its program started is ours now, and comes to us as its parents end."""
        quiet = 0
        for _ in range(200):
            left = _children() - self._before
            quiet = 0 if left else quiet + 1
            if quiet > 3:
                return
            for process in left:
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL)
            for process in left:
                with contextlib.suppress(OSError):
                    os.waitpid(process, os.WNOHANG)
            time.sleep(0.01)


@cache
def adopt_orphans() -> None:
    """What a guard that was killed has started becomes a child of this process, not of init (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def _children() -> set[int]:
    """Process ids of what this process and its children have started."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return {child.pid for child in psutil.Process().children(recursive=True)}
    return set()


def environment(device: str) -> dict[str, str]:
    """This process's environment for a program: its device alone, and none of labtui's own paths."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("LABTUI_")}
    own = str(Path(__file__).resolve().parents[2])
    if path := [p for p in env.pop("PYTHONPATH", "").split(os.pathsep) if p and p != own]:
        env["PYTHONPATH"] = os.pathsep.join(path)
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return env | {"CUDA_VISIBLE_DEVICES": ""}
    seen = [x.strip() for x in env.get("CUDA_VISIBLE_DEVICES", "").split(",") if x.strip()]
    place = int(index or 0)
    return env | {"CUDA_VISIBLE_DEVICES": seen[place] if place < len(seen) else str(place)}
