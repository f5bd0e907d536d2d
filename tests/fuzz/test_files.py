"""Lab files, their WALs and their schemas, and checkpoints, spoilt: clean rows or one sentence."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st

from runners.engine import checkpoint
from runners.engine.device import kernels
from runners.engine.trials import Trials
from store import commands
from tests.fuzz import contracts, walfile
from tests.fuzz.spoil import LEAVES, as_json, spoilt, spoilt_tree
from tests.fuzz.trying import try_all
from tests.store.test_lab_hostile import columns
from tests.support.fakelab import small_lab

pytestmark = pytest.mark.timeout(7200)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_lab(tmp_path_factory.mktemp("made") / "lab.db")


@pytest.fixture(scope="module")
def whole(made: Path) -> bytes:
    return made.read_bytes()


@pytest.fixture(scope="module")
def wal(made: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a command leaves in the WAL while somebody has the lab open."""
    path = tmp_path_factory.mktemp("wal") / "lab.db"
    path.write_bytes(made.read_bytes())
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM job").fetchall()
        for job in (1, 2, 3):
            commands.note(path, [job], "a note")
        return path.with_name("lab.db-wal").read_bytes()


def test_lab_files(tried: Counter[str], whole: bytes, tmp_path: Path) -> None:
    contracts.quietly(contracts.lab, whole, tmp_path)
    contracts.quietly(contracts.lab, whole[:-5000], tmp_path)
    words = [
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x01",
        b"\x0d",
        b"\x05",
        b"\x02",
        b"CREATE",
        b"[" * 900,
    ]
    try_all(tried, "lab files", spoilt([whole], words), lambda data: contracts.lab(data, tmp_path), 8)


