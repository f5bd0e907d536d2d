"""Programs through a real supervisor: beside built-in searches, refused without a word, paused, retried."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

import store.commands
from runners.programs import consent
from runners.spec import Job, NamedJob, Study
from store.check import check
from store.paths import LabPaths
from store.read import open_lab
from store.write import Writer
from tests.programs.conftest import HEAD, REPORTS, TAIL, Made, spec_of
from tests.support import labs

SMALL = TAIL.replace("0.1, 0.2", "0.1").replace("1, 2", "1").replace("1000", "120")
"""One trial for each N, and few N."""
SWEPT = 'name = "s"\n' + HEAD.replace('"{lr}"', '"{lr}", "{dataset}"') + '[[sweep]]\ndataset = ["a", "b"]\n'
TWO = """
case "$4" in a) at=100;; *) at=300;; esac
echo '{"accuracy": 0.5}' >> "$LABTUI_REPORT"
if [ "$1" -ge $at ]; then echo '{"accuracy": 0.95}' >> "$LABTUI_REPORT"; fi
"""


def queue(lab: Path, *specs: Job | NamedJob | Study, attempts: int = 5) -> None:
    for spec in specs:
        labs.make(lab, NamedJob(job=spec) if isinstance(spec, Job) else spec)  # type: ignore[arg-type]
    with Writer(lab) as writer, writer.transaction() as tx:
        tx.run("UPDATE job SET max_attempts = :m", m=attempts)


def found(lab: Path) -> dict[str, tuple[int, int | None, str]]:
    with open_lab(lab) as opened:
        return {row.name: (row.lo, row.hi, row.state) for row in opened.jobs()}


def test_programs_beside_built_in_searches(lab_path: Path, tmp_path: Path) -> None:
    spec = spec_of(tmp_path / "work", TWO, head=SWEPT)
    assert isinstance(spec, Study)
    consent.allow(spec.jobs())
    queue(lab_path, spec, labs.study(3))
    with labs.supervisor(lab_path) as running:
        assert running.ended() == 0, running.log
    rows = found(lab_path)
    lo, hi, _ = rows["s a"]
    assert lo < 100 <= (hi or 0) <= 110
    lo, hi, _ = rows["s b"]
    assert lo < 300 <= (hi or 0) <= 330
    assert {state for *_, state in rows.values()} == {"done"}
    assert len(rows) == 5
    assert check(lab_path, replay=labs.replay_stored) == []


def test_a_lab_from_elsewhere_runs_nothing_of_its_own(lab_path: Path, made: Made, tmp_path: Path) -> None:
    """A hostile lab: its programs wait for a word, more of them than slots, and all else goes on."""
    jobs = [made("touch ran" + REPORTS, f"env = {{X = '{i}'}}", allow=False) for i in range(5)]
    queue(lab_path, *jobs, labs.study(3))
    with labs.supervisor(lab_path) as running:
        assert running.ended() == 0, running.log
    with open_lab(lab_path) as opened:
        rows = opened.jobs()
        told = [e.text for e in opened.events(limit=100) if e.kind == "job.needs_word"]
    assert [row.needs_word for row in rows] == [True] * 5 + [False] * 3
    assert [row.state for row in rows[5:]] == ["done"] * 3
    assert told.count("it runs a program: labtui allow 1") == 1
    assert not (tmp_path / "work" / "ran").exists()


def test_a_word_is_heard_while_the_supervisor_runs(lab_path: Path, made: Made) -> None:
    job = made(allow=False, tail=SMALL)
    queue(lab_path, job)
    with labs.supervisor(lab_path, until_empty=False), open_lab(lab_path) as opened:
        labs.wait(lambda: opened.jobs()[0].needs_word, what="needs your word")
        consent.allow([job])
        labs.wait(lambda: opened.jobs()[0].state == "done", what="done")


def test_a_word_is_for_the_very_command_its_values_and_its_files(made: Made, tmp_path: Path) -> None:
    job = made()
    assert consent.allowed(job)
    assert job.program is not None
    data = json.loads(job.to_json())
    for change in (
        {"command": ["sh", "train.sh", "{n}", "{seed}", "{lr}", "x"]},
        {"cwd": str(tmp_path)},
        {"files": {"train.sh": "0" * 64}},
        {"env": {"PATH": str(tmp_path)}},
    ):
        assert not consent.allowed(Job.from_json(json.dumps(data | {"model": data["model"] | change})))
    axes = {"kind": "axes", "values": {"x": "; rm -rf ~"}}
    assert not consent.allowed(Job.from_json(json.dumps(data | {"task": axes})))
    grid = data["grid"] | {"axes": {"lr": [0.1, "; rm -rf ~"]}}
    assert not consent.allowed(Job.from_json(json.dumps(data | {"grid": grid})))
    seeds = data["grid"] | {"seeds": [7]}
    assert consent.allowed(Job.from_json(json.dumps(data | {"grid": seeds})))


def test_the_answer_is_kept_for_this_user_alone(made: Made, lab_path: Path) -> None:
    job = made()
    file = consent.allowed_file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert lab_path.parent not in file.parents
    file.chmod(0o666)
    assert not consent.allowed(job)  # anybody could have written it
    file.chmod(0o600)
    assert consent.allowed(job)
    text = file.read_text()
    file.unlink()
    (file.parent / "planted").write_text(text)
    (file.parent / "planted").chmod(0o600)
    file.symlink_to(file.parent / "planted")
    assert not consent.allowed(job)


def test_a_failing_program_fails_its_job_with_the_end_of_its_log(lab_path: Path, made: Made) -> None:
    queue(lab_path, made("echo begun >> begun; echo OSError: no such data >&2; exit 3"), attempts=2)
    with labs.supervisor(lab_path, "--backoff", "0.01") as running:
        assert running.ended() == 0, running.log
    with open_lab(lab_path) as opened:
        [row] = opened.jobs()
    assert row.state == "failed"
    assert row.failure == "failed"
    assert "the program ended with code 3" in str(row.reason)
    assert str(row.reason).endswith("OSError: no such data")
    assert row.attempt == 3


PAUSED = """
step=$(cat "$LABTUI_CHECKPOINT/step" 2>/dev/null || echo 0)
echo "from $step" >> log
trap 'echo $step > "$LABTUI_CHECKPOINT/step"; exit 0' TERM
while [ ! -e go ]; do
  step=$((step + 1)); echo "{\\"step\\": $step, \\"accuracy\\": 0.1}" >> "$LABTUI_REPORT"; sleep 0.05
