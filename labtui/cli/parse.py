"""From the words on the command line to the arguments of one command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from labtui.cli.arguments import NAME_CELLS, Parser, did_you_mean, sentence, shared
from labtui.cli.commands import ENTRIES, MENU, Entry
from labtui.tui.actions import SCREENS
from labtui.version import __version__

ABOUT = "A lab bench in the terminal that finds N*, the smallest training set that works."
EPILOG = """\
Without a command: the screens, where there is a terminal, else the queue.
JOB is an id (7), a range (3-9) or the beginning of a content hash.
Data goes to stdout, narration to stderr. Exit: 0, 1 (failed), 2 (bad input).

  labtui help all                      every command
  labtui COMMAND --help                what a command takes, with an example
  labtui submit study.toml --start     queue a study and start working on it
  labtui --read-only lab.db            look at a lab that is somebody else's
"""
TAKE_A_WORD = ("--lab", "--screen")
"""Options before the command that take the next word."""


def build(words: Sequence[str] | None = None, *, names: bool = False) -> Parser:
    """Build the parser of the command that ``words`` name; without words that of every command.

    ``names``: the other commands too, by their names alone (a shell that completes asks for no more).
    """
    parser = Parser(
        prog="labtui",
        usage="labtui [OPTION ...] [COMMAND ...]",
        description=ABOUT + menu(first=True),
        epilog=EPILOG,
        parents=[shared()],
    )
    parser.add_argument("--version", action="version", version=f"labtui {__version__}", help="its version")
    parser.add_argument("--plain", action="store_true", help="text instead of the screens")
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    parser.add_argument("--slow", action="store_true", help="for slow links: fewer updates")
    screens = ", ".join(SCREENS)
    parser.add_argument("--screen", choices=SCREENS, metavar="NAME", help=f"begin with {screens}")
    parser.set_defaults(run=None, writes=False)
    commands = parser.add_subparsers(
        metavar="COMMAND", prog="labtui", parser_class=Parser, help=argparse.SUPPRESS
    )
    wanted = list(ENTRIES.values()) if words is None else _named(words)
    for entry in ENTRIES.values() if names else wanted:
        made = commands.add_parser(entry.name, description=sentence(entry.text), parents=[shared(again=True)])
        if entry in wanted:
            entry.arguments(made)
    return parser


def menu(*, first: bool) -> str:
    """The commands, one line each under headings; ``first``: the ten that people need most, without."""
    lines = [""]
    for heading, entries in MENU.items():
        lines += [] if first else ["", f"{heading}:"]
        lines += [f"  {e.name:<{NAME_CELLS - 2}}  {e.text}" for e in entries if e.first or not first]
    return "\n".join(["", *lines] if first else lines[1:])


def command_at(words: Sequence[str]) -> int | None:
    """Where in ``words`` the command stands: the first that is no option and no option's value."""
    for i, (before, word) in enumerate(zip(("", *words), words, strict=False)):
        if not word.startswith("-") and before not in TAKE_A_WORD:
            return i
    return None


def _named(words: Sequence[str]) -> list[Entry]:
    at = command_at(words)
    return [ENTRIES[words[at]]] if at is not None and words[at] in ENTRIES else []


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of the command that was asked for; ``run`` among them runs it, None without a command.

    ``--order -FIELD`` is ``--order=-FIELD``, which argparse would take for an option.
    ``--read-only FILE`` is short for ``--read-only --lab FILE``, unless what follows is a command.
    """
    words = list(argv)
    at = command_at(words)
    if at is not None and words[at] not in ENTRIES:
        if at > 0 and words[at - 1] == "--read-only":
            words.insert(at, "--lab")
        else:
            build(()).error(f"there is no command {words[at]!r}{did_you_mean(words[at], ENTRIES)}")
    for i, word in enumerate(words[:-1]):
        if word == "--order" and words[i + 1].startswith("-"):
            words[i : i + 2] = [f"{word}={words[i + 1]}"]
            break
    return build(words).parse_args(words)
