"""``labtui help``: the ten commands people need most, every command, or one of them."""

from __future__ import annotations

from labtui.cli.arguments import Parser
from labtui.cli.commands import ENTRIES
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.parse import build, menu, parse


def arguments(parser: Parser) -> None:
    """Take what to explain."""
    parser.add_argument("what", metavar="all|COMMAND", nargs="?", help="every command, or this one")
    parser.runs(run, example="all")


def run(context: Context) -> None:
    """Print it."""
    what = context.args.what
    if what is None:
        build(()).print_help(context.out)
    elif what == "all":
        context.lines([menu(first=False)])
    elif what in ENTRIES:
        parse([what, "--help"])
    else:
        raise BadInput(f"there is no command {what!r}; see labtui help all")
