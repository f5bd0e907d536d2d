"""``labtui fits``: the scaling exponents of each series, or why there are none."""

from __future__ import annotations

from labtui.analysis.fits import fit_all
from labtui.cli.arguments import STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.selection import measured_points, study_id
from labtui.text import clean


def arguments(parser: Parser) -> None:
    """Take --study and --x."""
    parser.add_argument("--study", **STUDY)
    parser.add_argument("--x", metavar="AXIS", help="of programs: the numeric axis that comes first")
    parser.runs(run)


def run(context: Context) -> None:
    """Tell the exponents of each series, or why there are none."""
    study = study_id(context, context.args.study)
    found = fit_all(measured_points(context, study, context.args.x).points)
    if context.json:
        context.emit([fit.to_dict() for fit in found])
        return
    for fit in found:
        context.line(clean(f"{fit.series.label}: {fit.text(context.ascii)}"))
    if not found:
        ended = any(job.state == "done" for job in context.lab.jobs())
        context.say(
            "no search that has ended has a number to fit over" if ended else "no search has ended yet"
        )
