"""``labtui refit``: N* at another eps, read off the stored curves; nothing is trained.

What the stored losses do not decide is counted and named (stopped at its first success, evaluated in part,
evaluations not stored), with the N that the search would try next.
"""

from __future__ import annotations

import math

from labtui.analysis.refit import Reread, refit
from labtui.analysis.stored import stored_job
from labtui.cli import writing
from labtui.cli.arguments import STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.selection import study_id
from labtui.views import numbers
from labtui.views.grid import grid
from store.rows import JobRow

MOST = 20
"""Values of eps at once: each is a column."""


def arguments(parser: Parser) -> None:
    """Take the eps, or the threshold of programs, and whose."""
    parser.add_argument("job", nargs="*", metavar="JOB", help="these jobs (else all that are done)")
    parser.add_argument("--eps", required=True, metavar="X,X,...", help="such as 1e-3 or 1e-1,1e-2")
    parser.add_argument("--study", **STUDY)
    parser.runs(run, example="--eps 1e-1,1e-2,1e-3")


def run(context: Context) -> None:
    """Tell N* of each search at each eps, and what is not known of it."""
    rows = chosen(context)
    values = wanted(context.args.eps, programs=any(row.program for row in rows))
    found = [reread(context, row, values) for row in rows]
    if context.json:
        context.emit([r.to_dict() for each in found for r in each])
        return
    if not found:
        context.say("no search is done yet")
        return
    heads = ["job", "search", "eps", "N* there", *(f"at {numbers.rate(x)}" for x in values)]
    table = []
    for row, each in zip(rows, found, strict=True):
        here = f"{numbers.nstar_exact(row)} {numbers.known(row)}".rstrip()
        there = [r.text + ("*" if r.lacks else "") for r in each]
        table.append([row.id, numbers.name(row), numbers.rate(row.eps), here, *there])
    context.lines(grid(heads, table, right="job"))
    told = [(f"job {r.job.id} at {numbers.rate(r.eps)}", r.lacks) for each in found for r in each]
    notes = [f"* {which}: {lacks}" for which, lacks in told if lacks]
    if notes:
        context.line()
        context.lines(notes)
        key = "program.threshold" if all(row.program for row in rows) else "search.eps"
        context.line(f"what is missing is trained by: labtui submit --from JOB --set {key}=X")


def wanted(text: str, *, programs: bool = False) -> tuple[float, ...]:
    """The values of --eps.

    Args:
        programs: they are thresholds too, which may be any number.

    Raises:
        BadInput: one of them is no positive number.
    """
    values = []
    for word in text.split(","):
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and (value > 0 or programs)):
            raise BadInput(f"--eps has {word.strip()!r}; expected numbers above 0, such as 1e-3")
        values.append(value)
    if len(values) > MOST:
        raise BadInput(f"--eps has {len(values)} values; expected at most {MOST}")
    return tuple(dict.fromkeys(values))


def chosen(context: Context) -> list[JobRow]:
    """The searches that are meant; those that are done where none is named."""
    if context.args.job:
        return [context.job(reference) for reference in context.args.job]
    study = study_id(context, context.args.study)
    ids = context.lab.job_ids(order="id", study=study, archived=None)
    return [row for row in context.lab.jobs(ids) if row.state == "done"]


def reread(context: Context, row: JobRow, values: tuple[float, ...]) -> list[Reread]:
    """One search at each eps.

    Raises:
        BadInput: its spec cannot be read, or its probes are none of this search.
    """
    job = stored_job(context.lab.job_spec(row.id))
    if job is None:
        raise BadInput(f"the spec of job {row.id} cannot be read; see labtui db check")
    probes, trials = context.lab.probes(row.id), context.lab.trials(row.id)
    try:
        return [refit(row, job, eps, probes, trials, context.lab.curve, writing.replay) for eps in values]
    except ValueError as error:
        raise BadInput(f"the probes of job {row.id} make no sense: {error}; see labtui db check") from None
