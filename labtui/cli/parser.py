"""The grammar of the command line.

Each command names the function that runs it, which is imported only then.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

from labtui import __version__
from labtui.cli.context import Context
from labtui.tui.actions import SCREENS

Arg = tuple[Any, ...]

ABOUT = "A lab bench in the terminal that finds N*, the smallest training set that works."
EPILOG = """\
Without a command: the screens, where there is a terminal, else the queue.
JOB is an id (7), a range (3-9) or the beginning of a content hash.
Data goes to stdout, narration to stderr. Exit: 0, 1 (failed), 2 (bad input).

begin with:
  labtui demo                          train small searches for real, show kappa
  labtui submit study.toml --start     queue a study and start working on it
  labtui --read-only lab.db            look at a lab that is somebody else's
  labtui COMMAND --help                what a command takes, with an example
"""
EVERYWHERE = "everywhere: --lab FILE, --json, --ascii, --read-only (labtui --help)"
NAME_CELLS = 18
"""Where the explanations begin."""


Group: TypeAlias = "argparse._SubParsersAction[Parser]"


class Parser(argparse.ArgumentParser):
    """argparse with errors in one sentence."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


class Layout(argparse.RawDescriptionHelpFormatter):
    """Explanations in one column, beside the longest name too."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=NAME_CELLS + 2)


def shared(*, again: bool = False) -> Parser:
    """Options that stand before or after the command; ``again``:
    after it, where they take nothing back and help is brief.
    """
    options = Parser(add_help=False)
    group = options.add_argument_group("everywhere")
    hidden: dict[str, Any] = {"help": argparse.SUPPRESS, "default": argparse.SUPPRESS} if again else {}
    flag: dict[str, Any] = {"action": "store_true"}
    group.add_argument(
        "--lab", **{"metavar": "FILE", "help": "the lab (else $LABTUI_LAB, else ./lab.db)"} | hidden
    )
    group.add_argument("--json", **flag | {"help": "data as JSON"} | hidden)
    group.add_argument("--ascii", **flag | {"help": "no sign beyond ASCII"} | hidden)
    group.add_argument("--read-only", **flag | {"help": "write not a byte beside the lab"} | hidden)
    return options


class Grammar:
    """Collects the commands."""

    def __init__(self) -> None:
        self.parser = Parser(
            prog="labtui",
            usage="labtui [OPTION ...] [COMMAND ...]",
            description=ABOUT,
            epilog=EPILOG,
            formatter_class=Layout,
            parents=[shared()],
            allow_abbrev=False,
        )
        self.parser.add_argument(
            "--version", action="version", version=f"labtui {__version__}", help="its version"
        )
        self.parser.add_argument("--plain", action="store_true", help="text instead of the screens")
        self.parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
        self.parser.add_argument("--slow", action="store_true", help="for slow links: fewer updates")
        names = ", ".join(SCREENS)
        self.parser.add_argument("--screen", choices=SCREENS, metavar="NAME", help=f"begin with {names}")
        self.parser.set_defaults(command="screen:screen", writes=False)
        self.commands = self.parser.add_subparsers(
            metavar="COMMAND", prog="labtui", parser_class=Parser, help=argparse.SUPPRESS
        )
        self.names: set[str] = set()

    def heading(self, text: str) -> None:
        """What the commands that follow are for."""
        self.parser.description = f"{self.parser.description}\n\n{text}:"

    def _list(self, name: str, text: str) -> None:
        self.parser.description = f"{self.parser.description}\n  {name:<{NAME_CELLS - 2}}  {text}"
        self.names.add(name)

    def add(
        self, name: str, command: str, text: str, *arguments: Arg, example: str = "", **defaults: Any
    ) -> None:
        """A command; ``arguments`` are (names..., options), ``example`` what follows its name."""
        self._list(name, text)
        self._add(self.commands, name, command, text, arguments, f"labtui {name} {example}", defaults)

    def group(self, name: str, text: str) -> Group:
        """A command with commands of its own."""
        self._list(name, text)
        parser = self.commands.add_parser(
            name, description=sentence(text), epilog=EVERYWHERE, allow_abbrev=False, formatter_class=Layout
        )
        inner: Group = parser.add_subparsers(metavar="WHAT", required=True, parser_class=Parser)
        return inner

    def within(
        self, group: Group, name: str, command: str, text: str, *arguments: Arg, example: str, **defaults: Any
    ) -> None:
        """A command of a group; ``example`` is the whole of it but for labtui."""
        self._add(group, name, command, text, arguments, f"labtui {example}", defaults, help=text)

    def _add(
        self,
        to: Group,
        name: str,
        command: str,
        text: str,
        arguments: Sequence[Arg],
        example: str,
        defaults: Any,
        **more: Any,
    ) -> None:
        parser = to.add_parser(
            name,
            description=sentence(text),
            epilog=f"example: {example.strip()}\n{EVERYWHERE}",
            formatter_class=Layout,
            parents=[shared(again=True)],
            allow_abbrev=False,
            **more,
        )
        for *names, options in arguments:
            parser.add_argument(*names, **options)
        parser.set_defaults(command=command, **defaults)


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return text[:1].upper() + text[1:] + "."


def build(words: Sequence[str] | None = None) -> Grammar:
    """The grammar: the whole of it, or as much as these words need (40 commands take 25 ms,
    the splash is due in 50).
    """
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

    ``--order -FIELD`` is ``--order=-FIELD``, which argparse would take for an option.
    ``--read-only FILE`` is short for ``--read-only --lab FILE``, unless what follows is a command.
    """
    words = list(argv)
    grammar = build(words)
    for i, word in enumerate(words[:-1]):
        if word == "--read-only" and not words[i + 1].startswith("-") and words[i + 1] not in grammar.names:
            if not any(w in grammar.names for w in words[:i]):
                words.insert(i + 1, "--lab")
            break
    for i, word in enumerate(words[:-1]):
        if word == "--order" and words[i + 1].startswith("-"):
            words[i : i + 2] = [f"{word}={words[i + 1]}"]
            break
    args = grammar.parser.parse_args(words)
    return Context(args)
