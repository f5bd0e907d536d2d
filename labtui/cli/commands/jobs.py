"""``labtui jobs``: all jobs that a filter leaves, one line each.

Filters like ``state:running model:lstm "L>=10"``. A job that reads like an older one tells in what it
differs.
"""

from __future__ import annotations

from labtui.analysis.alike import differing
from labtui.analysis.eta import read_outlook
from labtui.cli.arguments import FILTER, LIMIT, STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.output import pages
from labtui.cli.selection import conditions, limited, study_id, tell_limit
from labtui.views.queue import job_lines
from store.filters import JOB_FIELDS
from store.states import supervised


def arguments(parser: Parser) -> None:
    """Take FILTER, and what is shown in which order."""
    parser.add_argument("filter", **FILTER)
    parser.add_argument("--study", **STUDY)
    parser.add_argument("--limit", **LIMIT)
    parser.add_argument(
        "--order", default="queue", metavar="FIELD", help="queue, id, state, n, L, ...; -FIELD descends"
    )
    parser.add_argument("--archived", action="store_true", help="the archive instead")
    parser.runs(run, example="state:done model:lstm --order -n")


def run(context: Context) -> None:
    """List all jobs that a filter leaves."""
    args = context.args
    where = conditions(args.filter, frozenset(JOB_FIELDS))
    study = study_id(context, args.study)
    ids = context.lab.job_ids(where, order=args.order, study=study, archived=bool(args.archived))
    rows = pages(context.lab.jobs, limited(ids, args.limit))
    if context.json:
        context.emit(rows)
        return
    listed = list(rows)
    context.lines(
        job_lines(
            listed,
            outlook=read_outlook(context.lab, [job.id for job in listed]).outlook,
            supervised=supervised(context.lab.supervisor()),
            differing={number: found.text for number, found in differing(context.lab, listed).items()},
        )
    )
    tell_limit(context, ids, args.limit)
