"""``from labtui import Lab``: tables that stand by themselves, work from Python, sentences for mistakes."""

from __future__ import annotations

import math
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from datetime import datetime
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from labtui import Lab
from labtui.export import records
from store.errors import LabError
from store.read import Lab as StoredLab
from store.read import open_lab
from store.rows import Curve
from store.write import create_or_open
from tests.cli.test_hostile import fill

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "docs" / "labs" / "demo.db"
TABLES = {
    "jobs": records.JobRecord,
    "probes": records.ProbeRecord,
    "trials": records.TrialRecord,
    "curves": records.CurveRecord,
    "cells": records.PartRecord,
    "kappa": records.KappaRecord,
    "fits": records.FitRecord,
    "events": records.EventRecord,
}
SPEC: dict[str, Any] = {
    "name": "from Python",
    "models": {"small": {"kind": "dense_ssm", "hidden": 8}},
    "sweep": [
        {
            "m": 2,
            "model": "small",
            "format": "acot",
            "L": 4,
            "grid": {"learning_rates": [0.01], "seeds": [1, 2]},
            "training": {"steps": 100, "eval_every": 25, "validation_size": 32},
        }
    ],
}


@pytest.fixture
def rows(lab: Path) -> Iterator[Lab]:
    with Lab(lab, frames="rows") as found:
        yield found


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_a_list_of_frozen_rows_of_one_kind(rows: Lab, table: str) -> None:
    found = getattr(rows, table)()
    assert found
    assert {type(row) for row in found} == {TABLES[table]}
    with pytest.raises(FrozenInstanceError):
        setattr(found[0], fields(found[0])[0].name, 1)


def test_rows_stand_by_themselves(rows: Lab, lab: Path) -> None:
    jobs = {job.id: job for job in rows.jobs()}
    with open_lab(lab) as stored:
        for row in stored.jobs():
            job = jobs[row.id]
            assert (job.lo, job.hi, job.flags, job.hash) == (row.lo, row.hi, row.flags, row.hash)
            assert datetime.fromisoformat(job.created_at).timestamp() == pytest.approx(
                row.created_at, abs=1e-3
            )
            assert job.trials_per_probe == len(job.learning_rates) * len(job.seeds)
            if job.nstar_kind == "bracket":
                assert (job.nstar, job.nstar_low, job.nstar_high) == (row.hi, row.lo + 1, row.hi)
            if job.nstar_kind == "censored":
                assert (job.nstar, job.nstar_low, job.nstar_high) == (None, row.n_max + 1, None)
    for trial in rows.trials():
        job = jobs[trial.job_id]
        assert (trial.job_hash, trial.task, trial.nstar) == (job.hash, job.task, job.nstar)
        assert trial.lr in job.learning_rates


def test_a_study_is_chosen_by_id_or_name(rows: Lab) -> None:
    assert len(rows.kappa("who shares")) == len(rows.kappa(1)) == len(rows.kappa())
    with pytest.raises(ValueError, match="there is no study 'nothing'"):
        rows.jobs("nothing")


def fake_package(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    module = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.DataFrame = lambda columns: (name, columns)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)


