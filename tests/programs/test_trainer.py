"""The trainer of programs: verdicts, errors, and programs that behave badly."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from runners.engine.types import (
    Control,
    Ended,
    EngineEvent,
    Evaluated,
    Member,
    Note,
    Stopped,
)
from runners.programs.trainer import ProgramError, ProgramTrainer, environment
from runners.spec import Job
from runners.verdict import Outcome
from tests.programs.conftest import HEAD, REPORTS, TAIL, Made

ONE = TAIL.replace("0.1, 0.2", "0.1").replace("1, 2", "1")


def trainer(
    job: Job, folder: Path, n: int = 100, *, resume: bool = False, stop: Any = "probe"
) -> ProgramTrainer:
    members = [Member("1", n, lr, seed, job.bound, stop) for lr, seed in job.grid.members]
    return ProgramTrainer(job, members, device="cpu", checkpoint_dir=folder / "kept", resume=resume)


def outcomes(events: list[EngineEvent]) -> list[Outcome]:
    return [e.outcome for e in events if isinstance(e, Ended)]


def run(job: Job, folder: Path, n: int = 100, **more: Any) -> list[EngineEvent]:
    return list(trainer(job, folder, n, **more).run(Control()))


def fails(job: Job, folder: Path, n: int = 100) -> ProgramError:
    with pytest.raises(ProgramError) as error:
        run(job, folder, n)
    return error.value


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """No test leaves a process that its program started: they are told by their folder."""
    yield
    left = []
    for process in psutil.process_iter():
        try:
            if str(tmp_path) in process.environ().get("LABTUI_REPORT", "") and process.status() != "zombie":
                left.append(process)
        except psutil.Error:
            continue
    assert not left


# Verdicts


def test_a_success_ends_its_siblings(made: Made, tmp_path: Path) -> None:
    events = run(made(REPORTS + "sleep 100\n"), tmp_path)
    assert outcomes(events) == [Outcome.SUCCESS, *[Outcome.SUPERSEDED] * 3]
    points = [(e.step, e.validation) for e in events if isinstance(e, Evaluated)]
    assert points == [(1, (-0.5,)), (2, (-0.95,))]


def test_all_fail_below_the_threshold(made: Made, tmp_path: Path) -> None:
    events = run(made(), tmp_path, n=99)
    assert outcomes(events) == [Outcome.FAILURE] * 4
    assert [e.best_loss for e in events if isinstance(e, Ended)] == [-0.5] * 4


def test_each_trial_runs_to_its_end_where_none_stops_another(made: Made, tmp_path: Path) -> None:
    assert outcomes(run(made(), tmp_path, stop="never")) == [Outcome.SUCCESS] * 4
    assert outcomes(run(made(), tmp_path, stop="seed")) == [Outcome.SUCCESS, Outcome.SUPERSEDED] * 2


def test_reaching_the_threshold_counts(made: Made, tmp_path: Path) -> None:
    job = made("""echo 'LABTUI {"accuracy": 0.9}'""", tail=ONE)
    assert outcomes(run(job, tmp_path)) == [Outcome.SUCCESS]


def test_a_small_metric_may_be_the_good_one(made: Made, tmp_path: Path) -> None:
    head = HEAD.replace("max", "min").replace("0.9", "0.5")
    job = made("""echo 'LABTUI {"accuracy": 0.6}'; echo 'LABTUI {"accuracy": 0.4}'""", head=head, tail=ONE)
    assert outcomes(run(job, tmp_path)) == [Outcome.SUCCESS]


@pytest.mark.parametrize(
    ("read", "script", "outcome"),
    [
        ('read = "acc ([0-9.]+)"', "echo acc 0.99; echo acc 0.2", Outcome.FAILURE),
        ('read = "acc ([0-9.]+)"', "echo acc 0.2; echo acc 0.99 >&2", Outcome.SUCCESS),
        ('read = "json:test.acc"', """echo '{"test": {"acc": 0.99}}'""", Outcome.SUCCESS),
        ('read = "json:acc"', """printf '{\\n "acc":\\n 0.99}\\n'""", Outcome.SUCCESS),
    ],
)
def test_a_script_is_read_as_it_is(
    read: str, script: str, outcome: Outcome, made: Made, tmp_path: Path
) -> None:
    assert outcomes(run(made(script, read, tail=ONE), tmp_path)) == [outcome]


def test_a_function_reports_and_returns(made: Made, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "model.py").write_text(
        "import labtui\n"
        "def train(n, lr, seed):\n"
        "    labtui.report(step=5, accuracy=0.3)\n"
        "    return n / 100 * (lr < 1)\n"
    )
    head = HEAD.replace('command = ["sh", "train.sh", "{n}", "{seed}", "{lr}"]', 'function = "model:train"')
    job = made(head=head, tail=ONE)
    events = run(job, tmp_path, n=95)
    assert outcomes(events) == [Outcome.SUCCESS]
    assert [e.validation for e in events if isinstance(e, Evaluated)] == [(-0.3,), (-0.95,)]


def test_it_sees_its_values_its_folder_and_its_device(made: Made, tmp_path: Path) -> None:
    script = 'echo "$1 $2 $3 $DEPTH [$CUDA_VISIBLE_DEVICES]" > seen; test -d "$LABTUI_CHECKPOINT"' + REPORTS
    run(made(script, 'env = {DEPTH = "{lr}"}', tail=ONE), tmp_path)
    assert (tmp_path / "work" / "seen").read_text() == "100 1 0.1 0.1 []\n"


def test_its_device_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert environment("cuda:2")["CUDA_VISIBLE_DEVICES"] == "2"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    assert environment("cuda:1")["CUDA_VISIBLE_DEVICES"] == "GPU-b"
    assert environment("cpu")["CUDA_VISIBLE_DEVICES"] == ""


# Errors: no verdict


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("true", 'the program reported nothing; expected {"accuracy": 0.5}'),
        ("echo 'LABTUI garbage'; head -c 3000 /dev/urandom >> $LABTUI_REPORT", "'garbage' is none"),
        ("""echo 'LABTUI {"accuracy": "high"}'""", "reported nothing"),
        (REPORTS + "exit 137", "the program ended with code 137"),
        ("kill -9 $$", "the program ended by signal 9"),
        ("nonsense-command-that-is-not-there", "the program ended with code 127"),
    ],
)
def test_an_error_is_no_verdict(script: str, said: str, made: Made, tmp_path: Path) -> None:
    error = fails(made(script, tail=ONE), tmp_path, n=10)
    assert said in str(error)
    assert str(error).startswith("N = 10, seed 1 lr=0.1: ")


def test_the_end_of_its_log_comes_with_the_error(made: Made, tmp_path: Path) -> None:
    error = fails(made("seq 1000; echo ValueError: no data >&2; exit 1"), tmp_path)
    assert error.log.endswith("ValueError: no data")
    assert len(error.log) < 4000


def test_one_that_takes_too_long_is_ended(made: Made, tmp_path: Path) -> None:
    error = fails(made(REPORTS + "sleep 100", "timeout = 0.3\ngrace = 0.1"), tmp_path, n=10)
    assert "it took more than 0.3 s" in str(error)


def test_what_has_ended_is_not_run_again(made: Made, tmp_path: Path) -> None:
    script = 'echo x >> ran; test "$2" = 1 || exit 3' + REPORTS
    job = made(script)
    fails(job, tmp_path, n=10)
    (tmp_path / "work" / "go").touch()
    with pytest.raises(ProgramError):
        run(job, tmp_path, n=10, resume=True)
    assert (tmp_path / "work" / "ran").read_text() == "x\n" * 3  # one ended, one failed twice


# Programs that behave badly


def test_only_nan_says_nothing_of_n(made: Made, tmp_path: Path) -> None:
    job = made("""echo 'LABTUI {"accuracy": NaN}'""", tail=ONE)
    assert outcomes(run(job, tmp_path)) == [Outcome.DIVERGED]


def test_one_that_daemonises_ends_with_its_trial(made: Made, tmp_path: Path) -> None:
    daemon = "(setsid sh -c 'trap \"\" TERM HUP; echo $$ > daemon; sleep 1000' &)\n"
    run(made(daemon + "while [ ! -s daemon ]; do :; done" + REPORTS, tail=ONE), tmp_path)
    assert not psutil.pid_exists(int((tmp_path / "work" / "daemon").read_text()))


def test_one_that_forks_on_and_on_ends(made: Made, tmp_path: Path) -> None:
    script = "f() { for i in 1 2 3 4 5 6; do sleep 1000 & done; }\nf & f & f &\n"
    run(made(script + REPORTS, tail=ONE), tmp_path, n=10)  # the fixture looks for what is left


@pytest.mark.parametrize("size", [30_000_000, pytest.param(1_000_000_000, marks=pytest.mark.slow)])
def test_a_flood_of_output_harms_nothing(size: int, made: Made, tmp_path: Path) -> None:
    before = psutil.Process().memory_info().rss
    script = f"yes spam spam spam | head -c {size}" + REPORTS
    assert outcomes(run(made(script, tail=ONE), tmp_path)) == [Outcome.SUCCESS]
    assert psutil.Process().memory_info().rss - before < 50 << 20
    assert sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file()) < 1 << 20


def test_one_that_deletes_its_own_folder_harms_nothing(made: Made, tmp_path: Path) -> None:
    script = 'rm -rf "$LABTUI_CHECKPOINT" "$(dirname "$LABTUI_REPORT")"'
    assert "reported nothing" in str(fails(made(script, tail=ONE), tmp_path))
    job = made(script + """; echo 'LABTUI {"accuracy": 0.95}'""", tail=ONE)
    assert outcomes(run(job, tmp_path)) == [Outcome.SUCCESS]


def test_one_that_fills_the_disk_is_ended_while_there_is_room(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runners.programs.trainer.LEAST_DISK", 1 << 60)
    assert "the disk is full" in str(fails(made("sleep 100", tail=ONE), tmp_path))


def test_an_expression_that_never_ends_is_given_up(made: Made, tmp_path: Path) -> None:
    job = made("head -c 3000 /dev/zero | tr '\\0' a", 'read = "((?:a+)+)$x"', tail=ONE)
    assert "program.read takes more than" in str(fails(job, tmp_path))


# Pauses


def stopped(job: Job, folder: Path, *, resume: bool = False) -> tuple[list[EngineEvent], float]:
    """Run until its first report, then ask it to stop; what came, and how long the stop took."""
    control, events, asked = Control(), [], 0.0
    for event in trainer(job, folder, 10, resume=resume).run(control):
        events.append(event)
        if isinstance(event, Evaluated) and not control.stop:
            control.stop, asked = "checkpoint", time.monotonic()
    return events, time.monotonic() - asked


STEPS = """
step=$(cat "$LABTUI_CHECKPOINT/step" 2>/dev/null || echo 0)
echo "from $step" >> log
trap 'echo $step > "$LABTUI_CHECKPOINT/step"; exit 0' TERM
while [ $step -lt 40 ]; do
  step=$((step + 1)); echo "{\\"step\\": $step, \\"accuracy\\": 0.1}" >> "$LABTUI_REPORT"; sleep 0.05
