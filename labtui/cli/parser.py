"""The grammar of the command line. Each command names the function that runs it, which is imported only then."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from labtui import __version__
from labtui.actions import SCREENS
from labtui.cli.context import Context

EPILOG = """\
JOB is an id (7), a range (3-9) or the beginning of a content hash. The lab is --lab FILE, else LABTUI_LAB, else ./lab.db.
Data goes to stdout, narration to stderr. Exit: 0, 1 (work failed), 2 (bad input).
Without a command: the screen, where there is a terminal, else the queue as text.
"""


class Parser(argparse.ArgumentParser):
    """argparse with errors in one sentence."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def shared(**defaults: Any) -> argparse.ArgumentParser:
    """Options that stand before or after the command."""
    options = argparse.ArgumentParser(add_help=False)
    group = options.add_argument_group("everywhere")
    group.add_argument("--lab", metavar="FILE", help="the lab (default: $LABTUI_LAB, else lab.db)", **defaults)
    group.add_argument("--json", action="store_true", help="data as JSON", **defaults)
    group.add_argument("--ascii", action="store_true", help="no sign beyond ASCII", **defaults)
    group.add_argument("--read-only", action="store_true", help="write not a byte beside the lab", **defaults)
    return options


class Grammar:
    """Collects the commands."""

    def __init__(self) -> None:
        self.parser = Parser(
            prog="labtui",
            description="A lab bench in the terminal that finds N*, the smallest training set that works.",
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[shared()],
            allow_abbrev=False,
        )
        self.parser.add_argument("--version", action="version", version=f"labtui {__version__}")
        self.parser.add_argument("--plain", action="store_true", help="text instead of the screen")
        self.parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
        self.parser.add_argument("--slow", action="store_true", help="for slow links: fewer updates")
        names = ", ".join(SCREENS)
        self.parser.add_argument("--screen", choices=SCREENS, metavar="NAME", help=f"begin with this one: {names}")
        self.parser.set_defaults(command="screen:screen")
        self.commands = self.parser.add_subparsers(metavar="COMMAND", title="commands", parser_class=Parser)
        self.names: set[str] = set()

    def add(self, name: str, command: str, text: str, *arguments: tuple[Any, ...], **defaults: Any) -> None:
        """A command; ``arguments`` are (names..., options)."""
        self._add(self.commands, name, command, text, arguments, defaults)
        self.names.add(name)

    def group(self, name: str, text: str) -> argparse._SubParsersAction[Parser]:
        """A command with commands of its own."""
        parser = self.commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        self.names.add(name)
        inner: argparse._SubParsersAction[Parser] = parser.add_subparsers(metavar="WHAT", required=True, parser_class=Parser)
        return inner

    def _add(self, to: Any, name: str, command: str, text: str, arguments: Any, defaults: Any) -> None:
        parser = to.add_parser(
            name,
            help=text,
            description=text[:1].upper() + text[1:] + ".",
            parents=[shared(default=argparse.SUPPRESS)],
            allow_abbrev=False,
        )
        for *names, options in arguments:
            parser.add_argument(*names, **options)
        parser.set_defaults(command=command, **defaults)

    def within(self, group: Any, name: str, command: str, text: str, *arguments: tuple[Any, ...], **defaults: Any) -> None:
        """A command of a group."""
        self._add(group, name, command, text, arguments, defaults)


def build(words: Sequence[str] | None = None) -> Grammar:
    """The grammar: the whole of it, or as much as these words need (40 commands take 25 ms, the splash is due in 50)."""
    grammar = Grammar()
    if words is None or not bare(words):
        from labtui.cli.grammar import fill

        fill(grammar)
    return grammar


def bare(words: Sequence[str]) -> bool:
    """Whether the words can only be the screen's own options: no command among them, no help."""
    for before, word in zip(("", *words), words, strict=False):
        if word in ("-h", "--help") or not (word.startswith("-") or before in ("--lab", "--screen")):
            return False
    return True


def parse(argv: Sequence[str]) -> Context:
    """The command that was asked for, with its arguments.

    ``--read-only FILE`` is short for ``--read-only --lab FILE``, unless what follows is a command.
    """
    words = list(argv)
    grammar = build(words)
    for i, word in enumerate(words[:-1]):
        if word == "--read-only" and not words[i + 1].startswith("-") and words[i + 1] not in grammar.names:
            if not any(w in grammar.names for w in words[:i]):
                words.insert(i + 1, "--lab")
            break
    args = grammar.parser.parse_args(words)
    return Context(args)
