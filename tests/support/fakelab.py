"""Labs to test with, without training.

``small_lab``: a believable one, written through the supervisor's own transactions.

``paper_lab``: any size up to the paper's 12,700 searches and 190,000 trials with curves, in bulk.
Both come out the same every time, but for the lab's random id.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

from runners.search import Evidence, replay
from runners.spec import Job, NamedJob, Study, parse
from store.rows import DeviceRow
from store.write import Identity, QueuedJob, Tx, Writer, create_or_open, probes, queue_spec
from store.write import jobs as job_rows
from store.write import lab as lab_rows

from .paperlab import BASE_TIME, TRACEBACK, fake_curve, paper_lab

__all__ = ["BASE_TIME", "LONE", "SPEC", "Clock", "fake_curve", "paper_lab", "small_lab", "specs", "threshold"]

SPEC = """
name = "who shares"
notes = "Three models, two formats, addition modulo 3."
tags = ["demo", "m=3"]

[models.dense_ssm]
kind = "dense_ssm"
hidden = 16
[models.lstm]
kind = "lstm"
hidden = 32
[models.transformer]
kind = "transformer"
layers = 2
d = 32
heads = 4

[[sweep]]
m = 3
model = ["dense_ssm", "lstm", "transformer"]
format = ["outcome", "acot"]
L = [5, 7]
min_length = 3
generalisation = true
grid = { learning_rates = [1e-2, 3e-3], seeds = [10, 20, 30] }
training = { steps = 1000, eval_every = 25, validation_size = 256 }
search = { eps = 1e-3 }
"""
LONE = """
name = "S5 by hand"
notes = "One search of its own."
[job]
task = { kind = "permutation_composition", k = 4 }
format = "cot"
lengths = { distribution = "uniform", length = 6 }
model = { kind = "lstm", hidden = 64 }
grid = { learning_rates = [1e-3], seeds = [10, 20] }
training = { steps = 500, eval_every = 50, validation_size = 300 }
"""


class Clock:
    """Seconds that pass as told."""

    def __init__(self, start: float = BASE_TIME) -> None:
        self.now = start

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


def threshold(job: Job) -> float:
    """The N* that a fake search finds: it grows with the length, shrinks with sharing,
    and some never succeed.
    """
    per_length = {"dense_ssm": 9.0, "lstm": 21.0, "transformer": 70.0}[job.model.kind]
    fixed = job.lengths.distribution == "fixed"
    base = per_length * 1.45**job.lengths.length
    if job.model.kind == "transformer" and job.format == "outcome":
        base *= 40
    if job.format == "acot":
        base *= 0.5
    shared = {"dense_ssm": 0.9, "lstm": 1.6, "transformer": 4.5}[job.model.kind]
    return max(1.0, base if fixed else base * shared)


def small_lab(path: str | os.PathLike[str], *, seed: int = 0, alive: bool = False) -> Path:
    """A lab of about 40 searches in every state: done, censored, running, paused, failed, cancelled, queued.

    Args:
        seed: another one gives another lab.
        alive: leave jobs running (their supervisor is no living process all the same).
    """
    lab = Path(path)
    create_or_open(lab)
    rng = random.Random(seed)
    clock = Clock()
    with Writer(lab, clock=clock) as writer:
        with writer.transaction() as tx:
            study = parse(SPEC)
            lone = parse(LONE)
            queue_spec(tx, study)
            queue_spec(tx, lone)
        with writer.transaction() as tx:
            lab_rows.claim(tx, Identity(4242, BASE_TIME, "bench", "boot", "0.1.0"))
            lab_rows.set_devices(
                tx,
                [
                    DeviceRow("cpu", "16 cores", 2, "active", ""),
                    DeviceRow("cuda:0", "NVIDIA H200", 4, "active", ""),
                ],
            )
            lab_rows.set_speed(tx, "dense_ssm 16", 7, "cpu", 41_000.0)
            lab_rows.set_speed(tx, "lstm 32", 7, "cpu", 9_500.0)
            jobs = job_rows.queued(tx, 1000)
        last = len(jobs) - 1
        for i, queued in enumerate(jobs):
            if i == last:
                break  # the lone one stays queued, with some of the study's
            if i % 9 == 8:
                continue
            plan = "done"
            if i in (last - 3, last - 5):
                plan = "running" if alive else "interrupted"
            elif i == last - 7:
                plan = "paused"
            elif i == 6:
                plan = "failed"
            elif i == 12:
                plan = "cancelled"
            _search(writer, clock, rng, queued, plan)
        with writer.transaction() as tx:
            lab_rows.heartbeat(tx, "running" if alive else "stopped")
    return lab


def _search(writer: Writer, clock: Clock, rng: random.Random, queued: QueuedJob, plan: str) -> None:
    job = Job.from_json(queued.spec_json)
    truth = threshold(job)
    with writer.transaction() as tx:
        attempt = job_rows.set_job(tx, queued.id, "running", device="cpu")
        lab_rows.add_provenance(
            tx,
            queued.id,
            {"version": "0.1.0", "torch": "2.13.0", "device": "cpu", "precision": job.training.precision},
        )
    most = 2 if plan != "done" else 100
    with writer.transaction() as tx:
        evidence: list[Evidence] = []
        while True:
            progress = replay(job, evidence)
            job_rows.set_bracket(
                tx,
                queued.id,
                lo=progress.lo,
                hi=progress.hi,
                status=progress.status,
                flags=progress.flags,
                best_loss=progress.best_loss,
            )
            if progress.next is None or len(evidence) >= most:
                break
            evidence.append(_probe(tx, clock, rng, queued.id, job, progress.next.n, attempt, truth))
    with writer.transaction() as tx:
        if plan == "done":
            job_rows.set_job(tx, queued.id, "done")
            return
        progress = replay(job, evidence)
        assert progress.next is not None
        begun = probes.begin_probe(
            tx, queued.id, progress.next.n, job.grid.members, device="cpu", slot="cpu.0", attempt=attempt
        )
        for k, trial in enumerate(begun.trial_ids):
            curve = fake_curve(rng, 400, job.training.eval_every, job.search.eps, False)
            loss = min(curve.validation)
            probes.trial_progress(
                tx,
                trial,
                steps=400,
                best_loss=loss,
                best_step=400,
                last_loss=curve.validation[-1] * (1 + k / 10),
                curve=curve,
            )
        probes.progress(tx, begun.probe_id, step=400, fraction=0.4, best_loss=0.1)
        if plan == "failed":
            for _ in range(queued.max_attempts):
                state = job_rows.requeue(tx, queued.id, "failed", TRACEBACK)
                if state == "queued":
                    job_rows.set_job(tx, queued.id, "running", device="cpu")
        elif plan == "interrupted":
            job_rows.requeue(tx, queued.id, "lost", "its supervisor is gone", counts=False)
        elif plan in ("paused", "cancelled"):
            job_rows.set_job(tx, queued.id, plan)  # type: ignore[arg-type]


def _probe(
    tx: Tx, clock: Clock, rng: random.Random, job_id: int, job: Job, n: int, attempt: int, truth: float
) -> Evidence:
    success = n >= truth
    begun = probes.begin_probe(tx, job_id, n, job.grid.members, device="cpu", slot="cpu.0", attempt=attempt)
    winner = rng.randrange(len(begun.trial_ids)) if success else -1
    steps = job.training.eval_every * rng.randint(8, 30) if success else job.training.steps
    order = (
        [winner, *(k for k in range(len(begun.trial_ids)) if k != winner)]
        if success
        else range(len(begun.trial_ids))
    )
    for k in order:
        outcome = (
            "success"
            if k == winner
            else "superseded"
            if success
            else "diverged"
            if rng.random() < 0.03
            else "failure"
        )
        curve = fake_curve(rng, steps, job.training.eval_every, job.search.eps, k == winner)
        best = min(range(len(curve.steps)), key=lambda i: curve.validation[i])
        tested = rng.random() if job.generalisation and n == job.n_max else None
        assert probes.end_trial(
            tx,
            begun.trial_ids[k],
            outcome,
            attempt=attempt,
            steps=steps,
            best_loss=curve.validation[best],
            best_step=curve.steps[best],
            last_loss=curve.validation[-1],
            wall_s=steps / 500,
            generalisation=tested,
            curve=curve,
        )
    seconds = steps * len(begun.trial_ids) / 500
    clock.now += seconds
    ended = probes.end_probe(tx, begun.probe_id, attempt=attempt, wall_s=seconds, device_s=seconds)
    assert ended is not None
    return Evidence(n, ended.success, ended.seeds, ended.successes, ended.best_loss, ended.diverged)


def specs() -> tuple[Study, NamedJob]:
    """The study and the job that ``small_lab`` holds."""
    study, lone = parse(SPEC), parse(LONE)
    assert isinstance(study, Study)
    assert isinstance(lone, NamedJob)
    return study, lone


if __name__ == "__main__":
    import sys

    made = paper_lab(sys.argv[2]) if sys.argv[1] == "paper" else small_lab(sys.argv[2])
    print(json.dumps({"lab": str(made), "bytes": made.stat().st_size}))
