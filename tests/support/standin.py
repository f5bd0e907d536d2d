"""A trainer that trains nothing and imports no torch:
the constructor and ``run`` of :class:`runners.engine.trainer.Trainer`.

Its losses are a function of (shape, eps, N, learning rate, seed) alone, so verdicts and brackets are the same
in every run that the pool does right. Success is not monotone in N: near the threshold one N in four goes the
other way.

Environment:
    STANDIN_EVAL_S: seconds per evaluation (default 0.002).
    STANDIN_EVALS: evaluations of a trial (default 8).
    STANDIN_CHECKPOINT_EVERY: evaluations between checkpoints (default 3).
    STANDIN_AT_ONCE: members at once of its plan (default 1: packing never pays).
    STANDIN_IMPORT_S: seconds that the import takes (default 0), like torch's.
    STANDIN_FAULTS: JSON list of {"kind": raise|oom|device|exit|hang|noise, "n": N or null, "hash":
    job hash or null,
        "device": id or null, "at": evaluation, "times": how often in all}.
    STANDIN_DIR: a folder where the faults are counted across processes and, as ``trained.log``,
    every trial begun afresh.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from runners.engine.types import (
    Checkpointed,
    Control,
    Ended,
    EngineEvent,
    Evaluated,
    Member,
    Note,
    Plan,
    Planned,
    Stopped,
    shape_key,
)
from runners.spec import Job
from runners.verdict import Outcome

time.sleep(float(os.environ.get("STANDIN_IMPORT_S", "0")))


DRAW = 5
"""Which truth of many: one in which the tests' studies have a search of every course that they ask for."""


