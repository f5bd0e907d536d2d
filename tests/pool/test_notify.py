"""The notification command, and how long checkpoints are kept: with real processes."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

from labtui.config import read_settings, supervisor_variables
from runners.pool import checkpoints, notify
from runners.pool.notify import Notifier, taken_command
from store.paths import LabPaths
from store.read import open_lab
from tests.support import labs

TAKE = "import sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read() + b'\\n')"


def command(told: Path) -> str:
    return shlex.join([sys.executable, "-c", TAKE, str(told)])


def test_ends_are_told_as_json_on_stdin(lab_path: Path, tmp_path: Path) -> None:
    labs.make(lab_path, labs.study(3))
    told = tmp_path / "told $(touch owned)"  # no shell reads it
    running = labs.spawn(lab_path, env={notify.VARIABLE: command(told)})
    assert running.ended() == 0
    messages = [json.loads(line) for line in told.read_text().splitlines()]
    jobs = [m for m in messages if m["event"] == "job done"]
    with open_lab(lab_path) as lab:
        rows = {row.id: row for row in lab.jobs()}
    assert sorted(m["job"]["id"] for m in jobs) == sorted(rows)
    for message in jobs:
        row = rows[message["job"]["id"]]
        assert message["lab"] == str(lab_path)
        assert (message["job"]["lo"], message["job"]["hi"]) == (row.lo, row.hi)
    assert messages[-1]["event"] == "study done"
    assert messages[-1]["study"]["counts"] == {"done": len(rows)}
    assert len(messages) == len(jobs) + 1


def test_a_failed_job_is_told_with_its_reason(lab_path: Path, tmp_path: Path) -> None:
    labs.make(lab_path, labs.study(2), max_attempts=1)
    told = tmp_path / "told"
    fault = {"STANDIN_FAULTS": '[{"kind": "raise", "times": 9}]', "STANDIN_DIR": str(tmp_path)}
    labs.spawn(lab_path, env={notify.VARIABLE: command(told), **fault}).ended()
    messages = [json.loads(line) for line in told.read_text().splitlines()]
    failed = [m["job"] for m in messages if m["event"] == "job failed"]
    assert [job["state"] for job in failed] == ["failed"] * labs.state_of(lab_path)["failed"]
    assert "the stand-in was told to fail" in failed[0]["reason"]
    assert [m["event"] for m in messages].count("study done") >= 1


def test_a_command_that_hangs_is_killed_and_the_next_is_called(lab_path: Path, tmp_path: Path) -> None:
    labs.make(lab_path, labs.study(2))
    begun = tmp_path / "begun"
    hang = "import sys, time; open(sys.argv[1], 'a').write('x'); time.sleep(60)"
    with open_lab(lab_path) as lab:
        notifier = Notifier([sys.executable, "-c", hang, str(begun)], lab, patience_s=1.0)
        notifier._put("one", 0.0)
        notifier._put("two", 0.0)
        labs.wait(lambda: begun.exists() and begun.read_text() == "xx", 30)
        labs.wait(lambda: notifier._running is None, 30)
        notifier.close()


def test_the_command_is_taken_from_the_environment_and_not_handed_on() -> None:
    env = {notify.VARIABLE: "notify 'a b'"}
    assert taken_command(env) == ("notify", "a b")
    assert env == {}
    assert taken_command({notify.VARIABLE: "'"}) == ()
    assert taken_command(dict(supervisor_variables(read_settings({})))) == ()


def test_old_checkpoints_go_but_those_that_a_live_search_needs(lab_path: Path) -> None:
    labs.make(lab_path, labs.study(2))
    paths = LabPaths(lab_path)
    for name in ("7", "8", "9", "notes"):
        folder = paths.checkpoints / name
        folder.mkdir()
        (folder / "state").write_bytes(b"x")
        if name != "9":
            for path in (folder / "state", folder):
                os.utime(path, (1000.0, 1000.0))
    (paths.checkpoints / "10").symlink_to(paths.checkpoints / "notes")
    assert checkpoints.expire(paths, {"8"}, before=2000.0) == ["7"]
    assert sorted(p.name for p in paths.checkpoints.iterdir()) == ["10", "8", "9", "notes"]
