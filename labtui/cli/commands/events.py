"""``labtui events``: what happened, newest last."""

from __future__ import annotations

import time

from labtui.cli.arguments import FOLLOW, ONE_OR_ALL, Parser
from labtui.cli.context import Context
from labtui.cli.output import plain
from labtui.views.events import event_text
from store.json import document


def arguments(parser: Parser) -> None:
    """Take JOB, and which events."""
    parser.add_argument("job", **ONE_OR_ALL)
    parser.add_argument("--after", type=int, default=0, metavar="ID", help="only events after this id")
    parser.add_argument(
        "--limit", type=int, default=50, metavar="N", help="at most so many, the newest (else 50)"
    )
    parser.add_argument("-f", "--follow", **FOLLOW)
    parser.runs(run, example="--follow")


def run(context: Context) -> None:
    """Tell what happened, newest last; with --follow until interrupted."""
    args = context.args
    job = context.job(args.job).id if args.job else None
    last = args.after
    rows = context.lab.events(after=last, job_id=job, limit=args.limit)
    if context.json and not args.follow:
        context.emit([plain(e) | {"data": document(e.data)} for e in rows])
        return
    while True:
        jobs = {e.job_id for e in rows if e.job_id is not None}
        context.lines(event_text(rows, context.lab.jobs(sorted(jobs))))
        context.out.flush()
        if not args.follow:
            return
        last = max([last, *(e.id for e in rows)])
        version = context.lab.data_version()
        while context.lab.data_version() == version:
            time.sleep(0.2)
        rows = context.lab.events(after=last, job_id=job, limit=10_000)
