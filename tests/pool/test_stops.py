"""Being stopped: pauses that a trainer hears and that it does not hear,
and what a restart must not change.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runners.pool.options import TRAINER, Options
from runners.pool.supervisor import COMMANDS_S
from runners.spec import Job, NamedJob
from store import commands
from store.check import check
from store.read import open_lab
from store.write import create_or_open, submit
from tests.support import labs

LONG = {"STANDIN_EVAL_S": "0.03", "STANDIN_EVALS": "30"}


def begun(log: Path) -> dict[tuple[str, int], list[tuple[float, int]]]:
    """For each (job, N) that began afresh: (learning rate, seed) in the order in which they start."""
    out: dict[tuple[str, int], list[tuple[float, int]]] = {}
    for line in log.read_text().splitlines():
        job, *members = line.split()
        fields = [m.split(":") for m in members]
        order = [(float(lr), int(seed)) for _, _, lr, seed in fields]
        assert out.setdefault((job, int(fields[0][1])), order) == order
    return out


def text_of(lab: Path) -> str:
    with open_lab(lab) as opened:
        return "\n".join(e.text for e in opened.events(limit=10_000))


def test_a_trainer_that_does_not_hear_a_pause_is_killed_and_goes_on_from_its_last_checkpoint(
    lab_path: Path, tmp_path: Path
) -> None:
    assert Options(lab_path).stop_s + COMMANDS_S < 5.0, (
        "a pause is over in five seconds, with half a second for the rest"
    )
    labs.make(lab_path, labs.study(2))
    deaf = json.dumps([{"kind": "hang", "at": 20, "times": 1}])
    with labs.supervisor(lab_path, "--slots", "1", env={**LONG, "STANDIN_FAULTS": deaf}) as running:
        labs.wait((tmp_path / "fault0").exists, 40, "a trainer that looks no more")
        (victim,) = running.workers()
        commands.pause(lab_path, [1])
        labs.wait(lambda: labs.state_of(lab_path).get("paused"), 20, "the pause")
        assert victim not in running.workers()
        assert "ended by signal 9 (stopped)" in text_of(lab_path)
        with open_lab(lab_path) as opened:
            assert opened.job(1).crashes == 0
        commands.resume(lab_path, [1])
        assert running.ended() == 0
    labs.verify(lab_path)
    lines = (tmp_path / "trained.log").read_text().splitlines()
    assert len(lines) == len(set(lines)), "a probe was begun afresh although its checkpoint was there"


def test_a_restart_does_not_change_who_begins(tmp_path: Path) -> None:
    """Those that won most often begin; who they are is read from the lab."""
    calm, restarted = (tmp_path / name / "lab.db" for name in ("calm", "restarted"))
    for lab in (calm, restarted):
        lab.parent.mkdir()
        labs.make(lab, labs.study(5, seeds=(1, 2, 3)))
    options = ("--slots", "1", "--no-speculation", "--no-packing")
    assert labs.spawn(calm, *options).ended() == 0
    for finished in (2, 5, 9, 14):
        running = labs.spawn(restarted, *options, env={"STANDIN_EVAL_S": "0.01"})
        labs.wait(lambda finished=finished: done(restarted) >= finished, 40)
        running.kill()
    assert labs.spawn(restarted, *options).ended() == 0
    expected = begun(calm.parent / "trained.log")
    assert begun(restarted.parent / "trained.log") == expected
    assert len(set(map(tuple, expected.values()))) > 1, "the order never changed: nothing was tested"
    for lab in (calm, restarted):
        labs.verify(lab)


def done(lab: Path) -> int:
    with open_lab(lab) as opened:
        return sum(p.state == "done" for row in opened.jobs() for p in opened.probes(row.id))


LARGE = Job.model_validate(
    {
        "task": {"kind": "modular_addition", "m": 5},
        "format": "outcome",
        "lengths": {"distribution": "fixed", "length": 20},
        "model": {"kind": "lstm", "hidden": 768},
        "grid": {"learning_rates": (1e-3,), "seeds": (10, 20)},
        "training": {"steps": 12, "eval_every": 4, "validation_size": 256},
        "search": {"eps": 1e-9, "strategy": "paper"},
    }
)
"""One candidate that fails: some seconds of steps and evaluations of the paper's LSTM."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_large_model_paused_again_and_again_ends_to_the_bit_as_undisturbed(tmp_path: Path) -> None:
    """Real training in a real worker; every pause is a checkpoint and none a kill."""
    calm, paused = (tmp_path / name / "lab.db" for name in ("calm", "paused"))
    for lab in (calm, paused):
        lab.parent.mkdir()
        create_or_open(lab)
        submit(lab, NamedJob(name="large", job=LARGE))
    assert labs.spawn(calm, "--slots", "1", trainer=TRAINER).ended(300) == 0
    with labs.supervisor(paused, "--slots", "1", trainer=TRAINER, until_empty=False):
        for turn in range(8):
            # At once (in the calibration, while the checkpoint is read), or after one more evaluation.
            seen = steps(paused)
            labs.wait(lambda turn=turn: hand_outs(paused) > turn, 120, "training")
            labs.wait(
                lambda turn=turn, seen=seen: turn % 2 == 0 or steps(paused) > seen or over(paused),
                120,
                "progress",
            )
            commands.pause(paused, [1])
            labs.wait(lambda: over(paused) or labs.state_of(paused).get("paused"), 60, "the pause")
            if over(paused):
                break
            commands.resume(paused, [1])
        labs.wait(lambda: over(paused), 300)
    assert turn >= 3
    assert "ended by signal" not in text_of(paused)
    assert trials(paused) == trials(calm)
    for lab in (calm, paused):
        assert check(lab, replay=labs.replay_stored) == []


def hand_outs(lab: Path) -> int:
    with open_lab(lab) as opened:
        return sum(e.kind in ("probe.begun", "probe.resumed") for e in opened.events(limit=10_000))


def over(lab: Path) -> bool:
    return bool(labs.state_of(lab).get("done"))


def steps(lab: Path) -> int:
    return sum(t[4] for t in trials(lab))


def trials(lab: Path) -> list[tuple[float, int, str, int, int, float | None]]:
    with open_lab(lab) as opened:
        return [(t.lr, t.seed, t.outcome, t.best_step, t.steps, t.best_loss) for t in opened.trials(job_id=1)]
