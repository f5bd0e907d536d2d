"""Bad input: one sentence on stderr, exit code 2, nothing on stdout, nothing written."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from labtui.cli import writing
from labtui.cli.errors import WorkFailed
from store.locks import SupervisorLock, last_holder, supervisor_alive
from store.paths import LabPaths
from store.write import create_or_open
from tests.cli.conftest import Labtui
from tests.support import labs

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nosuch",), "there is no command 'nosuch'"),
        (("jbos",), "there is no command 'jbos'; did you mean jobs?"),
        (("help", "nosuch"), "there is no command 'nosuch'"),
        (("study", "rename", "nosuch", "x"), "there is no study 'nosuch'"),
        (("jobs", "--what"), "unrecognized arguments: --what"),
        (("show",), "the following arguments are required: JOB"),
        (("show", "999"), "there is no job"),
        (("show", "zz"), "expected an id, or 4 or more digits of a hash"),
        (("jobs", "colour:red"), "there is no field colour"),
        (("jobs", "kappa<1"), "kappa is no field of a job"),
        (("jobs", "--order", "colour"), "colour"),
        (("jobs", "--study", "nobody"), "there is no study 'nobody'; expected an id or one of: who shares"),
        (("jobs", "--limit", "-1"), "--limit is -1; expected 0 or more"),
        (("jobs", "--limit", "x"), "invalid int value: 'x'"),
        (("kappa", "--rows", "colour"), "the axis 'colour' does not exist; expected one of task, m, model"),
        (("plot", "kappa", "999"), "there is no cell 999"),
        (
            ("submit", "papr"),
            "did you mean paper?",
        ),
        (
            ("submit", "quick", "--devices", "tpu:0", "--start"),
            "--devices is 'tpu:0'; expected cpu or cuda:0",
        ),
        (("run", "--slots", "0"), "--slots is 0; expected a whole number from 1 to 1,024"),
        (("pause",), "no job is given; expected ids, hashes or --study"),
        (("pause", "1", "--study", "who shares"), "both jobs and --study are given"),
        (("priority", "5000", "1"), "priority is 5000; expected -1000 to 1000"),
        (("tag", "1", "x" * 50), "a tag has 50 characters"),
        (("edit", "1", "{"), "the patch is not JSON"),
        (("edit", "1", "[]"), "the patch is no object"),
        (("device", "cuda:9", "--slots", "2"), "there is no device 'cuda:9'; expected one of: cpu, cuda:0"),
        (("device", "cpu"), "nothing to change; expected --state or --slots"),
        (("scan", "1", "--ladder", "1,x"), "--ladder is '1,x'; expected sample sizes by commas"),
        (("scan", "1", "--ladder", "0,4"), "expected 1 to"),
        (("submit", "quick", "--part", "1/0"), "there is no part 1 of 0; expected at least one part"),
        (("submit", "quick", "--part", "9/4"), "there is no part 9 of 4; expected 1 to 4"),
        (("submit", "quick", "--set", "format=" + "x" * 3000), "...; expected 'outcome', 'cot'"),
        (("scan", "1", "--points", "1"), "--points is 1; expected 2 to 400"),
        (("compare", "nothing"), "'nothing' is neither 'paper' nor a lab's file"),
        (("rerun", "none.json"), "none.json cannot be read"),
        (("note", "1", "x" * 10_001), "the note has 10001 characters"),
        (("--lab", "", "jobs"), "--lab is empty; expected a file"),
    ],
    ids=lambda x: " ".join(x)[:40] if isinstance(x, tuple) else "",
)
def test_sentence_and_exit_code(labtui: Labtui, lab: Path, words: tuple[str, ...], sentence: str) -> None:
    before = lab.read_bytes()
    answer = labtui(*words)
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == ""
    assert lab.read_bytes() == before


def test_no_lab_and_no_lab_file(labtui: Labtui, tmp_path: Path) -> None:
    assert labtui("jobs").err.startswith("labtui: there is no lab at ")
    assert not list(tmp_path.iterdir())
    (tmp_path / "lab.db").write_text("this is no database, but it is long enough to be looked at as one" * 20)
    for words in (
        ("jobs",),
        ("submit", "quick"),
        ("pause", "1"),
        ("daemon", "start"),
        ("db", "check"),
        ("run",),
    ):
        answer = labtui(*words)
        assert answer.code == 2, words
        assert "lab" in answer.err
    sqlite3.connect(tmp_path / "foreign.db").execute("CREATE TABLE t (a)").connection.close()
    assert labtui("jobs", "--lab", "foreign.db").code == 2
    assert labtui("submit", "quick", "--lab", "foreign.db").code == 2


def test_a_bad_spec_queues_nothing(labtui: Labtui, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        'name = "x"\n[[sweep]]\nm = 1\nmodel = { kind = "lstm" }\nformat = "cot"\nL = 5\n'
    )
    answer = labtui("submit", "s.toml")
    assert answer.code == 2
    assert answer.err == "labtui: s.toml, line 3: sweep.m is 1; expected at least 2\n"
    assert not (tmp_path / "lab.db").exists()


def test_unreachable_states_are_named(labtui: Labtui, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        'name = "x"\n[[sweep]]\ntask = { kind = "automaton", name = "t", states = ["a", "b", "c"],'
        " table = [[0, 1], [1, 0], [2, 2]] }\n"
        'model = { kind = "lstm" }\nformat = "cot"\nL = 5\n'
    )
    assert "warning: task t: no sequence reaches the states c" in labtui("submit", "s.toml", "--dry-run").err
    flip = "{ kind = 'automaton', table = [[1, 1], [0, 0]] }"
    (tmp_path / "p.toml").write_text(
        f'name = "x"\n[[sweep]]\ntask = {{ kind = "product", factors = [{flip}, {flip}] }}\n'
        'model = { kind = "lstm" }\nformat = "cot"\nL = 5\n'
    )
    assert "no sequence reaches the states (0, 1), (1, 0)" in labtui("submit", "p.toml", "--dry-run").err


def stamp(lab: Path, schema: int) -> None:
    """The lab says that another version wrote it."""
    with closing(sqlite3.connect(lab)) as connection:
        connection.execute(f"PRAGMA user_version = {schema}")


def test_a_newer_lab_is_read_and_not_written(labtui: Labtui, lab: Path, tmp_path: Path) -> None:
    stamp(lab, 99)
    read = labtui("jobs")
    assert read.code == 0
    assert "newer labtui (schema 99, this one has 1): update labtui; opened read-only" in read.err
    for words in (
        "pause 1",
        "submit quick",
        "db upgrade",
        "db vacuum",
        "db check",
        "run",
        "daemon start",
        "daemon run",
    ):
        answer = labtui(*words.split())
        assert answer.code == 2, words
        assert answer.err.count("\n") == 1, answer.err
        assert (
            "newer labtui (schema 99, this one has 1): update labtui; look at it with --read-only, or"
            in answer.err
        )
    done = subprocess.run(
        [sys.executable, "-m", "runners", "--lab", str(lab)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "newer labtui" in done.stderr
    assert not supervisor_alive(LabPaths(lab))
    assert labtui("snapshot", "copy.db").code == 0
    assert labtui("db", "backup").code == 0


@pytest.mark.parametrize("words", ["submit quick", "db upgrade", "run", "python -m runners"])
def test_an_older_lab_is_upgraded_by_what_writes(
    labtui: Labtui, lab_path: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(0 stands for an older schema: the tables of this one,
    so that there is nothing to migrate but the number.)
    """
    create_or_open(lab_path)
    stamp(lab_path, 0)
    for refused in (("hold",), ("db", "check"), ("db", "vacuum")):
        answer = labtui(*refused)
        assert answer.code == 2
        assert (
            "older labtui (schema 0, this one has 1); upgrade it, with a backup first: `labtui db upgrade`"
            in answer.err
        )
    assert labtui("queue").code == 0
    if words.startswith("python"):
        command = [sys.executable, "-m", "runners", "--lab", str(lab_path), "--foreground", "--until-empty"]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False).returncode == 0
    else:
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        assert labtui(*words.split()).code == 0
    assert labtui("db", "check").code == 0
    assert [p.name for p in LabPaths(lab_path).backups.glob("*-schema-0.db")] != []


