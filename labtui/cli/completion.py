"""Completion by a shell's tab, from the parsers themselves: argcomplete asks this very program.

Jobs and studies are those of the lab that the line names. Looking for them opens the lab read-only and
starts nothing; where that fails there is nothing to complete.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from argcomplete.completers import FilesCompleter, SuppressCompleter
from argcomplete.finders import CompletionFinder
from argcomplete.lexers import split_line
from argcomplete.shell_integration import shellcode

from labtui.cli.commands import ENTRIES
from labtui.cli.parse import build
from labtui.config import TABLE, read_settings
from labtui.tui.actions import SCREENS
from runners.presets import preset_names

if TYPE_CHECKING:
    from store.read import Lab

SHELLS = ("bash", "zsh", "fish")
MOST = 200
"""Jobs that are offered, the newest first."""
Completer = Callable[..., Any]


def script(shell: str) -> str:
    """What a shell is to read."""
    return shellcode(["labtui"], shell=shell)


def complete(env: Mapping[str, str]) -> None:
    """Answer the shell and end the process; returns where the line cannot be read."""
    line, point = env.get("COMP_LINE", ""), env.get("COMP_POINT", "")
    if not point.isdecimal():
        return
    *_, words, _ = split_line(line, len(line.encode()[: int(point)].decode(errors="ignore")))
    parser = build(words[1:], names=True)
    _add_completers(parser)
    CompletionFinder()(parser, always_complete_options=False, default_completer=SuppressCompleter())


def _add_completers(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _add_completers(inner)
        elif action.metavar in COMPLETERS and not action.choices:
            action.completer = COMPLETERS[action.metavar]  # type: ignore[attr-defined]


def _lab(parsed_args: argparse.Namespace) -> Lab:
    from store.read import open_lab

    return open_lab(Path(parsed_args.lab or read_settings().lab or "lab.db"), read_only=True)


def _jobs(parsed_args: argparse.Namespace, **_: Any) -> dict[str, str]:
    from labtui.text import clean
    from labtui.views.numbers import label

    with _lab(parsed_args) as lab:
        ids = list(lab.job_ids(order="-id"))[:MOST]
        return {str(job.id): f"{job.state}, {clean(label(job))}" for job in lab.jobs(ids)}


def _studies(parsed_args: argparse.Namespace, **_: Any) -> dict[str, str]:
    """Names, and ids where a name is no plain word."""
    from labtui.text import clean

    with _lab(parsed_args) as lab:
        return {
            s.name if s.name.isidentifier() else str(s.id): clean(s.name or f"study {s.id}")
            for s in lab.studies()
        }


def _quiet(found: Completer) -> Completer:
    """A completer that offers nothing where it fails: a shell's line is no place for a sentence."""

    def safe(**facts: Any) -> Any:
        try:
            return found(**facts)
        except Exception:
            return {}

    return safe


def _words(*known: Iterable[str]) -> Completer:
    return lambda **_: [word for words in known for word in words]


def _specs(prefix: str, **facts: Any) -> list[str]:
    return [*preset_names(), *FilesCompleter(("toml",))(prefix, **facts)]


FILES = FilesCompleter()
COMPLETERS: dict[object, Completer] = {
    "JOB": _quiet(_jobs),
    "JOB|FILE": _quiet(_jobs),
    "JOB|SCREEN": _quiet(lambda **facts: dict.fromkeys(SCREENS, "a screen as text") | _jobs(**facts)),
    "paper|JOB|LAB": _quiet(lambda **facts: {"paper": "the published numbers"} | _jobs(**facts)),
    "ID|NAME": _quiet(_studies),
    "FILE|PRESET": _quiet(_specs),
    "FILE": FILES,
    "TO": FILES,
    "OUT": FILES,
    "FIRST": FILES,
    "SECOND": FILES,
    "BACKUP": FILES,
    "BUNDLE": FILES,
    "all|COMMAND": _words(["all"], ENTRIES),
    "KEY": _words(TABLE),
}
"""By the name that the help gives an argument."""