done
"""


def paused(lab: Path, work: Path, options: str = "") -> float:
    """Pause job 1 once it reports; seconds until it is."""
    with open_lab(lab) as opened:
        labs.wait(lambda: any(p.step >= 2 for p in opened.probes(1)), what="a report")
        began = time.monotonic()
        store.commands.pause(lab, [1])
        labs.wait(lambda: opened.jobs()[0].state == "paused", what="paused")
    return time.monotonic() - began


def test_pause_and_resume_go_on_from_the_programs_own_checkpoint(
    lab_path: Path, made: Made, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    queue(lab_path, made(PAUSED + REPORTS, "resume = true", tail=SMALL))
    with labs.supervisor(lab_path, "--slots", "1", until_empty=False):
        assert paused(lab_path, work) < 5
        (work / "go").touch()
        store.commands.resume(lab_path, [1])
        with open_lab(lab_path) as opened:
            labs.wait(lambda: opened.jobs()[0].state == "done", what="done")
    first, second, *_ = (work / "log").read_text().splitlines()
    assert first == "from 0"
    assert int(second.removeprefix("from ")) >= 2
    assert not list(LabPaths(lab_path).checkpoints.iterdir())


def test_a_pause_kills_after_the_grace_and_says_so(lab_path: Path, made: Made, tmp_path: Path) -> None:
    queue(lab_path, made("trap '' TERM\n" + PAUSED.replace("trap", "#"), "grace = 0.3", tail=SMALL))
    with labs.supervisor(lab_path, "--slots", "1", until_empty=False):
        assert paused(lab_path, tmp_path / "work") < 5
        with open_lab(lab_path) as opened:
            said = [e.text for e in opened.events(job_id=1, limit=50)]
    assert any("had not ended 0.3 s after SIGTERM and was killed" in text for text in said)


def test_a_program_says_how_many_run_at_once(lab_path: Path, made: Made, tmp_path: Path) -> None:
    script = "mkdir lock || touch twice\nsleep 0.1\nrmdir lock" + REPORTS
    queue(lab_path, *(made(script, f"slots = 1\nenv = {{X = '{i}'}}", tail=SMALL) for i in range(2)))
    with labs.supervisor(lab_path, "--slots", "2") as running:
        assert running.ended() == 0, running.log
    assert {state for *_, state in found(lab_path).values()} == {"done"}
    assert not (tmp_path / "work" / "twice").exists()


def test_an_equal_search_is_known_by_its_hash(lab_path: Path, made: Made) -> None:
    queue(lab_path, made(), made(more="timeout = 50"))
    with open_lab(lab_path) as opened:
        [row] = opened.jobs()
        job = Job.from_json(opened.job_spec(row.id))
    assert job.program is not None
    assert job.program.timeout == 50  # nothing was trained yet: the newer word counts


@pytest.mark.parametrize("strategy", ["adaptive", "scan"])
def test_every_strategy_runs_a_program(strategy: str, lab_path: Path, made: Made) -> None:
    tail = TAIL.replace("0.1, 0.2", "0.1").replace("1000", "64")
    job = made(
        tail=tail.replace("[search]", f'[search]\nstrategy = "{strategy}"\nrelative_width = 3.0'),
        script=REPORTS.replace("100", "10"),
    )
    queue(lab_path, job)
    with labs.supervisor(lab_path) as running:
        assert running.ended() == 0, running.log
    with open_lab(lab_path) as opened:
        [row] = opened.jobs()
        trials = opened.trials(row.id)
    assert row.state == "done"
    assert all(0.01 < t.wall_s < 60 for t in trials if t.outcome == "failure")  # from its start to its end
    assert row.estimate is not None
    assert row.estimate[1] / 1.5 <= 10 <= row.estimate[2] * 1.5  # a step in N is its hardest case


def test_it_needs_no_torch(lab_path: Path, made: Made, tmp_path: Path) -> None:
    (tmp_path / "none" / "torch").mkdir(parents=True)
    (tmp_path / "none" / "torch" / "__init__.py").write_text(
        f"open({str(tmp_path / 'asked')!r}, 'w'); raise ModuleNotFoundError('no', name='torch')"
    )
    queue(lab_path, made(tail=SMALL))
    path = os.pathsep.join([str(tmp_path / "none"), os.environ.get("PYTHONPATH", "")])
    with labs.supervisor(
        lab_path, env={"PYTHONPATH": path}, trainer="runners.engine.trainer:Trainer"
    ) as running:
        assert running.ended() == 0, running.log
    assert {state for *_, state in found(lab_path).values()} == {"done"}
    assert not (tmp_path / "asked").exists()  # where there is one it is not imported either


def test_a_search_that_comes_later_finds_its_trainer(lab_path: Path, made: Made) -> None:
    """The workers of a lab of programs alone have imported none."""
    queue(lab_path, made(tail=SMALL))
    with labs.supervisor(lab_path, until_empty=False) as running, open_lab(lab_path) as opened:
        labs.wait(lambda: opened.jobs()[0].state == "done", what="a program")
        queue(lab_path, labs.study(3))
        labs.wait(lambda: {job.state for job in opened.jobs()} == {"done"}, what="a search")
        log = running.log
    assert "is ready (runners.programs.trainer:ProgramTrainer)" in log
    assert f"is ready ({labs.TRAINER})" in log
