"""``labtui priority``: what runs first, the higher number."""

from __future__ import annotations

import store.commands
from labtui.cli.arguments import JOBS, NO_WAIT, WHOLE_STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.send import chosen_jobs, send


def arguments(parser: Parser) -> None:
    """Take the number, and jobs or a whole study."""
    parser.add_argument("value", type=int, metavar="NUMBER", help="-1000 to 1000; 0 is usual")
    parser.add_argument("jobs", **JOBS)
    parser.add_argument("--study", **WHOLE_STUDY)
    parser.add_argument("--no-wait", **NO_WAIT)
    parser.runs(run, writes=True, example="10 3-9")


def run(context: Context) -> None:
    """Set the priority; higher runs first."""
    value, ids = context.args.value, chosen_jobs(context)
    if not -1000 <= value <= 1000:
        raise BadInput(f"priority is {value}; expected -1000 to 1000")
    send(context, lambda: store.commands.priority(context.lab_path, ids, value), ids)
