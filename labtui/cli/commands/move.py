"""``labtui move``: reorder jobs within their priority."""

from __future__ import annotations

import store.commands
from labtui.cli.arguments import JOBS, NO_WAIT, Parser
from labtui.cli.context import Context
from labtui.cli.send import chosen_jobs, send


def arguments(parser: Parser) -> None:
    """Take jobs, and where they go."""
    parser.add_argument("jobs", **JOBS)
    parser.add_argument("--before", metavar="JOB", help="the job they come before (else to the end)")
    parser.add_argument("--no-wait", **NO_WAIT)
    parser.runs(run, writes=True, example="8 9 --before 3")


def run(context: Context) -> None:
    """Reorder within a priority."""
    ids = chosen_jobs(context)
    before = context.job(context.args.before).id if context.args.before else None
    send(context, lambda: store.commands.move(context.lab_path, ids, before=before), ids)