def fraction(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def succeeds(job: Job, n: int, lr: float, seed: int, eps: float | None = None) -> bool:
    """The truth about one trial; ``eps`` is the member's,
    in a pack not that of the job that gives the shape.
    """
    name = f"{DRAW} {shape_key(job)} {job.search.eps if eps is None else eps}"
    threshold = math.exp(fraction("threshold", name) * math.log(job.training_space + 1)) * (
        1 + fraction(name, lr, seed)
    )
    above = n >= threshold
    near = threshold / 2 < n < threshold * 2
    return above != (near and fraction("flip", name, n, lr, seed) < 0.25)


class Trainer:
    """See the module."""

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
        self.job, self.members, self.device = job, tuple(members), device
        at_once = int(os.environ.get("STANDIN_AT_ONCE", "1"))
        self.plan = plan or Plan(device, members_at_once=at_once, note="stand-in")
        self.dir = checkpoint_dir
        self.resume = resume
        self.evals = int(os.environ.get("STANDIN_EVALS", "8"))
        self.eval_s = float(os.environ.get("STANDIN_EVAL_S", "0.002"))
        self.every = int(os.environ.get("STANDIN_CHECKPOINT_EVERY", "3"))

    @property
    def file(self) -> Path:
        assert self.dir is not None
        return self.dir / "standin.ckpt"

    def run(self, control: Control) -> Iterator[EngineEvent]:
        done: dict[int, Ended] = {}
        start = 0
        if self.resume:
            state = self._load()
            if state is None:
                yield Note("the checkpoint is missing or damaged: the trials begin again", "warning")
            else:
                start, done = state
        yield Planned(self.plan)
        if start == 0:
            self._log(
                f"{self.job.hash} " + " ".join(f"{m.probe}:{m.n}:{m.lr}:{m.seed}" for m in self.members)
            )
        yield from done.values()
        for k in range(start, self.evals):
            if control.stop:
                yield self._stop(control, k, done)
                return
            for ended in self._end(
                lambda i, _: self.members[i].probe in control.drop, done, k, Outcome.SUPERSEDED
            ):
                yield ended
            alive = [i for i in range(len(self.members)) if i not in done]
            if not alive:
                break
            time.sleep(self.eval_s)
            self._fault(k, control)
            step = max(1, self.job.training.steps * (k + 1) // self.evals)
            losses = [self._loss(i, k) for i in alive]
            yield Evaluated(
                step, tuple(alive), tuple(v * 0.9 for v in losses), tuple(losses), (True,) * len(alive)
            )
            for ended in self._end(
                lambda i, k: self._loss(i, k) < self.members[i].eps, done, k, Outcome.SUCCESS
            ):
                yield ended
                won = self.members[ended.member]
                if won.stop != "never":
                    yield from self._end(
                        lambda i, _, won=won: (
                            self.members[i].probe == won.probe
                            and (won.stop == "probe" or self.members[i].seed == won.seed)
                        ),
                        done,
                        k,
                        Outcome.SUPERSEDED,
                    )
            if (k + 1) % self.every == 0:
                began = time.monotonic()
                try:
                    yield Checkpointed(self._save(k + 1, done), step, time.monotonic() - began)
                except OSError as error:
                    yield Note(f"the checkpoint could not be written: {error}", "warning")
        yield from self._end(lambda *_: True, done, self.evals - 1, Outcome.FAILURE)

    def _loss(self, i: int, k: int) -> float:
        member = self.members[i]
        name = f"{shape_key(self.job)} {member.eps}"
        if not succeeds(self.job, member.n, member.lr, member.seed, member.eps):
            return 1.0 + fraction(name, member.n, member.lr, member.seed, k)
        at = 1 + int(fraction("when", name, member.n, member.lr, member.seed) * (self.evals - 1))
        return member.eps * (0.5 if k >= at else 2.0 + at - k)

    def _end(self, which: Any, done: dict[int, Ended], k: int, outcome: Outcome) -> Iterator[Ended]:
        for i in range(len(self.members)):
            if i not in done and which(i, k):
                losses = [self._loss(i, j) for j in range(k + 1)]
                best = min(range(len(losses)), key=losses.__getitem__)
                steps = max(1, self.job.training.steps * (k + 1) // self.evals)
                done[i] = Ended(i, outcome, steps, losses[best], best, losses[-1], None)
                yield done[i]

    def _stop(self, control: Control, k: int, done: dict[int, Ended]) -> Stopped:
        try:
            return Stopped(
                self._save(k, done) if control.stop == "checkpoint" and self.dir is not None else None
            )
        except OSError:
            return Stopped(None)

    def _save(self, k: int, done: dict[int, Ended]) -> str:
        body = json.dumps(
            [
                k,
                [
                    [e.member, e.outcome.value, e.steps, e.best_loss, e.best_step, e.last_loss]
                    for e in done.values()
                ],
            ]
        )
        assert self.dir is not None
        self.dir.mkdir(exist_ok=True)
        aside = self.file.with_suffix(".tmp")
        try:
            aside.write_text(f"{zlib.crc32(body.encode())} {body}")
            aside.replace(self.file)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        return str(self.file)

    def _load(self) -> tuple[int, dict[int, Ended]] | None:
        try:
            crc, body = self.file.read_text().split(" ", 1)
            if int(crc) != zlib.crc32(body.encode()):
                return None
            k, rows = json.loads(body)
            return k, {r[0]: Ended(r[0], Outcome(r[1]), *r[2:]) for r in rows}
        except (OSError, ValueError):
            return None

    def _fault(self, k: int, control: Control) -> None:
        for number, fault in enumerate(json.loads(os.environ.get("STANDIN_FAULTS", "[]"))):
            wanted = fault.get("n") in (None, *(m.n for m in self.members)) and fault.get("hash") in (
                None,
                self.job.hash,
            )
            wanted = wanted and fault.get("device") in (None, self.device)
            if wanted and fault.get("at", 0) == k and self._count(number) < fault.get("times", 1):
                self._count(number, add=True)
                _break(fault["kind"], control)

    def _count(self, number: int, add: bool = False) -> int:
        file = Path(os.environ["STANDIN_DIR"]) / f"fault{number}"
        if add:
            with file.open("a") as f:
                f.write(".")
        return file.stat().st_size if file.exists() else 0

    def _log(self, line: str) -> None:
        if folder := os.environ.get("STANDIN_DIR"):
            with (Path(folder) / "trained.log").open("a") as f:
                f.write(line + "\n")


def _break(kind: str, control: Control) -> None:
    if kind == "raise":
        raise ValueError("the stand-in was told to fail [red]markup[/] \x1b[31m")
    if kind == "oom":
        raise MemoryError("the stand-in was told to run out of memory")
    if kind == "device":
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
    if kind == "assert":
        raise RuntimeError("CUDA error: device-side assert triggered")
    if kind == "refused":  # as the engine ends after a refused capture: unasked, with nothing kept
        control.stop = "discard"
    if kind == "exit":
        os._exit(9)
    if kind == "noise":
        print("noise \x1b]0;title\x07 on stdout", flush=True)
        print("noise on stderr", file=sys.stderr, flush=True)
    while kind == "hang":
        time.sleep(1)
