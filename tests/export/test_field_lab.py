"""The field study's lab opens, its searches are those of its spec, and its page is what commands print."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from benchmarks import field
from labtui import Lab
from runners.spec import Study, load
from tests.cli.conftest import Labtui

LABS = Path(__file__).resolve().parents[2] / "docs" / "labs"
PAGE, LAB, SPEC = (LABS / f"field.{end}" for end in ("md", "db", "toml"))


def test_it_is_small_and_holds_what_its_spec_asks_for() -> None:
    assert LAB.stat().st_size < 3_000_000
    study = load(str(SPEC))
    assert isinstance(study, Study)
    asked = {job.hash for job in study.jobs()}
    found = {job.hash for job in Lab(LAB, frames="rows").jobs()}
    assert found <= asked
    assert len(asked - found) == 0


def test_the_page_is_what_its_commands_print(labtui: Labtui, capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.findall(
        r"^`(labtui|python -m benchmarks\.field)([^`]*)`\n```\n(.*?)```$",
        PAGE.read_text("utf-8"),
        re.M | re.S,
    )
    assert len(shown) == 2
    for command, words, text in shown:
        if command == "labtui":
            printed = labtui("--read-only", "--lab", str(LAB), *shlex.split(words)).out
        else:
            sys.argv = ["field"]
            field.main()
            printed = capsys.readouterr().out
        assert printed == text, command + words


def test_what_was_published_is_beside_what_was_found() -> None:
    table = field.rows(LAB)
    assert {row[:2] for row in table} >= {("Z8", "pd_ssm 16"), ("Z2", "diagonal 32 [0,1]")}
    assert [row[5] for row in table if row[:2] == ("Z8", "pd_ssm 16")] == [
        "0/10",
        "1/10",
        "5/10",
        "8/10",
        "10/10",
    ]
