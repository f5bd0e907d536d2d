"""Labs, supervisors and their undisturbed twin, for the tests of the pool and of faults."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labtui.analysis.kappa import kappa
from runners.pool.interpreter import module_command
from runners.search import Evidence, replay
from runners.spec import Job, Study
from store.check import check
from store.locks import supervisor_alive
from store.paths import LabPaths
from store.read import Lab, open_lab
from tests.support import standin

ROOT = Path(__file__).resolve().parents[2]
TRAINER = "tests.support.standin:Trainer"


def study(
    lengths: int = 4,
    models: Sequence[str] = ("dense_ssm",),
    *,
    strategy: str = "log",
    name: str = "t",
    steps: int = 100,
    eps: Sequence[float] = (1e-4,),
    seeds: Sequence[int] = (1, 2),
    **search: Any,
) -> Study:
    """A small study: for each model and eps one cell of addition modulo 3 with lengths 2..lengths, acot."""
    return Study.model_validate(
        {
            "name": name,
            "sweep": tuple(
                {
                    "task": ({"kind": "modular_addition", "m": 3},),
                    "model": tuple({"kind": m, "hidden": 8} for m in models),
                    "format": ("acot",),
                    "L": (lengths,),
                    "grid": {"learning_rates": (0.01, 0.003), "seeds": tuple(seeds)},
                    "training": {"steps": steps, "eval_every": 10, "validation_size": 64},
                    "search": {"eps": e, "strategy": strategy, **search},
                }
                for e in eps
            ),
        }
    )


def truth(job: Job) -> tuple[int, int | None, str, dict[int, tuple[bool, Sequence[int]]]]:
    """(lo, hi, status, N to verdict and seeds) of an undisturbed sequential search by the stand-in."""
    evidence: list[Evidence] = []
    asked: dict[int, tuple[bool, Sequence[int]]] = {}
    while True:
        progress = replay(job, evidence)
        if progress.next is None:
            return progress.lo, progress.hi, progress.status, asked
        n, seeds = progress.next.n, progress.next.seeds or job.grid.seeds
        won = {s for lr in job.grid.learning_rates for s in seeds if standin.succeeds(job, n, lr, s)}
        evidence.append(Evidence(n, bool(won), len(seeds), len(won)))
        asked[n] = bool(won), seeds


def make(lab: Path, spec: Study, max_attempts: int | None = None) -> None:
    """A lab with one study in its queue."""
    from store.write import Writer, create_or_open, submit

    create_or_open(lab)
    submit(lab, spec)
    if max_attempts is not None:
        with Writer(lab) as writer, writer.transaction() as tx:
            tx.run("UPDATE job SET max_attempts = :m", m=max_attempts)


def wait(ready: Callable[..., Any], timeout_s: float = 60.0, what: str = "") -> Any:
    """Wait until ``ready()``; its value. Arguments of it have defaults, as a lambda's in a loop."""
    end = time.monotonic() + timeout_s
    while not (value := ready()):
        assert time.monotonic() < end, f"waited {timeout_s} s for {what or ready}"
        time.sleep(0.01)
    return value


def wait_code(worker: Any, timeout_s: float = 60.0) -> int:
    """The exit code of a worker that is about to end."""
    wait(lambda: worker.exit_code() is not None, timeout_s, "its exit code")
    return int(worker.exit_code())


def state_of(lab: Path) -> dict[str, int]:
    """Jobs by state."""
    with open_lab(lab) as opened:
        return opened.counts()


@dataclass
class Supervised:
    """A supervisor in the foreground, as a child of the test."""

    lab: Path
    process: subprocess.Popen[str]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def ended(self, timeout_s: float = 60.0) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(timeout=timeout_s)

    @property
    def log(self) -> str:
        return (LabPaths(self.lab).logs / "supervisor.log").read_text()

    def workers(self) -> list[int]:
        """Process ids of its workers, as in its roster."""
        try:
            return [
                int(row["pid"])
                for row in json.loads((LabPaths(self.lab).folder / "workers.json").read_text())
            ]
        except (OSError, ValueError):
            return []