def test_a_link_that_leads_nowhere_and_a_lab_that_is_cut(labtui: Labtui, lab: Path) -> None:
    Path("link.db").symlink_to("gone.db")
    answer = labtui("--lab", "link.db", "queue")
    assert answer.code == 2
    assert "gone.db, where the link link.db leads; expected a file that labtui made" in answer.err
    Path("cut.db").write_bytes(lab.read_bytes()[:5000])
    for words in ("queue", "db check", "daemon start"):
        answer = labtui("--lab", "cut.db", *words.split())
        assert answer.code == 2
        assert "cut.db is damaged (" in answer.err
        assert answer.err.count("\n") == 1


def test_a_second_supervisor_is_told_who_has_it(labtui: Labtui, lab: Path) -> None:
    lock = SupervisorLock.acquire(LabPaths(lab))
    try:
        for words in (("run",), ("daemon", "run")):
            answer = labtui(*words)
            assert answer.code == 2
            assert "has lab.db already" in answer.err
        vacuum = labtui("db", "vacuum")
        assert vacuum.code == 2
        assert "supervisor" in vacuum.err
    finally:
        lock.release()


def test_a_supervisor_that_stands_still_is_named_at_once(labtui: Labtui, lab_path: Path) -> None:
    labs.make(lab_path, labs.study(2))
    it = labs.spawn(lab_path, env={"STANDIN_EVAL_S": "0.02"}, until_empty=False)
    labs.wait(lambda: labs.state_of(lab_path).get("running"), 30)
    pid = it.process.pid
    try:
        it.process.send_signal(signal.SIGSTOP)
        labs.wait(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", 10)
        answer = labtui("daemon", "stop")
        assert answer.code == 1
        assert f"is stopped by a signal; it ends once it goes on: kill -CONT {pid}" in answer.err
    finally:
        it.process.send_signal(signal.SIGCONT)
    assert it.ended() == 0


def test_a_lab_that_cannot_be_made_is_not_called_new(labtui: Labtui, tmp_path: Path) -> None:
    (tmp_path / "loop.db").symlink_to("loop.db")
    (tmp_path / "file").touch()
    for lab in ("loop.db", "file/lab.db", "no/lab.db", "/proc/lab.db"):
        for words in (("submit", "quick"), ("daemon", "start")):
            answer = labtui("--lab", lab, *words)
            assert answer.code == 2, (lab, words, answer.err)
            assert "new lab" not in answer.err
            assert answer.err.count("\n") == 1


def test_after_an_upgrade_the_older_supervisor_hands_over(
    labtui: Labtui, lab_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labs.make(lab_path, labs.study(2))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("LABTUI_TRAINER", labs.TRAINER)
    old = labs.spawn(lab_path, env={"LABTUI_VERSION": "0.0.9", "STANDIN_EVAL_S": "0.02"}, until_empty=False)
    labs.wait(lambda: labs.state_of(lab_path).get("running"), 30)
    monkeypatch.setenv("LABTUI_VERSION", "0.0.8")
    assert f"a supervisor runs already (process {old.process.pid} on " in labtui("daemon", "start").err
    assert f"a supervisor (process {old.process.pid} on " in labtui("run").err
    monkeypatch.setenv("LABTUI_VERSION", "0.0.10")
    words = f"the supervisor 0.0.9 (process {old.process.pid}) finishes its probes, then 0.0.10 takes over"
    try:
        assert words in labtui("daemon", "start").err
        assert old.ended() == 0
        labs.wait(lambda: last_holder(LabPaths(lab_path)).get("version") == "0.0.10", 30)
    finally:
        assert labtui("daemon", "stop").code == 0


def test_without_torch_training_says_how_to_add_it(
    labtui: Labtui, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "find_spec", lambda name: None)
    with pytest.raises(WorkFailed):
        writing.require_torch()
    for words in (("run",), ("demo",), ("daemon", "start"), ("submit", "quick", "--start"), ("rerun", "1")):
        answer = labtui(*words)
        assert answer.code == 1, words
        assert "add it with: pip install 'labtui[train]'" in answer.err
    assert labtui("kappa").code == 0


def test_hostile_names_do_not_reach_the_terminal(labtui: Labtui, lab: Path) -> None:
    evil = "\x1b[31m[red]\u202ename\x07\n]]"
    assert labtui("rename", "1", evil).code == 0
    assert labtui("note", "1", evil).code == 0
    for words in (
        ("jobs",),
        ("queue",),
        ("show", "1"),
        ("events", "--limit", "5"),
        ("export", "jobs"),
        ("studies",),
    ):
        out = labtui(*words).out
        assert "\x1b" not in out, words
        assert "\u202e" not in out, words
        assert "\x07" not in out, words
    assert labtui("jobs", "--json").code == 0
