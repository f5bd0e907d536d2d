"""The same with real training: workers and supervisors killed,
verdicts and losses those of the undisturbed run.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from runners.pool.identity import Roster
from runners.pool.options import TRAINER
from runners.spec import Study
from store.check import check
from store.paths import LabPaths
from store.read import open_lab
from tests.support import labs
from tests.support.faults import long

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1800)]


def study() -> Study:
    return Study.model_validate(
        {
            "name": "real",
            "sweep": (
                {
                    "task": ({"kind": "modular_addition", "m": 3},),
                    "model": ({"kind": "dense_ssm", "hidden": 16},),
                    "format": ("acot",),
                    "L": (5,),
                    "min_length": 4,
                    "grid": {"learning_rates": (0.01, 0.003), "seeds": (10, 20)},
                    "training": {"steps": 1500, "eval_every": 25, "validation_size": 256},
                    "search": {"eps": 1e-3},
                },
            ),
        }
    )


def results(lab: Path) -> list[object]:
    """Everything that must be the same to the bit: brackets, verdicts,
    and each trial that its own end decided.
    """
    out: list[object] = []
    with open_lab(lab) as opened:
        for job in opened.jobs():
            out.append((job.hash, job.state, job.lo, job.hi, job.status, job.flags, job.candidates))
            for probe in opened.probes(job.id):
                if probe.state != "done" or probe.speculative:
                    continue
                out.append((job.hash, probe.n, probe.verdict))
                out += [
                    (job.hash, t.n, t.lr, t.seed, t.outcome, t.steps, t.best_loss, t.best_step)
                    for t in opened.trials(probe_id=probe.id)
                ]
    return sorted(out, key=repr)


def damage(lab: Path, rng: random.Random, counts: Counter[str]) -> None:
    """Cut or flip a bit of the newest checkpoint of each probe, now and then of the one before it too."""
    for folder in LabPaths(lab).checkpoints.iterdir():
        for file in sorted(folder.glob("checkpoint-*.labtui"), reverse=True)[: rng.choice([1, 1, 2])]:
            data = bytearray(file.read_bytes())
            if rng.random() < 0.5:
                del data[rng.randrange(len(data)) :]
            else:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            file.write_bytes(data)
            counts["real checkpoints broken"] += 1


@pytest.mark.parametrize("broken", [False, True], ids=["whole checkpoints", "broken checkpoints"])
def test_real_training_ends_the_same_after_kills(tmp_path: Path, counts: Counter[str], broken: bool) -> None:
    calm, storm = (tmp_path / name / "lab.db" for name in ("calm", "storm"))
    for lab in (calm, storm):
        lab.parent.mkdir()
        labs.make(lab, study(), max_attempts=1000)
    assert labs.spawn(calm, trainer=TRAINER).ended(600) == 0
    rng = random.Random(3)
    for turn in range(long(4, 12)):
        running = labs.spawn(storm, trainer=TRAINER)
        with open_lab(storm) as opened:
            last = opened.last_event_id()
        labs.wait(
            partial(_began_or_ended, storm, last, running),
            60,
            "training",
        )
        time.sleep(rng.uniform(0.0, 1.5))
        if turn % 2:
            victims = [p for p in Roster(LabPaths(storm).folder / "workers.json").read() if p.alive()]
            counts["real workers killed"] += sum(p.kill() for p in victims[:1])
            time.sleep(rng.uniform(0.0, 1.0))
        if running.process.poll() is None:
            running.kill()
            counts["real supervisors killed"] += 1
        if broken:
            workers = Roster(LabPaths(storm).folder / "workers.json")
            labs.wait(
                lambda workers=workers: not any(p.alive() for p in workers.read()),
                60,
                "the end of the workers",
            )
            damage(storm, rng, counts)
    assert labs.spawn(storm, trainer=TRAINER).ended(600) == 0
    assert results(storm) == results(calm)
    if broken:
        assert counts["real checkpoints broken"]
    for lab in (calm, storm):
        assert check(lab, replay=labs.replay_stored) == []


def _began_or_ended(lab: Path, last: int, running: labs.Supervised) -> bool:
    return _began(lab, last) or running.process.poll() is not None


def _began(lab: Path, last: int) -> bool:
    with open_lab(lab) as opened:
        return any(e.kind in ("probe.begun", "probe.resumed") for e in opened.events(after=last))
