"""Inputs that once broke a promise, kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.pool import checkpoints
from runners.spec import SpecError, parse
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
        (contracts.saved, checkpoint_file(content(version="a\nb"))),
        (contracts.saved, checkpoint_file(content(batch=float("inf")))),
        (contracts.saved, checkpoint_file(content(ledger=[[]]))),
    ],
    ids=lambda v: getattr(v, "__name__", "") or ascii(v)[:30],
)
def test_it_holds_now(contract: contracts.Contract, data: bytes, tmp_path: Path) -> None:
    contracts.quietly(contract, data, tmp_path)
    contract(data, tmp_path)


def problem(text: str, folder: Path) -> str:
    with pytest.raises(SpecError) as caught:
        parse(text, source="x.toml", folder=folder)
    return str(caught.value)


def test_a_small_spec_that_would_be_a_large_one_is_refused_before_it_is(tmp_path: Path) -> None:
    large = (
        '[models.a]\nkind = "plugin"\nname = "a"\nversion = "1"\nparams = { x = "' + "x" * 400_000 + '" }\n'
    )
    often = 'name = "x"\n' + large + '[[sweep]]\nm = 3\nL = 3\nformat = "cot"\nmodel = "a"\n' * 9_000
    assert "makes the file more than 16777216 bytes written out" in problem(often, tmp_path)
    rows = [[s, (s + 1) % 500] for s in range(500)]
    (tmp_path / "t.toml").write_text(f"table = {rows}\n")
    files = '{ kind = "automaton", file = "t.toml" }, ' * 20_000
    assert "makes the file more than" in problem(
        f'name = "x"\n[[sweep]]\nL = 3\ntask = [{files}]\n', tmp_path
    )
    jobs = f'[[sweep]]\nm = {list(range(2, 52))}\nL = 900\nformat = "cot"\nmodel = {{ kind = "lstm" }}\n' * 3
    assert "sweep[2] expands to 135000 jobs with those before it; expected at most 100000" in problem(
        'name = "x"\n' + jobs, tmp_path
    )


def test_a_manifest_that_is_no_text_names_nobody(tmp_path: Path) -> None:
    (tmp_path / checkpoints.NAME).write_bytes(b'\xff\xfe{"members": []}')
    (tmp_path / "checkpoint-00000001.labtui").write_bytes(b"")
    assert checkpoints.members(tmp_path) is None