def command(lab: Path, trainer: str = TRAINER) -> list[str]:
    """The command line of a supervisor in the foreground."""
    return [
        *module_command("runners", "--lab", str(lab), "--foreground"),
        "--trainer",
        trainer,
        "--backoff",
        "0.05",
    ]


def spawn(
    lab: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    trainer: str = TRAINER,
    until_empty: bool = True,
) -> Supervised:
    """Start a supervisor with stand-in workers."""
    process = subprocess.Popen(
        [*command(lab, trainer), *(["--until-empty"] if until_empty else []), "--slots", "2", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE if "--stderr" in options else subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "STANDIN_DIR": str(lab.parent), **(env or {})},
    )
    return Supervised(lab, process)


@contextlib.contextmanager
def supervisor(lab: Path, *options: str, **kwargs: Any) -> Iterator[Supervised]:
    """:func:`spawn`, ended in any case, its workers too."""
    running = spawn(lab, *options, **kwargs)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            try:
                running.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                running.kill()


def no_supervisor(lab: Path) -> bool:
    """Nobody holds the lock."""
    return not supervisor_alive(LabPaths(lab))


def verify(lab: Path) -> tuple[int, int]:
    """All is as in the undisturbed run: brackets, verdicts, trials, kappa;
    (probes, trials) that were checked.

    No trial is lost: every probe that counts has its whole grid, each trial with its true outcome.
    None is doubled: no two probes of a job that count have the same N,
    no probe has a (learning rate, seed) twice.
    """
    probes = trials = 0
    with open_lab(lab) as opened:
        for row in opened.jobs():
            job = Job.from_json(opened.job_spec(row.id))
            lo, hi, status, verdicts = truth(job)
            assert (row.state, row.lo, row.hi, row.status) == ("done", lo, hi, status), (row, lo, hi, status)
            done = [p for p in opened.probes(row.id) if p.state == "done"]
            counted = [p for p in done if not p.speculative]
            assert {p.n: p.verdict for p in counted} == {
                n: success for n, (success, _) in verdicts.items()
            }, row
            assert row.candidates == len(counted) == len(verdicts), row
            for probe in done:
                mine = opened.trials(probe_id=probe.id)
                _, seeds = verdicts.get(probe.n, (None, job.grid.seeds))
                grid = [(lr, seed) for lr in job.grid.learning_rates for seed in seeds]
                assert sorted((t.lr, t.seed) for t in mine) == sorted(grid), probe
                won = {t.seed for t in mine if t.outcome == "success"}
                for t in mine:
                    alone = job.search.strategy in ("adaptive", "scan")  # each seed counts by itself
                    _outcome(
                        job, t.n, t.lr, t.seed, t.outcome, t.seed in won if alone else bool(probe.verdict)
                    )
                trials += len(mine)
            assert len({p.n for p in done}) == len(done), "an N was trained to its end twice"
            probes += len(done)
        _kappas(opened)
    assert check(lab, replay=replay_stored) == []
    return probes, trials


def _kappas(opened: Lab) -> None:
    """kappa of every cell is that of the undisturbed searches, worked out here once more."""
    for cell in opened.cells():
        jobs = [
            Job.from_json(opened.job_spec(part.job_id))
            for part in (cell.joint, *cell.parts)
            if part.job_id is not None
        ]
        if jobs[0].search.strategy in ("adaptive", "scan"):
            continue  # made of estimates
        (_, joint, *_), *parts = [truth(job) for job in jobs]
        told = kappa(cell)
        if joint is not None and all(hi is not None for _, hi, *_ in parts):
            assert told.value == sum(hi or 0 for _, hi, *_ in parts) / joint, told
        else:
            assert told.value is None, told


def replay_stored(job_json: str, evidence: Sequence[Any]) -> tuple[int, int | None, str]:
    """What store.check asks of the search."""
    progress = replay(
        Job.from_json(job_json), [Evidence(*e) if isinstance(e, tuple) else e for e in evidence]
    )
    return progress.lo, progress.hi, progress.status


def _outcome(job: Job, n: int, lr: float, seed: int, outcome: str, verdict: bool) -> None:
    good = standin.succeeds(job, n, lr, seed)
    allowed = {"success", "superseded"} if good else ({"superseded"} if verdict else {"failure"})
    assert outcome in allowed, (n, lr, seed, outcome)
