"""The help of every command: within 80 columns, nothing unexplained, an example that is one."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

import pytest

from labtui.cli.arguments import EVERYWHERE
from labtui.cli.commands import ENTRIES
from labtui.cli.parse import build, parse
from tests.cli.conftest import Labtui
from tests.cli.test_hostile import COMMANDS


def every(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from every(inner)


REFUSED = "labtui: this command writes and --read-only was given; expected one without the other\n"
LET_THROUGH = (
    "`{}` was not refused with --read-only: say writes=True where it is declared (Parser.runs); if it only "
    "looks, add its words to READERS of tests/cli/test_reading.py (without --json to COMMANDS of "
    "tests/cli/test_hostile.py)"
)
PARSERS = {parser.prog: parser for parser in every(build())}


@pytest.mark.parametrize("name", PARSERS)
def test_help_fits_and_explains(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parser = PARSERS[name]
    text = parser.format_help()
    assert max(map(len, text.splitlines())) <= 80
    for action in parser._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), (
            f"{name}: {action.dest} is not explained"
        )
    if name == "labtui":
        assert text.count("\n") <= 40
        assert [f"\n  {e.name} " in text for e in ENTRIES.values()] == [e.first for e in ENTRIES.values()]
        assert sum(e.first for e in ENTRIES.values()) == 10
    elif not any(isinstance(a, argparse._SubParsersAction) for a in parser._actions):
        example = text.rpartition("\nexample: ")[2].splitlines()[0]
        assert example.startswith(name)
        args = parse(shlex.split(example)[1:])
        assert args.run == parser.get_default("run")
        assert text.endswith(f"{EVERYWHERE}\n")


def test_every_explanation_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name, parser in PARSERS.items():
        rest = parser.format_help().partition("\n\n")[2]
        broken = [line for line in rest.splitlines() if line.startswith(" " * 10)]
        assert broken == ([] if name != "labtui" else [" " * 17 + "events, paper"]), name


def test_what_writes_is_refused_with_read_only(labtui: Labtui, lab: object) -> None:
    """Every command but those that look; they are tried by test_offline.py."""
    looking = {words[0] for words in COMMANDS} | {
        "help",
        "completion",
        "models",
        "tasks",
        "snapshot",
        "figure",
        "bundle",
        "import",
        "merge",
        "report",
        "watch",
        "rerun",
        "refit",
        "compare",
        "scan",
        "logs",
    }
    for name, parser in PARSERS.items():
        words = name.split()[1:]
        if (
            not parser.get_default("run")
            or not words
            or (words[0] in looking and words[0] not in ("daemon", "db", "config"))
        ):
            continue
        if tuple(words) in COMMANDS:
            continue
        example = parser.format_help().rpartition("\nexample: labtui ")[2].splitlines()[0]
        answer = labtui(
            "--read-only", "--lab", "lab.db", *shlex.split(example.replace("study.toml", "quick"))
        )
        assert answer.code == 2, LET_THROUGH.format(name)
        if words[0] != "device":
            assert answer.err == REFUSED, LET_THROUGH.format(name)
