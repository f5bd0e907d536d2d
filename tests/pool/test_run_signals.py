"""``labtui run`` under a scheduler: a signal ends it as an interrupt does, and nothing trains on unseen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runners.pool.identity import start_of
from store.paths import LabPaths
from store.read import open_lab
from tests.support import labs

SLOW = {"STANDIN_EVAL_S": "0.05", "STANDIN_EVALS": "40", "STANDIN_CHECKPOINT_EVERY": "2"}
MANY = "120"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    labs.make(tmp_path / "lab.db", labs.study(3))
    return tmp_path / "lab.db"


def run(lab: Path, *before: str, **env: str) -> subprocess.Popen[str]:
    """``labtui run`` with two slots and workers that take their time."""
    return subprocess.Popen(
        [*before, sys.executable, "-P", "-m", "labtui", "--lab", str(lab), "run", "--slots", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LABTUI_TRAINER": labs.TRAINER, "STANDIN_DIR": str(lab.parent), **SLOW, **env},
        preexec_fn=_heed,
    )


def _heed() -> None:
    """Take signals as a terminal's shell leaves them: nohup make test has its children ignore SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def training(lab: Path) -> Iterator[subprocess.Popen[str]]:
    """A run in the middle of its candidates, none of which ends within the second after this."""
    process = run(lab, STANDIN_EVALS=MANY)
    try:
        labs.wait(lambda: checkpoints(lab), what="a checkpoint")
        yield process
    finally:
        process.kill()
        process.wait()


def checkpoints(lab: Path) -> list[Path]:
    return [p for p in LabPaths(lab).checkpoints.glob("*/*") if p.name != "assignment.json"]


def workers(lab: Path) -> list[tuple[int, str]]:
    """(process id, start) of the workers in the roster."""
    return [(pid, start_of(pid) or "") for pid in labs.Supervised(lab, None).workers()]  # type: ignore[arg-type]


def nothing_trains(lab: Path, there_were: list[tuple[int, str]]) -> None:
    assert labs.no_supervisor(lab)
    assert [pid for pid, started in there_were if start_of(pid) == started and started] == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["SIGTERM", "SIGHUP"]
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_checkpoints_and_ends_all(
    lab: Path, training: subprocess.Popen[str], number: signal.Signals, code: int, times: int
) -> None:
    there_were = workers(lab)
    assert there_were
    for _ in range(times):
        training.send_signal(number)
    _, said = training.communicate(timeout=60)
    assert training.returncode == code, said
    assert said.endswith(
        f"ended by {number.name}; what was trained is kept, and labtui run goes on from there\n"
    )
    assert "Traceback" not in said
    nothing_trains(lab, there_were)
    with open_lab(lab) as opened:
        assert {job.state for job in opened.jobs()} <= {"queued", "done"}
    assert checkpoints(lab)
    with labs.supervisor(lab, env={"STANDIN_EVAL_S": "0", "STANDIN_EVALS": MANY}) as again:
        assert again.ended() == 0
    labs.verify(lab)


def test_the_death_of_the_command_ends_all(lab: Path, training: subprocess.Popen[str]) -> None:
    """SIGKILL, as a scheduler sends it when its patience is over, or a machine without memory."""
    there_were = workers(lab)
    training.kill()
    training.communicate()
    labs.wait(lambda: labs.no_supervisor(lab), what="the supervisor's end")
    nothing_trains(lab, there_were)


@pytest.mark.parametrize("moment", ["child", "lock", "worker"])
def test_a_signal_while_it_starts(lab: Path, moment: str) -> None:
    process = run(lab)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    ready = {
        "child": lambda: children.read_text().strip(),
        "lock": lambda: not labs.no_supervisor(lab),
        "worker": lambda: workers(lab),
    }
    labs.wait(ready[moment], what=moment)
    there_were = workers(lab)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "Traceback" not in said
    labs.wait(lambda: labs.no_supervisor(lab))
    nothing_trains(lab, there_were + workers(lab))


def test_nohup_keeps_it_alive(lab: Path) -> None:
    process = run(lab, "nohup", STANDIN_EVAL_S="0.01")
    labs.wait(lambda: checkpoints(lab), what="a checkpoint")
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0
    labs.verify(lab)


def test_a_run_beside_another_supervisor_leaves_it_alone(lab: Path) -> None:
    """It is refused in one sentence, and its end means nothing to the supervisor that was there."""
    with labs.supervisor(lab, env=SLOW) as running:
        labs.wait(lambda: checkpoints(lab), what="a checkpoint")
        second = run(lab)
        _, said = second.communicate(timeout=60)
        assert second.returncode == 2
        assert f"(process {running.process.pid} on " in said
        assert "follow it with labtui watch" in said
        assert running.process.poll() is None


def test_what_is_submitted_meanwhile_is_trained_too(lab: Path) -> None:
    """It ends when the queue is empty, not when what it began with is done."""
    process = run(lab, STANDIN_EVAL_S="0.01")
    try:
        labs.wait(lambda: labs.state_of(lab).get("running"), what="a search")
        labs.make(lab, labs.study(4, name="more"))
        _, said = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert set(labs.state_of(lab)) == {"done"}
    with open_lab(lab) as opened:
        assert said.count(": N* ") == len(opened.jobs())
    labs.verify(lab)


def test_two_runs_at_once_and_one_says_who_has_the_lab(lab: Path) -> None:
    pair = [run(lab, STANDIN_EVALS=MANY) for _ in range(2)]
    try:
        labs.wait(lambda: any(p.poll() is not None for p in pair), 40, "one of two to step back")
        loser, winner = sorted(pair, key=lambda p: p.poll() is None)
        assert loser.stderr is not None
        told = loser.stderr.read().splitlines()[-1]
        assert loser.returncode == 2, told
        assert "has" in told
        assert "already; follow it with labtui watch" in told
        assert winner.poll() is None
        winner.terminate()
        assert winner.wait(40) == 128 + signal.SIGTERM
    finally:
        for process in pair:
            process.kill()
            process.wait()
