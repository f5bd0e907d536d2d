"""Commands that read: each answers as text and as JSON, from the same rows."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

from labtui.cli.commands.export import columns_of
from labtui.cli.output import safe
from store.locks import SupervisorLock
from store.paths import LabPaths
from store.read import open_lab
from store.write import create_or_open
from tests.cli.conftest import Labtui

READERS = [
    ("queue",),
    ("jobs",),
    ("jobs", "state:done", "model:lstm"),
    ("studies",),
    ("show", "1"),
    ("trials", "1"),
    ("trials", "outcome:success", "--limit", "5"),
    ("events",),
    ("events", "1"),
    ("kappa",),
    ("kappa", "--details"),
    ("kappa", "--rows", "format", "--columns", "model,L"),
    ("fits",),
    ("generalisation",),
    ("compare", "paper"),
    ("refit", "--eps", "1e-1,1e-3"),
    ("compare", "1", "2"),
    ("plot", "scaling"),
    ("plot", "scaling", "--x", "L", "--width", "60", "--height", "14"),
    ("plot", "bracket", "1"),
    ("plot", "kappa", "1"),
    ("device",),
    ("doctor",),
    ("logs",),
    ("export", "kappa"),
]


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_every_reader_has_text_and_json(labtui: Labtui, lab: Path, words: tuple[str, ...]) -> None:
    text = labtui(*words)
    assert text.code == 0
    assert text.out or words == ("logs",)
    answer = labtui(*words, "--json")
    assert answer.code == 0
    assert answer.json is not None
    plain = labtui("--ascii", *words)
    assert plain.out.isascii()


def test_daemon_status_tells_by_its_exit_code(labtui: Labtui, lab: Path) -> None:
    answer = labtui("daemon", "status")
    assert answer.code == 1
    assert "no supervisor runs" in answer.out
    assert labtui("daemon", "status", "--json").json["alive"] is False
    assert labtui("daemon", "stop").err == "no supervisor runs\n"


def test_a_supervisor_runs_from_the_moment_it_holds_the_lab(labtui: Labtui, tmp_path: Path) -> None:
    create_or_open(tmp_path / "lab.db")
    lock = SupervisorLock.acquire(LabPaths(tmp_path / "lab.db"))
    try:
        answer = labtui("daemon", "status")
        assert (answer.code, answer.out) == (0, "the first supervisor of this lab is starting\n")
    finally:
        lock.release()


def test_without_a_terminal_the_queue_is_text(labtui: Labtui, lab: Path) -> None:
    assert labtui().out == labtui("queue").out
    assert labtui("--plain").out == labtui("queue").out
    assert "running" in labtui("--json").json["counts"] or labtui("--json").json["counts"]


def test_read_only_takes_a_file_and_writes_nothing_beside_it(
    labtui: Labtui, lab: Path, tmp_path: Path
) -> None:
    assert labtui("snapshot", "shot.db").code == 0
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "shot.db").write_bytes((tmp_path / "shot.db").read_bytes())
    whole = labtui("kappa").out
    assert labtui("--read-only", str(alone / "shot.db"), "kappa").out == whole
    assert labtui("--read-only", "kappa", "--lab", str(alone / "shot.db")).out == whole
    assert labtui("kappa", "--read-only", "--lab", str(alone / "shot.db")).out == whole
    assert labtui("--read-only", str(alone / "shot.db")).code == 0
    assert [p.name for p in alone.iterdir()] == ["shot.db"]
    assert labtui("snapshot", "shot.db").err == "labtui: shot.db is there already; expected a new file\n"


def test_the_lab_comes_from_option_then_environment(
    labtui: Labtui, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = lab.rename(lab.with_name("other.db"))
    lab.with_name("lab.db.d").rename(lab.with_name("other.db.d"))
    assert labtui("jobs").code == 2
    assert labtui("jobs", "--lab", str(moved)).code == 0
    assert labtui("--lab", str(moved), "jobs").code == 0
    monkeypatch.setenv("LABTUI_LAB", str(moved))
    assert labtui("jobs").code == 0


def test_filters_and_limits(labtui: Labtui, lab: Path) -> None:
    done = labtui("jobs", "state:done", "--json").json
    assert done
    assert {job["state"] for job in done} == {"done"}
    long = labtui("jobs", "state:done", "L>=6", "--json").json
    assert {job["length"] for job in long} <= {6, 7}
    assert len(long) < len(done)
    first = labtui("jobs", "state:done", "--limit", "2", "--order=-id", "--json").json
    assert [job["id"] for job in first] == sorted((job["id"] for job in done), reverse=True)[:2]
    assert "2 of" in labtui("jobs", "--limit", "2").err
    study = labtui("jobs", "--study", "who shares", "--json").json
    assert len(study) == len(labtui("jobs", "--json").json) - 1


def test_trials_are_all_of_them(labtui: Labtui, lab: Path) -> None:
    with open_lab(lab) as found:
        want = len(found.trial_ids())
    rows = labtui("trials", "--json").json
    assert len(rows) == want
    with_curves = labtui("trials", "1", "--json", "--curves").json
    assert with_curves
    assert any(row["curve"] for row in with_curves)


def test_show_json_is_enough_to_run_it_again(labtui: Labtui, lab: Path) -> None:
    import json

    from runners.spec import SCIENCE_VERSION, Job

    shown = labtui("show", "1", "--json").json
    job = Job.from_json(json.dumps(shown["spec"]))
    assert job.hash == shown["job"]["hash"]
    assert shown["science_version"] == SCIENCE_VERSION
    assert shown["spec"]["search"]["rtol"] == 0.1, "defaults are written out"
    assert shown["resolved"]["search"]["n_max"] == shown["job"]["n_max"]
    assert shown["resolved"]["search"]["max_candidates"] == 60
    assert {p["n"] for p in shown["probes"]} == {t["n"] for t in shown["trials"]}
    by_hash = labtui("show", shown["job"]["hash"][:10], "--json").json
    assert by_hash["job"] == shown["job"]


def test_export_is_whole_and_safe(labtui: Labtui, lab: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(labtui("export", "jobs").out)))
    assert len(rows) == len(labtui("jobs", "--json").json)
    for table in ("probes", "trials", "curves", "cells", "kappa", "events"):
        answer = labtui("export", table, "--out", f"{table}.csv")
        assert answer.code == 0
        assert Path(f"{table}.csv").read_text().count("\n") > 1
    assert labtui("export", "jobs", "--out", "kappa.csv").code == 2


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\t=1", "'\t=1"),
        ("  =1", "'  =1"),
        ("\x1b[31m", "\N{REPLACEMENT CHARACTER}[31m"),
        ("Z3 acot", "Z3 acot"),
        (-1.5, -1.5),
        (None, ""),
        (True, "true"),
        (["=a"], '["=a"]'),
    ],
)
def test_no_cell_is_a_formula(cell: object, shown: object) -> None:
    assert safe(cell) == shown


@pytest.mark.parametrize(
    "words", [("jobs", "--json"), ("kappa",), ("queue",), ("trials", "--limit", "3"), ("pause", "99")]
)
def test_reading_loads_nothing_heavy(lab: Path, words: tuple[str, ...]) -> None:
    heavy = {"torch", "sqlmodel", "sqlalchemy", "alembic", "numpy", "scipy", "textual", "pydantic", "plotext"}
    code = (
        "import sys; from labtui.__main__ import main; main(sys.argv[1:]); "
        f"print('LOADED', sorted(set(sys.modules) & {heavy!r}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--lab", str(lab)], capture_output=True, text=True, timeout=60
    )
    assert done.stderr.splitlines()[-1] == "LOADED []"


def test_a_closed_pipe_is_no_fault(lab: Path) -> None:
    command = f"{sys.executable} -m labtui trials --lab {lab} | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_table_without_rows_has_its_heading(labtui: Labtui, tmp_path: Path) -> None:
    create_or_open(tmp_path / "lab.db")
    for table in ("jobs", "probes", "trials", "curves", "cells", "kappa", "events"):
        first = labtui("export", table).out.splitlines()[0]
        assert len(first.split(",")) >= 4, table
        assert labtui("export", table, "--json").code == 0


def test_headings_without_rows_are_those_with_rows(labtui: Labtui, lab: Path) -> None:
    for table in ("jobs", "probes", "trials", "curves", "events"):
        assert labtui("export", table).out.splitlines()[0] == ",".join(columns_of(table)), table
