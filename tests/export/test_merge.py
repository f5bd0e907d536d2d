"""``labtui merge``: a lab that was split and merged again is the whole; conflicts are named."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labtui import Lab
from tests.cli.conftest import Labtui

DEMO = Path(__file__).resolve().parents[2] / "docs" / "labs" / "demo.db"
OWN = {"id", "job_id", "probe_id", "trial_id", "joint_job_id", "study_id"}
"""Numbers of a file's own."""
TABLES = ("jobs", "probes", "trials", "curves", "kappa", "cells")


def content(path: Path) -> dict[str, list[Any]]:
    with Lab(path, frames="rows") as lab:
        return {
            table: sorted(
                repr({f.name: getattr(row, f.name) for f in fields(row) if f.name not in OWN})
                for row in getattr(lab, table)()
            )
            for table in TABLES
        }


def untrained(path: Path, out: Path, hashes: set[str]) -> None:
    """A copy in which these searches have not begun."""
    shutil.copy(path, out)
    out.chmod(0o600)
    with closing(sqlite3.connect(out)) as connection, connection:
        for digest in hashes:
            (job,) = connection.execute("SELECT id FROM job WHERE hash = ?", (digest,)).fetchone()
            inner = "SELECT id FROM trial WHERE job_id = ?"
            connection.execute(f"DELETE FROM curve WHERE trial_id IN ({inner})", (job,))
            for table in ("trial", "probe", "event"):
                connection.execute(f"DELETE FROM {table} WHERE job_id = ?", (job,))
            connection.execute(
                "UPDATE job SET state = 'queued', status = 'open', lo = 0, hi = NULL, candidates = 0, "
                "best_loss = NULL, progress = 0, started_at = NULL, finished_at = NULL, wall_s = 0, "
                "device_s = 0, member_steps = 0, generalisation = NULL WHERE id = ?",
                (job,),
            )
            connection.execute("UPDATE job_text SET provenance = '{}' WHERE job_id = ?", (job,))


HASHES = [job.hash for job in Lab(DEMO, frames="rows").jobs()]


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=st.sets(st.sampled_from(HASHES)))
def test_what_was_split_is_whole_again(labtui: Labtui, tmp_path: Path, first: set[str]) -> None:
    for name in ("a.db", "b.db", "c.db"):
        (tmp_path / name).unlink(missing_ok=True)
    untrained(DEMO, tmp_path / "a.db", first)
    untrained(DEMO, tmp_path / "b.db", set(HASHES) - first)
    answer = labtui("merge", "a.db", "b.db", "-o", "c.db")
    assert answer.code == 0, answer.err
    assert f"0 searches new, {len(HASHES)} known to both ({len(first)} farther along" in answer.err
    assert content(tmp_path / "c.db") == content(DEMO)
    with closing(sqlite3.connect(tmp_path / "c.db")) as connection, closing(sqlite3.connect(DEMO)) as whole:
        count = "SELECT count(*) FROM event"
        assert connection.execute(count).fetchone() == whole.execute(count).fetchone()


def test_two_labs_with_nothing_in_common(labtui: Labtui, lab: Path) -> None:
    before = lab.read_bytes()
    answer = labtui("merge", "lab.db", str(DEMO), "-o", "c.db")
    assert answer.code == 0, answer.err
    for one, two in ((content(lab), content(DEMO)),):
        found = content(Path("c.db"))
        for table in ("kappa", "cells"):
            assert found[table] == sorted(one[table] + two[table])
        assert len(found["jobs"]) == len(one["jobs"]) + len(two["jobs"])
    assert lab.read_bytes() == before
    again = labtui("merge", "c.db", "lab.db", "-o", "d.db")
    assert again.code == 0, again.err
    assert content(Path("d.db")) == content(Path("c.db")), "merging what is there changes nothing"
    assert labtui("merge", "c.db", "lab.db", "-o", "d.db").code == 2
    assert labtui("merge", "c.db", "none.db", "-o", "e.db").code == 2
    assert not [p.name for p in Path().iterdir() if p.name.startswith(".merge")]


def test_conflicts_are_named_and_nothing_is_written(labtui: Labtui, tmp_path: Path) -> None:
    shutil.copy(DEMO, tmp_path / "b.db")
    (tmp_path / "b.db").chmod(0o600)
    with closing(sqlite3.connect(tmp_path / "b.db")) as connection, connection:
        connection.execute("UPDATE job SET hi = hi + 1 WHERE id = 7")
        connection.execute("UPDATE probe SET verdict = NOT verdict WHERE id = 1")
    answer = labtui("merge", str(DEMO), "b.db", "-o", "c.db")
    assert answer.code == 1
    assert "(13, 14] bracket and (13, 15] bracket" in answer.err
    assert "N = 8 was learned in one lab alone" in answer.err
    assert answer.err.splitlines()[-1] == "labtui: 2 conflicts between the two labs; nothing was written"
    assert not Path("c.db").exists()


def test_what_one_copy_has_alone_is_kept(labtui: Labtui, tmp_path: Path) -> None:
    """A candidate of one lab that the finished search of the other never asked for."""
    shutil.copy(DEMO, tmp_path / "a.db")
    (tmp_path / "a.db").chmod(0o600)
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("UPDATE job SET state = 'queued', status = 'open', candidates = 0 WHERE id = 14")
        connection.execute("UPDATE probe SET turn = NULL, speculative = 1 WHERE job_id = 14")
        moved = "SELECT id FROM probe WHERE job_id = 14 AND ordinal = 2"
        connection.execute(f"UPDATE trial SET n = n + 1000 WHERE probe_id IN ({moved})")
        connection.execute("UPDATE probe SET n = n + 1000 WHERE job_id = 14 AND ordinal = 2")
    for order in (("a.db", str(DEMO)), (str(DEMO), "a.db")):
        Path("c.db").unlink(missing_ok=True)
        answer = labtui("merge", *order, "-o", "c.db")
        assert answer.code == 0, answer.err
        assert "1 candidates added" in answer.err
        with Lab("c.db", frames="rows") as merged, Lab(DEMO, frames="rows") as whole:
            job = next(j for j in merged.jobs() if j.hash == HASHES[13])
            assert job == next(j for j in whole.jobs() if j.hash == HASHES[13])
            extra = [p for p in merged.probes() if p.job_hash == job.hash and p.speculative]
            assert [p.n > 1000 for p in extra] == [True]


@pytest.mark.parametrize("which", ["first", "second"])
def test_no_lab_is_a_sentence(labtui: Labtui, tmp_path: Path, which: str) -> None:
    (tmp_path / "bad.db").write_bytes(b"no lab" * 500)
    labs = ("bad.db", str(DEMO)) if which == "first" else (str(DEMO), "bad.db")
    answer = labtui("merge", *labs, "-o", "c.db")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert not Path("c.db").exists()