def test_frames_come_from_what_is_installed(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_package(monkeypatch, "polars")
    package, columns = Lab(lab, frames="polars").jobs()
    assert package == "polars"
    assert list(columns) == [f.name for f in fields(records.JobRecord)]
    assert len({len(values) for values in columns.values()}) == 1
    assert columns["seeds"][0].startswith("["), "lists are JSON: a frame has no lists"
    fake_package(monkeypatch, "pandas")
    assert Lab(lab).kappa()[0] == "pandas"


def test_a_lab_without_rows_has_every_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_or_open(tmp_path / "new.db")
    fake_package(monkeypatch, "pandas")
    with Lab(tmp_path / "new.db") as lab:
        for table, record in TABLES.items():
            columns = getattr(lab, table)()[1]
            assert columns == {f.name: [] for f in fields(record)}, table
        assert "no jobs" in lab._repr_html_()


def test_a_loss_that_nobody_told_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program tells one number: its curves have no training loss, and are equal to themselves."""
    monkeypatch.setattr(StoredLab, "curve", lambda *_: Curve((1,), (math.nan,), (0.5,)))
    first, second = (Lab(DEMO, frames="rows").curves(1) for _ in range(2))
    assert {row.train for row in first} == {None}
    assert first == second


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_real_frames_hold_the_rows(lab: Path, package: Any) -> None:
    pytest.importorskip(package)
    found = Lab(lab, frames=package).jobs()
    plain = Lab(lab, frames="rows").jobs()
    assert list(found["hash"]) == [job.hash for job in plain]
    assert list(found.columns) == [f.name for f in fields(records.JobRecord)]


def test_mistakes_are_sentences(lab: Path, tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"none\.db"):
        Lab(tmp_path / "none.db")
    with pytest.raises(ValueError, match="frames is 'excel'"):
        Lab(lab, frames="excel")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="read-only"):
        Lab(lab).submit(SPEC)
    with pytest.raises(ValueError, match="read-only"):
        Lab(lab).run()
    made = Lab(tmp_path / "made.db", read_only=False)
    wrong: tuple[dict[str, Any], ...] = (
        {},
        {"sweep": 3},
        {"name": object()},
        {"job": {"task": []}},
        {"name": float("nan"), "sweep": []},
    )
    for spec in wrong:
        with pytest.raises(ValueError):
            made.submit(spec)
    with pytest.raises(ValueError, match="no preset"):
        made.submit("nothing")
    assert not (tmp_path / "made.db").exists(), "a spec that is wrong makes no lab"
    with pytest.raises(LabError, match="there is no job 'zz'"):
        Lab(lab, read_only=False).wait("zz")


def test_from_a_dict_to_kappa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABTUI_TRAINER", "tests.support.standin:Trainer")
    monkeypatch.setenv("STANDIN_EVAL_S", "0")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with Lab(tmp_path / "lab.db", read_only=False, frames="rows") as lab:
        done = lab.submit(SPEC)
        assert done.new == len(done.jobs) == 4
        assert lab.submit(SPEC).reused == 4
        lab.run(devices="cpu", slots=1)
        assert {job.state for job in lab.jobs()} == {"done"}
        (cell,) = lab.kappa()
        assert cell.kappa_status in ("complete", "upper_bound", "lower_bound", "unknown")
        lab.wait()
        lab.figure("bracket", tmp_path / "out.svg", job=done.jobs[0], dark=True)
        assert (tmp_path / "out.svg").read_text().startswith("<?xml")
        with pytest.raises(ValueError, match="--slots is 0"):
            lab.run(slots=0)


def test_a_notebook_shows_letters_alone(lab: Path) -> None:
    fill(lab, "<script>alert(1)</script>", texts_only=True)
    shown = Lab(lab)._repr_html_()
    assert "<script" not in shown
    assert "&lt;script" in shown
    lab.write_bytes(b"no lab" * 1000)
    broken = Lab(lab, read_only=False)
    assert "<table" not in broken._repr_html_()


@pytest.mark.parametrize("value", [None, "[" * 300, 2**63 - 1, float("inf"), b"\xff"])
def test_a_lab_with_wrong_values_gives_rows_or_a_sentence(lab: Path, value: object) -> None:
    fill(lab, value, texts_only=False)
    for table in TABLES:
        problem = ""
        try:
            with Lab(lab, frames="rows") as found:
                getattr(found, table)()
        except LabError as error:
            problem = str(error)
        assert "\n" not in problem


def test_importing_labtui_stays_light() -> None:
    code = (
        "import sys, labtui; print([m for m in sys.modules if m.startswith(('labtui.', 'store', 'sqlite'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "['labtui.version']\n"


def test_the_page_says_what_the_docstrings_say() -> None:
    """Else: python docs/make_api.py."""
    command = [sys.executable, "docs/make_api.py", "--check"]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == 0
