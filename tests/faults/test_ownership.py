"""One supervisor per lab, whatever happens: together, stopped, replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from runners.pool import client as launcher
from runners.pool.identity import Roster, identify
from store.paths import LabPaths
from store.read import open_lab
from tests.support import labs
from tests.support.faults import long

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]


def test_two_supervisors_started_together(tmp_path: Path, counts: Counter[str]) -> None:
    lab = tmp_path / "lab.db"
    labs.make(lab, labs.study(2))
    command = [sys.executable, "-m", "runners", "--lab", str(lab), "--foreground", "--trainer", labs.TRAINER]
    env = {**os.environ, "STANDIN_DIR": str(tmp_path)}
    for _ in range(long(4, 50)):
        pair = [
            subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=labs.ROOT, env=env)
            for _ in range(2)
        ]
        try:
            labs.wait(partial(_one_ended, pair), 40, "one of two to step back")
            loser, winner = sorted(pair, key=lambda p: p.poll() is None)
            assert loser.returncode == 2
            assert winner.poll() is None
            assert loser.stderr is not None
            said = loser.stderr.read()
            assert f"process {winner.pid}" in said
            assert "Traceback" not in said
            assert launcher.status(lab).pid == winner.pid
            winner.terminate()
            winner.communicate(timeout=40)
            assert winner.returncode == 0
        finally:
            for process in pair:
                process.kill()
                process.wait()
        counts["pairs of supervisors"] += 1
    epochs = [e for e in _events(lab) if e.startswith("supervisor.")]
    assert epochs
    assert labs.spawn(lab).ended() == 0
    labs.verify(lab)


def _one_ended(pair: list[subprocess.Popen[str]]) -> bool:
    return any(p.poll() is not None for p in pair)


def _runs(lab: Path) -> bool:
    return labs.state_of(lab).get("running", 0) > 0


def _events(lab: Path) -> list[str]:
    with open_lab(lab) as opened:
        return [e.kind for e in opened.events(limit=10_000)]


def test_workers_stopped_past_the_lease(tmp_path: Path, counts: Counter[str]) -> None:
    lab = tmp_path / "lab.db"
    for turn in range(long(1, 10)):
        lab = tmp_path / str(turn) / "lab.db"
        lab.parent.mkdir()
        labs.make(lab, labs.study(3, eps=(1e-4 * (turn + 1),)), max_attempts=100)
        with labs.supervisor(lab, "--lease", "2.5", env={"STANDIN_EVAL_S": "0.03"}) as running:
            labs.wait(partial(_runs, lab), 30)
            for process in Roster(LabPaths(lab).folder / "workers.json").read():
                counts["workers stopped"] += process.kill(signal.SIGSTOP)
            assert running.ended() == 0
        labs.verify(lab)


def test_a_stopped_worker_of_a_dead_supervisor_is_killed_before_its_probe_goes_on(
    tmp_path: Path, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "lab.db"
    labs.make(lab, labs.study(3), max_attempts=100)
    running = labs.spawn(lab, env={"STANDIN_EVAL_S": "0.05"})
    labs.wait(lambda: labs.state_of(lab).get("running"), 30)
    stopped = [p for p in Roster(LabPaths(lab).folder / "workers.json").read() if p.kill(signal.SIGSTOP)]
    running.kill()
    assert stopped
    assert all(p.alive() for p in stopped)
    assert labs.spawn(lab, "--grace", "0.5").ended() == 0
    assert not any(p.alive() for p in stopped)
    labs.verify(lab)
    counts["workers stopped"] += len(stopped)


def test_a_reused_pid_is_never_signalled(tmp_path: Path) -> None:
    """The roster names this very process with another start time: it must survive."""
    lab = tmp_path / "lab.db"
    labs.make(lab, labs.study(2))
    me = identify(os.getpid())
    LabPaths(lab).make_folder()
    stranger = type(me)(me.pid, str(int(me.started) + 1), me.boot)
    Roster(LabPaths(lab).folder / "workers.json").write(
        [stranger, type(me)(me.pid, me.started, "another boot")]
    )
    assert labs.spawn(lab, "--grace", "0.1").ended() == 0
    labs.verify(lab)


def test_an_older_version_finishes_its_probes_and_hands_over(
    lab_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labs.make(lab_path, labs.study(4))
    env = {"STANDIN_EVAL_S": "0.03", "STANDIN_EVALS": "30"}
    old = labs.spawn(lab_path, env={**env, "LABTUI_VERSION": "0.0.1"}, until_empty=False)
    labs.wait(lambda: labs.state_of(lab_path).get("running"), 30)
    new = labs.spawn(lab_path, env={"STANDIN_EVALS": "30"})
    assert old.ended() == 0
    assert new.ended() == 0
    labs.verify(lab_path)
    with open_lab(lab_path) as opened:
        assert not any(p.state == "interrupted" for j in opened.jobs() for p in opened.probes(j.id))
