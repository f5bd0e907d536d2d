"""Inputs that once broke a promise, kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.pool import checkpoints
from tests.fuzz import contracts
from tests.fuzz.test_files import checkpoint_file, content

DEEP = b"[" * 3_000


@pytest.mark.parametrize(
    ("contract", "data"),
    [
        (contracts.settings, b"theme = " + DEEP + b"]" * 3_000),
        (contracts.settings, b"[keys]\npause = " + str([1] * 5_000).encode()),
        (contracts.settings, b'"' + b"x" * 5_000 + b'" = 1'),
        (contracts.stored, b'{"members": [["7", 1e999, 0.001, 1, 0.001, "probe", false]]}'),
        (contracts.saved, checkpoint_file(content(version="x" * 5_000))),
        (contracts.saved, checkpoint_file(content(batch=float("inf")))),
        (contracts.saved, checkpoint_file(content(ledger=[[]]))),
    ],
    ids=lambda v: getattr(v, "__name__", "") or ascii(v)[:30],
)
def test_it_holds_now(contract: contracts.Contract, data: bytes, tmp_path: Path) -> None:
    contracts.quietly(contract, data, tmp_path)
    contract(data, tmp_path)


def test_a_manifest_that_is_no_text_names_nobody(tmp_path: Path) -> None:
    (tmp_path / checkpoints.NAME).write_bytes(b'\xff\xfe{"members": []}')
    (tmp_path / "checkpoint-00000001.labtui").write_bytes(b"")
    assert checkpoints.members(tmp_path) is None
