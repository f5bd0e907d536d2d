"""A believable lab, made once, and the command line on a copy of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from labtui.__main__ import main
from tests.support.fakelab import small_lab


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Labtui = Callable[..., Answer]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_lab(tmp_path_factory.mktemp("made") / "lab.db")


@pytest.fixture
def lab(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copy(made, tmp_path / "lab.db")
    shutil.copytree(made.with_name("lab.db.d"), tmp_path / "lab.db.d")
    return tmp_path / "lab.db"


@pytest.fixture
def labtui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Labtui:
    """``labtui("jobs", "--json")`` in a folder of its own, whose lab.db is the default lab."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Answer:
        capsys.readouterr()
        code = main([str(w) for w in words])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Answer(code, said.out, said.err)

    return run