done
"""


def test_a_pause_keeps_what_the_program_keeps(made: Made, tmp_path: Path) -> None:
    job = made(STEPS, "resume = true", tail=ONE)
    events, _ = stopped(job, tmp_path)
    assert isinstance(events[-1], Stopped)
    assert events[-1].path is not None
    events = run(job, tmp_path, n=10, resume=True)
    first, second = (tmp_path / "work" / "log").read_text().split("\n")[:2]
    assert first == "from 0"
    assert int(second.split()[1]) > 0
    assert outcomes(events) == [Outcome.FAILURE]
    assert [e.steps for e in events if isinstance(e, Ended)] == [40]


def test_without_resume_a_trial_begins_again(made: Made, tmp_path: Path) -> None:
    job = made(STEPS.replace("-lt 40", "-lt 5"), tail=ONE)
    stopped(job, tmp_path)
    run(job, tmp_path, n=10, resume=True)
    assert (tmp_path / "work" / "log").read_text() == "from 0\nfrom 0\n"


def test_one_that_ignores_sigterm_is_killed_after_its_grace_and_that_is_said(
    made: Made, tmp_path: Path
) -> None:
    events, took = stopped(
        made("trap '' TERM" + REPORTS + "while :; do sleep 1; done", "grace = 0.2"), tmp_path
    )
    assert any(isinstance(e, Note) and "0.2 s after SIGTERM and was killed" in e.text for e in events)
    assert took < 5


def test_nothing_outlives_a_guard_that_is_killed(made: Made, tmp_path: Path) -> None:
    job = made("(setsid sleep 1000 &)" + REPORTS + "sleep 1000", tail=ONE)
    events = trainer(job, tmp_path, 10).run(Control())
    next(e for e in events if isinstance(e, Evaluated))
    alive = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    [guard] = [p for p in alive if "guard.py" in " ".join(p.cmdline())]
    os.kill(guard.pid, signal.SIGKILL)
    with pytest.raises(ProgramError, match="its guard was killed"):
        list(events)


# Consent


def test_what_was_never_allowed_does_not_run(made: Made, tmp_path: Path) -> None:
    assert "never allowed" in str(fails(made("touch ran", allow=False), tmp_path))
    assert not (tmp_path / "work" / "ran").exists()


def test_a_file_that_changed_since_does_not_run(made: Made, tmp_path: Path) -> None:
    job = made()
    (tmp_path / "work" / "train.sh").write_text("touch ran")
    assert "train.sh" in str(fails(job, tmp_path))
    assert not (tmp_path / "work" / "ran").exists()
