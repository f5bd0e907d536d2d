"""``labtui rename``: give a job another name."""

from __future__ import annotations

from labtui.cli.arguments import JOB, NO_WAIT, Parser
from labtui.cli.commands.edit import send_patch
from labtui.cli.context import Context


def arguments(parser: Parser) -> None:
    """Take JOB, and its name."""
    parser.add_argument("job", **JOB)
    parser.add_argument("name", metavar="NAME", help="the new one")
    parser.add_argument("--no-wait", **NO_WAIT)
    parser.runs(run, writes=True, example="7 baseline")


def run(context: Context) -> None:
    """Give a job another name."""
    send_patch(context, {"name": context.args.name})
