"""Schemas: the migrations make what the models say;
an older lab is upgraded whole, with a checked backup, or not at all.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlmodel import SQLModel

from store import connect, schema
from store.check import check
from store.errors import LabError
from store.locks import SupervisorLock
from store.migrations import SCRIPTS
from store.paths import LabPaths
from store.read import open_lab
from store.snapshot import backup, snapshot, vacuum
from store.write import Writer, create_or_open, lab, probes, upgrade
from store.write.submit import NEW_JOB
from tests.store.lab_steps import assert_sound, begin, finish, sql, start

FIRST = Path(__file__).parent / "fixtures" / "schema-1.sql"
NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("job") as batch:
        batch.add_column(sa.Column("added", sa.String(), nullable=False, server_default="x"))
    {more}
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The migrations, and one more."""
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    for source in (SCRIPTS / "env.py", *SCRIPTS.glob("versions/0*.py")):
        (folder / source.relative_to(SCRIPTS)).write_text(source.read_text())
    (folder / "versions" / "0002_next.py").write_text(NEXT.format(more="pass"))
    return folder


@pytest.mark.parametrize(
    ("model", "begins"),
    [
        (schema.Probe, probes.NEW_PROBE),
        (schema.Trial, probes.NEW_TRIAL),
        (schema.Supervisor, lab.NEW_SUPERVISOR),
        (schema.Job, NEW_JOB),
    ],
)
def test_rows_begin_as_the_schema_says(model: type[SQLModel], begins: dict[str, object]) -> None:
    """These are written without SQLModel, which a supervisor need not load."""
    defaults = {
        name: field.default
        for name, field in model.model_fields.items()
        if not field.is_required() and name != "id"
    }
    given = {
        schema.Probe: {"speculative", "device", "slot"},
        schema.Job: {"m", "flags"},
        schema.Supervisor: {"epoch"},
    }.get(model, set())
    assert begins == {name: value for name, value in defaults.items() if name not in given}


def shape(path: Path) -> set[tuple[str, str]]:
    rows = sql(
        path, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'"
    )
    return {(name, " ".join(text.replace('"', "").split())) for name, text in rows}


def test_constants_that_stand_in_two_places_agree() -> None:
    assert set(connect.TABLES) == set(schema.METADATA.tables)
    assert list(schema.REVISIONS) == list(range(1, connect.SCHEMA + 1))


def test_the_migrations_make_what_the_models_say(lab: Path, tmp_path: Path) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{tmp_path / 'models.db'}")
    schema.METADATA.create_all(engine)
    engine.dispose()

    def columns(path: Path) -> dict[str, object]:
        names = [
            r[0]
            for r in sql(
                path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'alembic_version'"
            )
        ]
        return {name: sorted(tuple(r[1:]) for r in sql(path, f"PRAGMA table_info({name})")) for name in names}

    def indices(path: Path) -> set[tuple[str, str]]:
        return {row for row in shape(path) if row[1].startswith("CREATE") and "INDEX" in row[1]}

    assert columns(lab) == columns(tmp_path / "models.db")
    assert indices(lab) == indices(tmp_path / "models.db")


def test_the_first_schema_opens_and_comes_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(FIRST.read_text("utf-8"))
    connection.close()
    with open_lab(path, read_only=True) as reader:
        jobs, cells = reader.jobs(), reader.cells()
        assert len(jobs) == 6
        assert len(cells) == 2
    create_or_open(path)
    with open_lab(path) as reader:
        assert reader.schema == connect.SCHEMA
        assert (reader.jobs(), reader.cells()) == (jobs, cells)
    assert check(path) == []


def test_an_upgrade_keeps_everything_and_a_checked_backup(writer: Writer, lab: Path, scripts: Path) -> None:
    start(writer)
    with writer.transaction() as tx:
        finish(tx, begin(tx, 1, 8), True)
    writer.close()
    tables = ("job_text", "probe", "trial", "curve", "event", "cell_part")
    before = {t: sql(lab, f"SELECT * FROM {t}") for t in tables}
    old_shape = shape(lab)
    saved = upgrade(lab, schema=2, scripts=scripts, revision="0002")
    assert saved is not None
    assert sql(lab, "PRAGMA user_version") == [(2,)]
    assert sql(lab, "SELECT DISTINCT added FROM job") == [("x",)]
    assert {t: sql(lab, f"SELECT * FROM {t}") for t in tables} == before
    assert {name for name, _ in shape(lab)} == {name for name, _ in old_shape}  # every index is there again
    assert shape(saved) == old_shape
    assert sql(saved, "PRAGMA user_version") == [(1,)]
    assert saved.stat().st_mode & 0o777 == 0o600
    assert_sound(saved)


def test_an_upgrade_that_fails_changes_nothing(lab: Path, scripts: Path) -> None:
    (scripts / "versions" / "0002_next.py").write_text(
        NEXT.format(more="op.execute('SELECT nonsense FROM nowhere')")
    )
    before = shape(lab), sql(lab, "SELECT * FROM job")
    with pytest.raises(LabError):
        upgrade(lab, schema=2, scripts=scripts, revision="0002")
    assert (shape(lab), sql(lab, "SELECT * FROM job")) == before
    assert sql(lab, "PRAGMA user_version") == [(1,)]
    assert_sound(lab)


def test_no_upgrade_under_a_living_supervisor(lab: Path, scripts: Path) -> None:
    held = SupervisorLock.acquire(LabPaths(lab))
    with pytest.raises(LabError, match="daemon stop"):
        upgrade(lab, schema=2, scripts=scripts, revision="0002")
    with pytest.raises(LabError, match="daemon stop"):
        vacuum(lab)
    held.release()
    assert vacuum(lab)[1] > 0


def test_snapshots_and_backups_of_a_live_lab_are_whole(writer: Writer, lab: Path, tmp_path: Path) -> None:
    with writer.transaction() as tx:
        tx.event("only in the wal", "")
    out = snapshot(lab, tmp_path / "out.db")
    for copy in (out, backup(lab)):
        assert copy.stat().st_mode & 0o777 == 0o600
        assert not copy.with_name(copy.name + "-wal").exists()
        with open_lab(copy, read_only=True) as reader:
            assert reader.events()[-1].kind == "only in the wal"
        assert_sound(copy)
    with pytest.raises(LabError, match="is there already"):
        snapshot(lab, out)
    with pytest.raises(LabError, match="the lab itself"):
        snapshot(lab, lab, overwrite=True)
    assert not list(tmp_path.glob(".*part"))
