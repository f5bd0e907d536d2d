"""What each reader of outside bytes promises: a value or one sentence of its own error;
no code run, nothing written.

Each contract takes bytes, so that hypothesis and a coverage-guided fuzzer can both drive it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from labtui.analysis.stored import stored_job
from labtui.config import read_settings
from runners.engine import checkpoint
from runners.engine.trials import Trials
from runners.engine.types import Member, Plan
from runners.pool import protocol
from runners.pool.protocol import MessageError, encode, from_json
from runners.pool.state import read_manifest
from runners.spec import Job, SpecError, parse
from store import curves
from store.check import check
from store.errors import LabError
from store.json import document, mapping
from store.read import open_lab
from tests.fuzz.watch import watched
from tests.store.test_lab_hostile import ask_everything, assert_clean

Contract = Callable[[bytes, Path], None]
COPY = "labtui-"
"""In the name of the private copy in which a lab with a ``-wal`` is read."""


def sentence(error: Exception, *, printable: bool = False) -> None:
    """One line that a person can read."""
    text = str(error)
    assert text, repr(error)
    assert "\n" not in text, text
    assert len(text) < 1_000, text
    assert text.isprintable() or not printable, text


def quietly(contract: Contract, data: bytes, folder: Path) -> None:
    """Without a watch: the first call imports, and compiles what hypothesis has not."""
    with contextlib.suppress(AssertionError):
        contract(data, folder)


def spec(data: bytes, folder: Path) -> None:
    """A spec file; relative names in it are looked for in ``folder``."""
    with watched():
        try:
            parse(data.decode("utf-8", "replace"), source="x.toml", folder=folder)
        except SpecError as error:
            sentence(error, printable=True)


def stored(data: bytes, _: Path) -> None:
    """JSON that stands in a lab: a job's spec, a plan, a manifest, a provenance."""
    text = data.decode("utf-8", "replace")
    with watched():
        assert isinstance(mapping(text), dict)
        document(text)
        job = stored_job(text)
        read_manifest(text)
        curves.decode(data)
        with contextlib.suppress(MessageError):
            from_json(text, Plan)
    assert job is None or Job.from_json(job.to_json()) == job


def message(data: bytes, _: Path) -> None:
    """A line of the pipe, read as either side would."""
    for decode in (protocol.decode_up, protocol.decode_down):
        with watched():
            try:
                found = decode(data)
            except MessageError as error:
                sentence(error)
                continue
        assert repr(decode(encode(found))) == repr(found)  # repr: nan equals nan there


def settings(data: bytes, folder: Path) -> None:
    """The settings file."""
    path = folder / "config.toml"
    path.write_bytes(data)
    with watched():
        found = read_settings({"LABTUI_CONFIG": str(path)})
    assert found.glyphs in ("auto", "unicode", "blocks", "ascii")
    assert all("\n" not in p and len(p) < 1_000 for p in found.problems)


def lab(data: bytes, folder: Path, wal: bytes = b"") -> None:
    """A lab file, perhaps with a WAL beside it: every view and the check."""
    path = folder / "lab.db"
    path.write_bytes(data)
    path.with_name("lab.db-wal").unlink(missing_ok=True)
    if wal:
        path.with_name("lab.db-wal").write_bytes(wal)
    before = _lying(folder)
    with watched(COPY):
        try:
            with open_lab(path, read_only=True) as opened:
                assert_clean(ask_everything(opened))
            check(path, read_only=True)
        except LabError as error:
            sentence(error)
    assert _lying(folder) == before


def _lying(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in os.listdir(folder)}  # noqa: PTH208


def saved(data: bytes, folder: Path) -> None:
    """A checkpoint's file, as a run of other members and as its own run would go on from it."""
    path = folder / "checkpoint-00000001.labtui"
    path.write_bytes(data)
    with watched():
        try:
            checkpoint.read(path)
        except checkpoint.CheckpointError as error:
            sentence(error)
        found, notes = checkpoint.latest(folder, IDENTITY, "cpu", Trials(MEMBERS, 100))
    assert found is not None or notes
    assert all("\n" not in note.text and len(note.text) < 1_000 for note in notes)


MEMBERS = tuple(Member("7", 4, 1e-3, seed, 1e-3, "probe", False) for seed in (1, 2))
IDENTITY = "of the run"


def sign(data: bytes) -> bytes:
    """A checkpoint with head and checksum made to agree with the content: damage on purpose."""
    head = checkpoint._HEAD
    if len(data) < head.size:
        return data
    magic, text, _, _ = head.unpack_from(data)
    content = data[head.size :]
    text = min(text, len(content))
    return head.pack(magic, text, len(content) - text, hashlib.sha256(content).digest()) + content
