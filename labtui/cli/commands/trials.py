"""``labtui trials``: the trials of a job, or all that a filter leaves.

``--json --curves`` has their losses too.
"""

from __future__ import annotations

from labtui.cli.arguments import FILTER, LIMIT, ONE_OR_ALL, STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.output import pages
from labtui.cli.selection import conditions, limited, study_id, tell_limit
from labtui.views.trials import trial_lines, with_jobs
from store.filters import TRIAL_FIELDS, Condition
from store.states import supervised


def arguments(parser: Parser) -> None:
    """Take JOB, FILTER, and what is shown in which order."""
    parser.add_argument("job", **ONE_OR_ALL)
    parser.add_argument("filter", **FILTER)
    parser.add_argument("--study", **STUDY)
    parser.add_argument("--limit", **LIMIT)
    parser.add_argument(
        "--order", default="id", metavar="FIELD", help="id, n, lr, seed, outcome, ...; -FIELD descends"
    )
    parser.add_argument("--curves", action="store_true", help="with --json: each trial's losses")
    parser.runs(run, example="7 outcome:success --order best_loss")


def run(context: Context) -> None:
    """List the trials of a job, or all that a filter leaves."""
    args = context.args
    words = list(args.filter)
    where: tuple[Condition, ...] = ()
    if args.job is not None and (any(c in args.job for c in ":=<>~") or not _is_reference(args.job)):
        words.insert(0, args.job)
    elif args.job is not None:
        where = (Condition("job", "=", context.job(args.job).id),)
    where += conditions(words, frozenset(TRIAL_FIELDS))
    ids = context.lab.trial_ids(where, order=args.order, study=study_id(context, args.study))
    rows = pages(context.lab.trials_by_id, limited(ids, args.limit))
    if context.json:
        context.emit(
            (vars(row) | {"curve": context.lab.curve(row.id)} for row in rows) if args.curves else rows
        )
        return
    context.lines(trial_lines(with_jobs(context.lab, list(rows)), supervised(context.lab.supervisor())))
    tell_limit(context, ids, args.limit)


def _is_reference(word: str) -> bool:
    return word.isdecimal() or (len(word) >= 4 and all(c in "0123456789abcdef" for c in word.lower()))
