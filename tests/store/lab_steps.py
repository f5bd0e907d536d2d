"""Steps that many tests take."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from runners.search import Evidence, replay
from runners.spec import Job, NamedJob, Study, parse
from store.check import check
from store.rows import Curve
from store.write import Begun, Identity, Tx, Verdict, Writer, jobs, probes

STUDY = """
name = "tiny"
[models.ssm]
kind = "dense_ssm"
hidden = 8
[[sweep]]
m = 3
model = "ssm"
format = "acot"
L = [3, 4]
grid = { learning_rates = [1e-2, 1e-3], seeds = [1, 2] }
training = { steps = 100, eval_every = 10, validation_size = 40 }
search = { eps = 1e-2 }
"""
LONE = """
name = "alone"
priority = 3
[job]
task = { kind = "modular_addition", m = 5 }
format = "outcome"
lengths = { distribution = "uniform", length = 5 }
model = { kind = "lstm", hidden = 8 }
training = { steps = 100, eval_every = 10, validation_size = 40 }
"""
IDENTITY = Identity(pid=1, process_started=2.0, host="bench", boot_id="boot", version="0.1.0")
MEMBERS = ((1e-2, 1), (1e-2, 2), (1e-3, 1), (1e-3, 2))


def study() -> Study:
    found = parse(STUDY)
    assert isinstance(found, Study)
    return found


def lone() -> NamedJob:
    found = parse(LONE)
    assert isinstance(found, NamedJob)
    return found


def begin(tx: Tx, job_id: int, n: int, attempt: int = 1, **more: Any) -> Begun:
    return probes.begin_probe(tx, job_id, n, MEMBERS, device="cpu", slot="cpu.0", attempt=attempt, **more)


def end_trial(tx: Tx, trial_id: int, outcome: str, attempt: int = 1, **more: Any) -> bool:
    loss = 0.001 if outcome == "success" else 0.5
    curve = Curve((10, 20), (0.9, 0.8), (0.7, loss))
    values: dict[str, Any] = {
        "steps": 20,
        "best_loss": loss,
        "best_step": 20,
        "last_loss": loss,
        "curve": curve,
    }
    return probes.end_trial(tx, trial_id, outcome, attempt=attempt, **(values | more))


def finish(tx: Tx, begun: Begun, success: bool, attempt: int = 1, **more: Any) -> Verdict:
    for k, trial in enumerate(begun.trial_ids):
        end_trial(tx, trial, ("success" if k == 0 else "superseded") if success else "failure", attempt)
    found = probes.end_probe(tx, begun.probe_id, attempt=attempt, wall_s=1.0, **more)
    assert found is not None
    return found


def start(writer: Writer, job_id: int = 1) -> int:
    with writer.transaction() as tx:
        return jobs.set_job(tx, job_id, "running", device="cpu")


def sql(path: Path, statement: str, *values: object) -> list[Any]:
    """Straight into the file, past everything."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


def by_search(spec: str, evidence: Any) -> tuple[int, int | None, str]:
    progress = replay(Job.from_json(spec), [Evidence(*e) for e in evidence])
    return progress.lo, progress.hi, progress.status


def assert_sound(path: Path, *, brackets: bool = False) -> None:
    assert check(path, replay=by_search if brackets else None) == []
