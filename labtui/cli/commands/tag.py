"""``labtui tag``: set the tags of a job."""

from __future__ import annotations

import store.commands
from labtui.cli.arguments import JOB, NO_WAIT, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.send import send


def arguments(parser: Parser) -> None:
    """Take JOB, and its tags."""
    parser.add_argument("job", **JOB)
    parser.add_argument("tags", metavar="TAG", nargs="*", help="all of them; none: none")
    parser.add_argument("--no-wait", **NO_WAIT)
    parser.runs(run, writes=True, example="7 pilot")


def run(context: Context) -> None:
    """Set the tags of a job."""
    job, tags = context.job(context.args.job).id, list(context.args.tags)
    for word in tags:
        if not 1 <= len(word) <= 40:
            raise BadInput(f"a tag has {len(word)} characters; expected 1 to 40")
    send(context, lambda: store.commands.tag(context.lab_path, [job], tags), [job])
