"""``labtui note``: write a note on a job."""

from __future__ import annotations

import store.commands
from labtui.cli.arguments import JOB, NO_WAIT, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.send import send


def arguments(parser: Parser) -> None:
    """Take JOB, and the text."""
    parser.add_argument("job", **JOB)
    parser.add_argument("text", metavar="TEXT", help="instead of the one there")
    parser.add_argument("--no-wait", **NO_WAIT)
    parser.runs(run, writes=True, example='7 "again"')


def run(context: Context) -> None:
    """Write a note on a job."""
    job, text = context.job(context.args.job).id, context.args.text
    if len(text) > 10_000:
        raise BadInput(f"the note has {len(text)} characters; expected at most 10000")
    send(context, lambda: store.commands.note(context.lab_path, [job], text), [job])