def test_wals(tried: Counter[str], whole: bytes, wal: bytes, tmp_path: Path) -> None:
    assert len(wal) > 4096
    assert walfile.sign(wal)[32:] != wal[32:64] * (len(wal) // 32)
    contracts.quietly(contracts.lab, whole, tmp_path)
    contracts.lab(whole, tmp_path, walfile.sign(wal))
    spoilt_wal = spoilt([wal])
    inputs = spoilt_wal.map(walfile.sign) | spoilt_wal | st.binary(max_size=100)
    try_all(tried, "WAL files", inputs, lambda data: contracts.lab(whole, tmp_path, data), 4)


TRAPS = (
    "CREATE VIEW trap AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT x FROM r",
    "CREATE TRIGGER trap AFTER INSERT ON command BEGIN DELETE FROM trial; END",
    "CREATE TABLE trap (x)",
    "CREATE TABLE trap (x AS (printf('%.*c', 60000000, 'x')))",
    "CREATE VIRTUAL TABLE trap USING fts5(x)",
    "CREATE VIRTUAL TABLE trap USING rtree(id, a, b)",
    "CREATE VIRTUAL TABLE trap USING dbstat",
    "CREATE INDEX trap ON job (name || 'x')",
    "CREATE INDEX trap ON job (id) WHERE name LIKE '%a%a%a%a%a%a%a%a%b'",
    "ALTER TABLE job ADD COLUMN trap AS (printf('%.*c', 60000000, 'x'))",
    "ALTER TABLE job RENAME COLUMN name TO trap",
    "ALTER TABLE job DROP COLUMN notes",
    "ALTER TABLE probe RENAME TO trap",
    "UPDATE sqlite_master SET sql = replace(sql, 'name VARCHAR NOT NULL', "
    "'name AS (hex(zeroblob(30000000)))')",
    "UPDATE sqlite_master SET sql = replace(sql, 'VARCHAR', 'VARCHAR COLLATE nobody''s')",
    "UPDATE sqlite_master SET sql = replace(sql, 'CREATE TABLE', "
    "'CREATE /*' || hex(zeroblob(50)) || '*/ VIRTUAL TABLE')",
    "UPDATE sqlite_master SET sql = replace(sql, ')', '') WHERE rowid % 3 = 0",
    "UPDATE sqlite_master SET rootpage = 2",
    "UPDATE sqlite_master SET rootpage = 0",
    "UPDATE sqlite_master SET rootpage = (rootpage * 7) % 30 + 1",
    "UPDATE sqlite_master SET name = upper(name)",
    "UPDATE sqlite_master SET tbl_name = 'job'",
    "PRAGMA user_version = 99",
    "PRAGMA user_version = -5",
    "PRAGMA user_version = 0",
    "PRAGMA application_id = 1",
    "PRAGMA encoding = 'UTF-16'",
    "PRAGMA journal_mode = DELETE",
)
"""What a hostile hand may do to a lab's schema; any of them may fail."""


def test_schemas_and_values(tried: Counter[str], whole: bytes, tmp_path: Path) -> None:
    place = tmp_path / "other" / "lab.db"
    place.parent.mkdir()
    folder = tmp_path / "folder"
    folder.mkdir()

    def contract(changes: list[tuple[str, tuple[Any, ...]]]) -> None:
        place.write_bytes(whole)
        with closing(sqlite3.connect(place, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA writable_schema = ON")
            for statement, values in changes:
                try:
                    connection.execute(statement, values)
                except (sqlite3.Error, OverflowError, UnicodeEncodeError):
                    continue
        contracts.lab(place.read_bytes(), folder)

    assignment = st.tuples(
        st.sampled_from(columns()), LEAVES | st.binary(max_size=20), st.integers(0, 3)
    ).map(_assignment)
    change = st.sampled_from([(trap, ()) for trap in TRAPS]) | assignment
    contracts.quietly(contracts.lab, whole, folder)
    try_all(tried, "lab schemas and values", st.lists(change, min_size=1, max_size=6), contract, 8)


def _assignment(drawn: tuple[tuple[str, str], Any, int]) -> tuple[str, tuple[Any, ...]]:
    (table, column), value, rest = drawn
    value = str(value) if isinstance(value, list | dict) else value
    rows = f" WHERE rowid % 4 = {rest}" if table not in ("cell_part", "study_job") else ""
    return f'UPDATE OR IGNORE {table} SET "{column}" = ?{rows}', (value,)


def run_state() -> dict[str, Any]:
    """What the checkpoint of a small run says, as ``runners.engine.checkpoint`` writes it."""
    return {
        "version": checkpoint.VERSION,
        "identity": contracts.IDENTITY,
        "kind": "cpu",
        "plan": {"device": "cpu", "members_at_once": 2, "threads": 1, "kernels": kernels("cpu", 1)},
        "batch": 2,
        "trials": Trials(contracts.MEMBERS, 100).dump(),
        "batches": [{"slots": [0, 1], "live": [True, True], "steps": [10, 10], "marks": [20, 20]}],
    }


def tensors() -> dict[str, torch.Tensor]:
    parts = {f"0.{name}": torch.zeros(2, 3) for name in ("params", "mean", "square", "best")}
    return {**parts, "0.loss": torch.zeros(2, dtype=torch.float64)}


def content(**changed: Any) -> dict[str, Any]:
    """The JSON of that checkpoint."""
    return {"state": {**run_state(), **changed}, "tensors": checkpoint._table(tensors())[0]}


def checkpoint_file(tree: Any) -> bytes:
    """A whole checkpoint that says this, its checksum right."""
    text, body = as_json(tree), b"".join(checkpoint._pieces(tensors()))
    return contracts.sign(
        checkpoint._HEAD.pack(checkpoint._MAGIC, len(text), len(body), bytes(32)) + text + body
    )


def test_checkpoints(tried: Counter[str], tmp_path: Path) -> None:
    seed = checkpoint_file(content())
    contracts.quietly(contracts.saved, seed, tmp_path)
    contracts.quietly(contracts.saved, contracts.sign(seed[:-50]), tmp_path)
    assert checkpoint.latest(tmp_path, contracts.IDENTITY, "cpu", Trials(contracts.MEMBERS, 100))[0] is None
    tmp_path.joinpath("checkpoint-00000001.labtui").write_bytes(seed)
    assert (
        checkpoint.latest(tmp_path, contracts.IDENTITY, "cpu", Trials(contracts.MEMBERS, 100))[0] is not None
    )

    def contract(data: bytes) -> None:
        contracts.saved(data, tmp_path)

    damaged = spoilt(
        [seed], [b"\xff" * 8, bytes(8), b"int64", b"-1", b"[9,9]", b"[]", b"1e999", b"9" * 30, b"[" * 900]
    )
    try_all(tried, "checkpoints", damaged, contract, 10)
    try_all(tried, "signed checkpoints", damaged.map(contracts.sign), contract, 15)
    try_all(tried, "signed checkpoints", spoilt_tree([content()]).map(checkpoint_file), contract, 15)
