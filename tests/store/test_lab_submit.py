"""Submission: every search once, every study once, kappa's cells tied to their jobs."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from runners.spec import load
from store import commands
from store.errors import LabError, NotALab
from store.read import open_lab
from store.write import apply_pending, create_or_open, submit
from tests.store.lab_steps import assert_sound, lone, sql, study


def test_a_study_becomes_jobs_and_cells(lab_path: Path) -> None:
    made = submit(lab_path, study())
    assert (made.study_id, made.new, made.reused, made.requeued, made.jobs) == (1, 5, 0, 0, (1, 2, 3, 4, 5))
    with open_lab(lab_path) as reader:
        cells = reader.cells()
        assert [(c.L, c.min_length, c.task, c.m, c.model_label, c.format) for c in cells] == [
            (3, 2, "Z3", 3, "dense_ssm 8", "acot"),
            (4, 2, "Z3", 3, "dense_ssm 8", "acot"),
        ]
        jobs = {job.id: job for job in reader.jobs()}
        for cell, spec in zip(cells, study().cells(), strict=True):
            assert jobs[cell.joint.job_id].hash == spec.joint.job.hash
            assert cell.joint.n is None
            assert [(p.n, jobs[p.job_id].hash) for p in cell.parts] == [(p.n, p.job.hash) for p in spec.parts]
        # N*_2 and N*_3 serve both cells
        assert cells[0].parts[0] is cells[1].parts[0]
        assert reader.cells(study_id=1) == cells
        assert reader.cells(study_id=2) == []
        assert reader.studies()[0].counts == {"queued": 5}
        assert reader.studies_of(1) == [1]
        assert json.loads(reader.job_spec(1))["format"] == "acot"
        assert reader.job(jobs[1].hash[:8]) == jobs[1]
    assert_sound(lab_path, brackets=True)


def test_the_cells_of_an_open_reader_follow_what_is_submitted_and_done(lab: Path) -> None:
    with open_lab(lab) as reader:
        before = [(c.id, c.joint.state) for c in reader.cells()]
        commands.cancel(lab, [reader.cells()[0].joint.job_id])
        apply_pending(lab)
        submit(lab, study().model_copy(update={"name": "another"}))
        with open_lab(lab) as fresh:
            assert reader.cells() == fresh.cells()
            assert (
                reader.cells(study_id=1)
                == fresh.cells(study_id=1)
                != fresh.cells(study_id=2)
                == reader.cells(study_id=2)
            )
        assert len(reader.cells(every=True)) == 2 * len(before)


def test_the_same_again_changes_nothing(lab: Path) -> None:
    again = submit(lab, study())
    assert (again.study_id, again.new, again.reused, again.requeued, again.jobs) == (
        1,
        0,
        5,
        0,
        (1, 2, 3, 4, 5),
    )
    assert submit(lab, lone()).jobs == (6,)
    renamed = submit(lab, study().model_copy(update={"name": "another"}))
    assert (renamed.study_id, renamed.new) == (2, 0)
    assert submit(lab, study(), jobs_only=True).study_id is None
    with open_lab(lab) as reader:
        # the same searches are one kappa, however many studies ask for it
        assert len(reader.cells(every=True)) == 4
        assert reader.cells() == reader.cells(study_id=1)
        assert [c.id for c in reader.cells(study_id=2)] == [3, 4]
        assert reader.counts() == {"queued": 6}


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_what_was_given_up_is_queued_again(lab: Path, verb: str) -> None:
    getattr(commands, verb)(lab, [1, 2])
    apply_pending(lab)
    made = submit(lab, study())
    assert (made.new, made.reused, made.requeued) == (0, 3, 2)
    with open_lab(lab) as reader:
        assert reader.counts() == {"queued": 6}
    assert_sound(lab)


def test_a_higher_priority_counts_for_known_jobs_too(lab: Path) -> None:
    submit(lab, study().model_copy(update={"priority": 7}))
    submit(lab, study().model_copy(update={"priority": -7}))
    with open_lab(lab) as reader:
        assert {job.priority for job in reader.jobs([1, 2, 3, 4, 5])} == {7}


def test_every_preset_can_be_queued(lab_path: Path) -> None:
    for name in ("quick", "demo"):
        made = submit(lab_path, load(name))
        assert made.new > 0
    assert_sound(lab_path)


def test_files_are_for_their_owner_alone(lab: Path) -> None:
    folder = lab.with_name(lab.name + ".d")
    assert stat.S_IMODE(lab.stat().st_mode) == 0o600
    for part in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
        assert stat.S_IMODE(part.stat().st_mode) == 0o700
    for part in (p for p in folder.rglob("*") if p.is_file()):
        assert stat.S_IMODE(part.stat().st_mode) == 0o600


def test_a_new_lab_appears_whole_and_names_with_odd_letters_are_fine(tmp_path: Path) -> None:
    odd = tmp_path / "a b%20?#'ü.db"
    submit(odd, lone())
    with open_lab(odd) as reader:
        assert len(reader.jobs()) == 1
    assert {p.name for p in tmp_path.iterdir()} >= {odd.name, odd.name + ".d"}
    assert not list(odd.with_name(odd.name + ".d").glob("new-*"))
    (tmp_path / "empty.db").touch()
    create_or_open(tmp_path / "empty.db")
    with open_lab(tmp_path / "empty.db") as reader:
        assert reader.counts() == {}


def test_places_where_no_lab_can_be(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="there is no folder"):
        submit(tmp_path / "none" / "lab.db", lone())
    (tmp_path / "text.db").write_text("hello")
    with pytest.raises(NotALab, match="no SQLite database"):
        submit(tmp_path / "text.db", lone())
    assert (tmp_path / "text.db").read_text() == "hello"
    foreign = tmp_path / "foreign.db"
    sql(foreign, "CREATE TABLE t (x)")
    before = foreign.read_bytes()
    with pytest.raises(NotALab, match="another program's"):
        submit(foreign, lone())
    assert foreign.read_bytes() == before
    with pytest.raises(NotALab, match="is not a file"):
        submit(tmp_path, lone())
