"""``labtui plot``: drawings as text: scaling, bracket, kappa.

``scaling``: N* against L, m, a single length n or a program's axis (``--x``) on log axes. ``bracket JOB``:
how a bracket closed. ``kappa CELL``: N*_n of every length.
"""

from __future__ import annotations

from labtui.analysis.fits import fit_all
from labtui.analysis.kappa import kappa as measure
from labtui.cli.arguments import JOB, STUDY, Parser, add_size
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.selection import measured_points, study_id
from labtui.views.job import bracket_lines
from labtui.views.kappa import terms_lines
from labtui.views.scaling import scaling_lines


def arguments(parser: Parser) -> None:
    """Take one part for each drawing."""
    part = parser.part("scaling", "N* against L, m or one length n on log axes, with fits")
    part.add_argument("--study", **STUDY)
    part.add_argument("--x", metavar="AXIS", help="L, m, n or a program's axis (else the one that varies)")
    add_size(part)
    part.runs(scaling, example="--x L")
    part = parser.part("bracket", "how a job's bracket closed")
    part.add_argument("job", **JOB)
    add_size(part)
    part.runs(bracket, example="7")
    part = parser.part("kappa", "N*_n of every length of a cell")
    part.add_argument("cell", type=int, metavar="CELL", help="its number, as labtui kappa --json tells it")
    add_size(part)
    part.runs(cell_terms, example="1")


def scaling(context: Context) -> None:
    """Draw N* against L or m; with --json tell the points and the fits."""
    study = study_id(context, context.args.study)
    if context.json:
        points = measured_points(context, study, context.args.x).points
        context.emit({"points": points, "fits": [f.to_dict() for f in fit_all(points)]})
        return
    context.lines(scaling_text(context, study))


def scaling_text(context: Context, study: int | None) -> list[str]:
    """The plot of a study, or of the whole lab."""
    args = context.args
    found = measured_points(context, study, getattr(args, "x", None))
    return scaling_lines(
        found.points,
        found.kinds,
        x=found.x,
        width=getattr(args, "width", 96),
        height=getattr(args, "height", 22),
        ascii=context.ascii,
    )


def bracket(context: Context) -> None:
    """Draw how a job's bracket closed."""
    job = context.job(context.args.job)
    probes = context.lab.probes(job.id)
    if context.json:
        context.emit({"job": job, "probes": probes})
        return
    trials, spec = context.lab.trials(job.id), context.lab.job_spec(job.id)
    context.lines(bracket_lines(job, probes, trials, context.args.width, spec=spec))


def cell_terms(context: Context) -> None:
    """Draw N*_n of every length of one cell."""
    cells = {cell.id: cell for cell in context.lab.cells(every=True)}
    if context.args.cell not in cells:
        known = ", ".join(map(str, list(cells)[:12])) or "none in this lab"
        raise BadInput(f"there is no cell {context.args.cell}; expected one of: {known}")
    found = measure(cells[context.args.cell])
    if context.json:
        context.emit(found.to_dict())
        return
    context.lines(terms_lines(found, context.args.width, context.args.height))
