"""Specs, settings, messages and stored JSON, spoilt: a value or one sentence."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from runners.engine.types import Ended, Member, Plan
from runners.pool import protocol as m
from runners.pool.protocol import encode, to_json
from runners.spec import parse
from runners.spec.load import NamedJob, read_source
from runners.verdict import Outcome
from tests.fuzz import contracts
from tests.fuzz.spoil import as_json, spoilt, spoilt_tree, toml
from tests.fuzz.trying import try_all
from tests.support.fakelab import LONE, SPEC

pytestmark = pytest.mark.timeout(7200)

TASKS = """
name = "all tasks"
[models.mine]
kind = "plugin"
name = "mine"
version = "1"
params = { a = [1, { b = 2.5 }] }
[[sweep]]
task = [
  { kind = "product", factors = [{ kind = "dihedral", n = 4 }, { kind = "modular_addition", m = 3 }] },
  { kind = "automaton", table = [[0, 1], [1, 0]], name = "flip" },
  { kind = "automaton", file = "table.toml" },
]
model = ["mine", { kind = "lstm", hidden = 4, init_std = 0.1 }]
format = ["cot", "acot"]
L = [3, 4]
distribution = ["fixed", "short_to_long"]
joint.search = { strategy = "scan", ladder = [1, 2, 4] }
joint.grid = { learning_rates = [1e-2], seeds = [1] }
"""
SETTINGS = (
    b'theme = "labtui-light"\nglyphs = "ascii"\nmouse = false\nslow = true\nnotify = "bell"\n'
    b'[keys]\npause = ["P"]\n'
)
TABLE = "start = 0\ntable = [[0, 1], [1, 1]]\n"
SPECS = [*(read_source(name)[0] for name in ("quick", "demo", "paper")), SPEC, LONE, TASKS]
WORDS = (
    *(
        b"[[sweep]]",
        b"[models.x]",
        b"[job]",
        b"task = ",
        b"kind = ",
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"'''",
        b'"""',
        b"\n",
        b"#",
        b"=",
    ),
    *(
        b"nan",
        b"-inf",
        b"1e999",
        b"0x",
        b"1979-05-27",
        b"99999999999999999999",
        b"\\u0000",
        b"\\U0010ffff",
        b"\x00",
        b"\x1b[2J",
    ),
    *(
        b"plugin",
        b"product",
        b"automaton",
        b"file = ",
        b'"table.toml"',
        b'"."',
        b'"/dev/zero"',
        b"a.a.a.a.a.a",
        b"_",
        b"\xff",
    ),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "table.toml").write_text(TABLE)
    return tmp_path


def given_to(contract: contracts.Contract, folder: Path, valid: list[bytes]) -> Any:
    """The contract in this folder, after one look at each valid input: that imports what it needs."""
    for data in valid:
        contracts.quietly(contract, data, folder)
    return partial(_with_folder, contract, folder)


def _with_folder(contract: contracts.Contract, folder: Path, data: bytes) -> None:
    contract(data, folder)


def test_spec_texts(tried: Counter[str], folder: Path) -> None:
    seeds = [text.encode() for text in SPECS]
    contract = given_to(contracts.spec, folder, [*seeds, b"x", b"a = 1", b"[job]\nm = 1"])
    try_all(tried, "spec texts", spoilt(seeds, WORDS), contract, 60)
    try_all(tried, "spec texts", st.text("[]{}=.\"'\n#abm3,_ ", max_size=80).map(str.encode), contract, 20)


def test_spec_trees(tried: Counter[str], folder: Path) -> None:
    trees = [tomllib.loads(text) for text in SPECS]
    contract = given_to(contracts.spec, folder, [toml(tree).encode() for tree in trees])
    try_all(tried, "spec trees", spoilt_tree(trees).map(toml).map(_bytes), contract, 60)


