"""Lab files that nobody may trust: every answer is a clean row or a LabError."""

from __future__ import annotations

# ruff: noqa: PT017 - any of many calls may refuse
import math
import random
import sqlite3
from contextlib import closing
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import curves
from store import decode as d
from store.check import check
from store.connect import TABLES
from store.errors import LabError
from store.filters import Condition
from store.read import Lab, open_lab
from store.rows import Curve
from tests.store.lab_steps import sql
from tests.support.fakelab import small_lab

HOSTILE: tuple[object, ...] = (
    None,
    "",
    "x" * 3_000,
    "[red]\x1b[31m\x00\u202e",
    b"\xff\xfe\x00",
    "[" * 5000,
    '{"a": NaN}',
    "[1e999, -1e999, 0]",
    -1,
    0,
    2**63 - 1,
    -(2**63),
    1.5,
    1e308,
    float("inf"),
    float("-inf"),
    "9" * 400,
)


@pytest.fixture(scope="module")
def seed_lab(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = small_lab(tmp_path_factory.mktemp("seed") / "lab.db")
    return path.read_bytes()


def ask_everything(lab: Lab) -> list[Any]:
    """Every view; each may refuse with a LabError."""
    out: list[Any] = []

    def ask(view: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            found = view(*args, **kwargs)
        except LabError as error:
            assert "\n" not in str(error)
            return []
        out.append(found)
        return found

    ids = list(ask(lab.job_ids, archived=None))[:40]
    ask(lab.job_ids, [Condition("tag", "=", "x"), Condition("L", ">", 2)], order="-n")
    for job in [*ask(lab.jobs), *ask(lab.jobs, ids)][:20]:
        ask(lab.job, job.id)
        ask(lab.job_spec, job.id)
        ask(lab.provenance, job.id)
        ask(lab.studies_of, job.id)
        for probe in ask(lab.probes, job.id)[:3]:
            ask(lab.trials, probe_id=probe.id)
            ask(lab.curves, probe.id)
    trials = list(ask(lab.trial_ids, order="-best_loss"))[:40]
    ask(lab.trials_by_id, trials)
    ask(lab.curve, 1)
    for view in (
        lab.cells,
        lab.studies,
        lab.counts,
        lab.events,
        lab.last_event_id,
        lab.devices,
        lab.supervisor,
        lab.speed,
    ):
        ask(view)
    for view in (lab.pending_commands, lab.holding, lab.data_version):
        ask(view)
    ask(lab.command, 1)
    return out


@cache
def promised(row: type) -> list[tuple[str, tuple[type, ...]]]:
    """Each field of a row with the types that it may have; none where it is no plain one."""
    kinds = {"int": int, "float": float, "str": str, "bool": bool, "None": type(None)}
    found = []
    for field in fields(row):
        options = [k.strip() for k in str(field.type).split("|")]
        plain = all(o in kinds for o in options)
        found.append((field.name, tuple(kinds[o] for o in options) if plain else ()))
    return found


def assert_clean(value: Any, annotation: str = "") -> None:
    """No infinite or undefined number outside a curve, every field of the type that its row promises."""
    if isinstance(value, Curve):
        return
    if is_dataclass(value):
        kind: type = type(value)
        for name, allowed in promised(kind):
            found = getattr(value, name)
            assert not allowed or isinstance(found, allowed), (name, found)
            if not isinstance(found, int | str):
                assert_clean(found)
    elif isinstance(value, float):
        assert math.isfinite(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            assert_clean(key)
            if not isinstance(item, float):  # a provenance is a document of any content
                assert_clean(item)
    elif isinstance(value, list | tuple):
        for item in value:
            assert_clean(item)


def columns() -> list[tuple[str, str]]:
    from store.schema import METADATA

    return [(table, column.name) for table in TABLES for column in METADATA.tables[table].columns]


@pytest.mark.parametrize("table", TABLES)
def test_wrong_values_in_every_column(table: str, seed_lab: bytes, tmp_path: Path) -> None:
    path = tmp_path / "lab.db"
    for number, value in enumerate(HOSTILE):
        path.write_bytes(seed_lab)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        changed = 0
        for owner, column in columns():
            if owner == table:
                try:
                    connection.execute(
                        f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid % 2 = ?", (value, number % 2)
                    )
                    changed += 1
                except sqlite3.Error:  # NOT NULL, WITHOUT ROWID, an integer key
                    try:
                        connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
                    except sqlite3.Error:
                        continue
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        with open_lab(path, read_only=True) as lab:
            assert_clean(ask_everything(lab))
        try:
            found = check(path)
        except LabError:
            continue
        assert all("\n" not in problem or len(problem) < 10_000 for problem in found)


def test_flipped_bits_and_cut_files(seed_lab: bytes, tmp_path: Path) -> None:
    rng = random.Random(7)
    path = tmp_path / "lab.db"
    for trial in range(60):
        data = bytearray(seed_lab)
        if trial % 3 == 0:
            del data[rng.randrange(100, len(data)) :]
        for _ in range(rng.choice((1, 5, 200))):
            data[rng.randrange(100 if trial % 5 else 0, len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data))
        try:
            with open_lab(path, read_only=True) as lab:
                assert_clean(ask_everything(lab))
            check(path)
        except LabError as error:
            assert "\n" not in str(error)


def test_missing_tables_and_columns(seed_lab: bytes, tmp_path: Path) -> None:
    path = tmp_path / "lab.db"
    for table in TABLES:
        path.write_bytes(seed_lab)
        sql(path, "PRAGMA foreign_keys = OFF")
        sql(path, f"DROP TABLE {table}")
        with pytest.raises(LabError, match=f"the table '{table}' is missing"):
            open_lab(path)
    path.write_bytes(seed_lab)
    sql(path, "ALTER TABLE job DROP COLUMN notes")
    sql(path, "ALTER TABLE trial DROP COLUMN wall_s")
    with open_lab(path) as lab:
        assert_clean(ask_everything(lab))
        assert lab.jobs()[0].notes == ""


@pytest.mark.parametrize(
    "trap",
    [
        "CREATE VIEW trap AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT x FROM r",
        "CREATE TRIGGER trap AFTER INSERT ON command BEGIN DELETE FROM trial; END",
        "CREATE VIRTUAL TABLE trap USING fts5(x)",
        "CREATE TABLE trap (x, y AS (hex(zeroblob(30000000))))",
        "CREATE TABLE trap (x CHECK (x LIKE '%a%a%a%a%a%b'))",
        "CREATE TABLE trap (x DEFAULT (hex(zeroblob(30000000))))",
        "CREATE INDEX trap ON job (name || 'x')",
        'CREATE INDEX trap ON job ("upper"(name))',
        "CREATE INDEX trap ON job (id) WHERE name LIKE '%a%a%a%a%a%a%a%b'",
        ";".join(["PRAGMA writable_schema = ON", *[f"CREATE TABLE t{i} (x)" for i in range(1_000)]])
        + ";CREATE TRIGGER trap AFTER INSERT ON command BEGIN DELETE FROM trial; END",
        "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 0, "
        "sql = 'CREATE /* ' || hex(zeroblob(50)) || "
        "' */ VIRTUAL TABLE speed USING fts5(x)' WHERE name = 'speed'",
    ],
)
def test_code_in_the_schema_is_refused(seed_lab: bytes, tmp_path: Path, trap: str) -> None:
    from store import commands
    from store.write import Writer

    path = tmp_path / "lab.db"
    path.write_bytes(seed_lab)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(trap)
        connection.commit()
    for use in (lambda: open_lab(path), lambda: commands.hold(path), lambda: Writer(path)):
        with pytest.raises(LabError, match=r"which no lab has|more than|is damaged"):
            use()


values = st.one_of(
    st.none(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=50),
    st.binary(max_size=50),
)


@given(values)
def test_every_decoder_keeps_its_promise(value: object) -> None:
    assert type(d.integer(value)) is int
    assert math.isfinite(d.real(value))
    loss = d.maybe_real(value)
    assert loss is None or math.isfinite(loss)
    assert isinstance(d.text(value), str)
    assert d.one_of("a", "b")(value) in ("a", "b")
    assert isinstance(d.texts(value), tuple)
    d.interval(value)
    d.document(value)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_curve_or_none(blob: bytes) -> None:
    found = curves.decode(blob)
    if found is not None:
        assert len(found.steps) == len(found.train) == len(found.validation)
        assert len(found.exact) in (0, len(found.steps))
        assert list(found.steps) == sorted(set(found.steps))


losses = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(
    st.lists(st.tuples(st.integers(0, 2**50), losses, losses), max_size=200, unique_by=lambda p: p[0]),
    st.booleans(),
)
def test_thinning_keeps_first_best_and_last(points: list[tuple[int, float, float]], told: bool) -> None:
    """``told``: which losses are those of the whole set; the best is looked for among them."""
    points.sort()
    exact = tuple(p[0] % 3 > 0 for p in points) if told else ()
    curve = Curve(
        tuple(p[0] for p in points), tuple(p[1] for p in points), tuple(p[2] for p in points), exact
    )
    stored = curves.decode(curves.encode(curve))
    if not points:
        assert stored == Curve((), (), ())
        return
    assert stored is not None
    assert len(stored.steps) == min(32, len(points))
    assert (stored.steps[0], stored.steps[-1]) == (points[0][0], points[-1][0])
    assert set(stored.steps) <= set(curve.steps)
    whole = dict(zip(curve.steps, exact, strict=False))
    assert stored.exact == tuple(whole[s] for s in stored.steps if told)
    assert [s for s, _ in stored.estimates()] == [s for s in stored.steps if not whole.get(s, True)]
    finite = [v for s, _, v in points if whole.get(s, True) and not math.isnan(v)]
    if finite:
        assert min(finite) in stored.validation
    kept = {s: (t, v) for s, t, v in zip(stored.steps, stored.train, stored.validation, strict=True)}
    for s, t, v in points:
        if s in kept:
            assert repr(kept[s]) == repr((t, v))
