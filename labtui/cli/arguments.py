"""The parser class of every command, and the arguments that several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from labtui.cli.streams import open_stdout
from labtui.config import ENGINES

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from labtui.cli.context import Context

Run = Callable[["Context"], "int | None"]
Options = dict[str, Any]
"""Keyword arguments of ``add_argument``."""

EVERYWHERE = "everywhere: --lab FILE, --json, --ascii, --read-only (labtui --help)"
NAME_CELLS = 18
"""Where the explanations begin."""

JOB: Options = {"metavar": "JOB", "help": "an id, or the beginning of a hash"}
JOBS: Options = {"metavar": "JOB", "nargs": "*", "help": "ids, ranges (3-9) or beginnings of hashes"}
ONE_OR_ALL: Options = {"metavar": "JOB", "nargs": "?", "help": "only this one"}
STUDY: Options = {"metavar": "ID|NAME", "help": "only this study"}
WHOLE_STUDY: Options = {"metavar": "ID|NAME", "help": "all jobs of this study"}
FILTER: Options = {"metavar": "FILTER", "nargs": "*", "help": "words like state:running model:lstm L>=10"}
LIMIT: Options = {"type": int, "metavar": "N", "help": "at most so many rows"}
FOLLOW: Options = {"action": "store_true", "help": "go on until interrupted"}
START: Options = {"action": "store_true", "help": "start the supervisor too"}
NO_WAIT: Options = {"action": "store_true", "help": "do not wait for the supervisor's answer"}


class Layout(argparse.RawDescriptionHelpFormatter):
    """Explanations in one column, beside the longest name too."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=NAME_CELLS + 2)


class Parser(argparse.ArgumentParser):
    """argparse with errors in one sentence, an example in every help, and commands within commands."""

    def __init__(self, **options: Any) -> None:
        settings: Options = {"formatter_class": Layout, "allow_abbrev": False}
        super().__init__(**settings | options)
        self.parts: argparse._SubParsersAction[Parser] | None = None

    def error(self, message: str) -> NoReturn:
        label, colon, words = message.partition(": ")
        if label == "unrecognized arguments" and colon:
            unknown = next((w.partition("=")[0] for w in words.split() if w.startswith("-")), "")
            known = self._every_option()
            message += "; it stands before the command" * (unknown in known)
            message += did_you_mean(unknown, known) if unknown and unknown not in known else ""
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += did_you_mean(str(value), [str(c) for c in action.choices or ()])
            raise

    def _every_option(self) -> list[str]:
        """The options of this parser and of the commands in it."""
        found = [o for a in self._actions for o in a.option_strings]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    found += parser._every_option()
        return found

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Write the help; argparse would keep quiet where it cannot be written."""
        (file or open_stdout()).write(self.format_help())

    @property
    def name(self) -> str:
        """The command's own word, the last of ``prog``."""
        return self.prog.rpartition(" ")[2]

    def runs(self, run: Run, *, writes: bool = False, example: str = "", **defaults: Any) -> None:
        """Set the function that runs the command.

        ``writes``: refused with --read-only; ``example``: what follows its name.
        """
        self.set_defaults(run=run, writes=writes, **defaults)
        self.epilog = f"example: {f'{self.prog} {example}'.strip()}\n{EVERYWHERE}"

    def part(self, name: str, text: str) -> Parser:
        """Add a command of this command, such as ``start`` of ``daemon``."""
        if self.parts is None:
            self.epilog = EVERYWHERE
            self.parts = self.add_subparsers(metavar="WHAT", required=True, parser_class=Parser)
        return self.parts.add_parser(
            name, help=text, description=sentence(text), parents=[shared(again=True)]
        )


def shared(*, again: bool = False) -> Parser:
    """Options that stand before or after the command.

    ``again``: those after it, which take nothing back and are left out of its help.
    """
    options = Parser(add_help=False)
    group = options.add_argument_group("everywhere")
    hidden: Options = {"help": argparse.SUPPRESS, "default": argparse.SUPPRESS} if again else {}
    flag: Options = {"action": "store_true"}
    lab: Options = {"metavar": "FILE", "help": "the lab (else $LABTUI_LAB, else ./lab.db)"}
    group.add_argument("--lab", **lab | hidden)
    group.add_argument("--json", **flag | {"help": "data as JSON"} | hidden)
    group.add_argument("--ascii", **flag | {"help": "no sign beyond ASCII"} | hidden)
    group.add_argument("--read-only", **flag | {"help": "write not a byte beside the lab"} | hidden)
    return options


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest of the words that are known, as the end of a sentence; empty where none is near."""
    near = get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def sentence(text: str) -> str:
    """``text`` with a capital and a full stop."""
    return text[:1].upper() + text[1:] + "."


def add_size(parser: Parser) -> None:
    """Take --width and --height of a drawing."""
    parser.add_argument("--width", type=int, default=96, metavar="CELLS", help="of the drawing")
    parser.add_argument("--height", type=int, default=26, metavar="ROWS", help="of the drawing")


def add_devices(parser: Parser) -> None:
    """Take where a supervisor that is started lets workers run, and how many."""
    parser.add_argument(
        "--devices", metavar="LIST", help="cpu or cuda:0,cuda:1 (else every CUDA device, or the CPU)"
    )
    parser.add_argument("--slots", type=int, metavar="N", help="workers on the CPU (else one for each core)")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads of each worker (else OMP_NUM_THREADS, or 1)"
    )
    parser.add_argument(
        "--engine", choices=ENGINES, metavar="E", help="local, or ray: nodes of a Ray cluster too"
    )
    parser.add_argument("--address", metavar="A", help="of the Ray cluster: auto, local, HOST:PORT")
