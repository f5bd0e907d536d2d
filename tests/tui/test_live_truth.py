"""Nothing false in a whole run: each screen is read twice a second while a study runs, is paused, loses its
supervisor and has a search that fails, and what it says is held against the store.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runners.pool.options import TRAINER as REAL
from runners.spec import Study, load, with_keys
from store import commands
from tests.support import labs
from tests.tui.ptys import Terminal
from tests.tui.truth import Watch, Witness

SCREENS = "1122353738"
"""The keys in their order, each for two looks: twice the same is longer on one screen."""
STAY = 6
"""Looks without a supervisor: on the Queue, then on the job that was in training."""
LONGEST = 1200
"""Looks after which the run is given up."""


def watched(
    start: Callable[..., Terminal], lab: Path, trainer: str, env: dict[str, str], *settings: str
) -> Watch:
    """The whole run of ``quick``, with these settings, with all that happens to it."""
    spec = with_keys(load("quick"), settings)
    assert isinstance(spec, Study)
    labs.make(lab, spec, max_attempts=2)
    fails = spec.jobs()[7].hash
    env = {**env, "STANDIN_FAULTS": f'[{{"kind": "raise", "hash": "{fails}", "at": 1, "times": 99}}]'}
    witness = Witness(lab)
    witness.start()
    terminal = start(lab)
    terminal.sees("^p palette")
    watch = Watch(terminal, witness)
    running = labs.spawn(lab, until_empty=False, trainer=trainer, env=env)
    held: list[int] = []
    killed_at: int | None = None
    back = ended = False
    key = ""
    rest = 8
    try:
        while rest and watch.looks < LONGEST:
            if watch.looks % 2 == 0 and (killed_at is None or watch.looks >= killed_at + STAY):
                last, key = key, SCREENS[watch.looks // 2 % len(SCREENS)]
                if key != last:
                    terminal.type("1gmmC" if key == "7" and not watch.claims["compare"] else key)
            watch.look()
            moment = witness.moments[-1]
            counts = moment.counts()
            done = counts.get("done", 0)
            if not held and done >= 1 and counts.get("running"):
                held = [next(i for i, job in moment.jobs.items() if job.state == "running")]
                commands.pause(lab, held)
            if killed_at is None and held and done >= 3:
                terminal.type("1g")  # on a row that is in training
                key = ""
                watch.look()
                running.kill()
                killed_at = watch.looks
            if killed_at is not None and watch.looks == killed_at + STAY // 2:
                terminal.type("2")  # the job that was in training
            if killed_at is not None and not back and watch.looks >= killed_at + STAY:
                running = labs.spawn(lab, until_empty=False, trainer=trainer, env=env)
                commands.resume(lab, held)
                back = True
            ended = set(counts) <= {"done", "failed"}
            rest -= ended
        assert ended, f"the run did not end: {witness.moments[-1].counts()}"
        assert back
    finally:
        running.process.terminate()
        running.ended()
        witness.stop()
    return watch


ALL = ("header", "queue", "job", "kappa", "trials", "events", "footer", "compare")


def judge(watch: Watch, kinds: tuple[str, ...] = ALL) -> None:
    told = f"{len(watch.false)} of {watch.claims.total()} claims are false: "
    assert not watch.false, told + "\n\n".join(watch.false[:3])
    for kind in kinds:
        assert watch.claims[kind], f"{kind}: {watch.claims}"


def test_no_screen_says_anything_false_while_a_study_runs(
    terminal: Callable[..., Terminal], lab_path: Path
) -> None:
    """The stand-in trains: the run is short, its states are those of any run."""
    env = {"STANDIN_EVAL_S": "0.03", "STANDIN_EVALS": "8"}
    watch = watched(terminal, lab_path, labs.TRAINER, env, "search={eps = 0.01}", "joint.search={eps = 0.01}")
    judge(watch, ("header", "queue", "job"))  # how many screens a short run leaves time for is the machine's
    assert watch.witness.moments[-1].counts() == {"done": 7, "failed": 1}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_no_screen_says_anything_false_while_a_study_is_really_trained(
    terminal: Callable[..., Terminal], lab_path: Path
) -> None:
    judge(watched(terminal, lab_path, REAL, {}))
