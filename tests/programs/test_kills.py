"""The short form of the kill matrix with programs as trials: killed at random, none lost, none doubled."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from runners.spec import NamedJob
from store.check import check
from store.read import open_lab
from tests.programs.conftest import TAIL, Made
from tests.support import labs
from tests.support.faults import long

KILLS = int(os.environ.get("LABTUI_KILLS") or long(5, 40))
SEED = int(os.environ.get("LABTUI_KILL_SEED", "1"))
SCRIPT = """
exec 9>>"lock-$1-$2"
flock -n 9 || touch overlap
step=$(cat "$LABTUI_CHECKPOINT/step" 2>/dev/null || echo 0)
echo "$1 $2 from $step" >> log
while [ $step -lt 6 ]; do
  sleep 0.05
  step=$((step + 1))
  echo $step > "$LABTUI_CHECKPOINT/new"
  mv "$LABTUI_CHECKPOINT/new" "$LABTUI_CHECKPOINT/step"
  echo "{\\"step\\": $step, \\"accuracy\\": 0.5}" >> "$LABTUI_REPORT"
done
if [ "$1" -ge 20 ]; then echo '{"step": 7, "accuracy": 0.95}' >> "$LABTUI_REPORT"; fi
"""


def begun(work: Path) -> int:
    """Bytes of the log of trials that have begun."""
    return (work / "log").stat().st_size if (work / "log").exists() else 0


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(900)
def test_killed_at_random_none_is_lost_and_none_doubled(lab_path: Path, made: Made, tmp_path: Path) -> None:
    tail = TAIL.replace("0.1, 0.2", "0.1").replace("1000", "64")
    job = made(SCRIPT, "resume = true", tail=tail)
    labs.make(lab_path, NamedJob(job=job), max_attempts=1000)  # type: ignore[arg-type]
    rng, work = random.Random(SEED), tmp_path / "work"
    kills = 0
    running = labs.spawn(lab_path, "--backoff", "0.01")
    try:
        while True:
            before = begun(work)
            if kills < KILLS:
                process = running.process
                labs.wait(
                    lambda process=process, before=before: process.poll() is not None or begun(work) > before,
                    what="a trial that begins",
                )
                time.sleep(rng.random() * 0.3)
                workers = running.workers()
                if workers and rng.random() < 0.6:
                    os.kill(rng.choice(workers), signal.SIGKILL)
                else:
                    running.kill()
                kills += 1
            elif running.process.poll() is None:
                running.ended(300)
            if running.process.poll() is not None:
                if labs.state_of(lab_path) == {"done": 1}:
                    break
                running = labs.spawn(lab_path, "--backoff", "0.01")
    finally:
        if running.process.poll() is None:
            running.kill()
    assert kills == KILLS
    assert check(lab_path, replay=labs.replay_stored) == []
    with open_lab(lab_path) as opened:
        [row] = opened.jobs()
        probes = [p for p in opened.probes(row.id) if p.state == "done"]
        trials = [t for p in probes for t in opened.trials(probe_id=p.id)]
    assert row.hi is not None
    assert row.lo < 20 <= row.hi <= 22
    assert len({p.n for p in probes}) == len(probes)
    assert len({(t.n, t.seed) for t in trials}) == len(trials) == 2 * len(probes)
    assert all(
        t.outcome in ("success", "superseded") if t.n >= 20 else t.outcome == "failure" for t in trials
    )
    assert not (tmp_path / "work" / "overlap").exists()
    log = (tmp_path / "work" / "log").read_text().splitlines()
    assert any(not line.endswith("from 0") for line in log), "nothing was resumed"