def test_table_files(tried: Counter[str], folder: Path) -> None:
    text = TASKS.encode()

    def contract(data: bytes) -> None:
        (folder / "table.toml").write_bytes(data)
        contracts.spec(text, folder)

    given_to(contracts.spec, folder, [text])
    try_all(tried, "table files", spoilt([TABLE.encode()], WORDS), contract, 10)
    try_all(tried, "table files", spoilt_tree([tomllib.loads(TABLE)]).map(toml).map(_bytes), contract, 10)


def test_stored_documents(tried: Counter[str], folder: Path) -> None:
    study = parse(SPEC)
    jobs = [job.model_dump(mode="json") for job in (*study.jobs()[:3], lone().job)]  # type: ignore[union-attr]
    plan = json.loads(to_json(Plan("cpu", 4, note="why")))
    manifest = {"members": [["7", 4, 1e-3, 1, 1e-3, "probe", False]]}
    trees = [*jobs, plan, manifest]
    contract = given_to(contracts.stored, folder, [as_json(t) for t in trees])
    try_all(tried, "stored documents", spoilt_tree(trees).map(as_json), contract, 50)
    try_all(tried, "stored documents", spoilt([as_json(t) for t in trees]), contract, 30)


def lone() -> NamedJob:
    found = parse(LONE)
    assert isinstance(found, NamedJob)
    return found


TAG = m.Tag("7", 1, 2)
ENDED = Ended(0, Outcome.SUCCESS, 10, 1e-4, 5, 1e-4, 0.5)
MEMBERS = (Member("7", 4, 1e-3, 1, 1e-3), Member("8", 2**40, 1e-3, 2**31, 1e-3, "seed", True))
SAID: tuple[Any, ...] = (
    m.Train(TAG, "{}", MEMBERS, "cpu", Plan("cpu", 2), "/tmp/x", True, ("7",)),
    *(
        m.Prepare("{}", MEMBERS, "cuda:0"),
        m.Drop(TAG, ("7", "8")),
        m.Stop(TAG, "discard"),
        m.Hold(True),
        m.Quit(),
    ),
    *(
        m.Ready(1, "a:B", "2.9", "NVIDIA"),
        m.Beat("7", 0.5, 1 << 30),
        m.Planned(TAG, Plan("cpu", 1)),
        m.Saved(TAG, 7, 0.1),
    ),
    m.Progress(TAG, (m.Point(0, 5, 0.5, float("nan"), True), m.Point(1, 5, 0.1, float("inf"), False))),
    m.TrialEnded(TAG, ENDED, (1, 2, 3), (0.3, 0.2, 0.1), (0.3, 0.2, 0.1), (False, True, True), 3.5),
    *(m.Noted(TAG, "why\nnot", "warning"), m.Halted(TAG, False), m.Finished(TAG, 1, 2, 3)),
    m.Failed(TAG, "out_of_memory", "RuntimeError", "Traceback"),
)


def test_messages(tried: Counter[str], folder: Path) -> None:
    lines = [encode(message) for message in SAID]
    contract = given_to(contracts.message, folder, lines)
    words = [
        b'"',
        b"{",
        b"[" * 2_000,
        b"]",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"9" * 5_000,
        b"null",
        b"\\ud800",
        b"\xff",
        b'"kind":',
    ]
    try_all(tried, "messages", spoilt(lines, words), contract, 50)
    try_all(tried, "messages", spoilt_tree([json.loads(line) for line in lines]).map(as_json), contract, 50)
    try_all(tried, "messages", st.binary(max_size=200), contract, 10)


def test_settings(tried: Counter[str], folder: Path) -> None:
    contract = given_to(contracts.settings, folder, [SETTINGS, b"[", b"a = 1"])
    try_all(tried, "settings files", spoilt([SETTINGS], WORDS), contract, 10)
    try_all(
        tried,
        "settings files",
        spoilt_tree([tomllib.loads(SETTINGS.decode())]).map(toml).map(_bytes),
        contract,
        10,
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
