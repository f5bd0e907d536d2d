"""Commands that answer: kappa, scaling, fits, length generalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labtui.cli.context import Context
from labtui.cli.entry import BadInput
from labtui.cli.reading import study_of
from labtui.text import clean

if TYPE_CHECKING:
    from labtui.analysis.points import Point


def kappa(context: Context) -> None:
    """The table over any axes; with --json every cell with all it is made of."""
    from labtui.analysis.kappa import kappa as measure

    args = context.args
    study = study_of(context, args.study)
    if context.json:
        context.emit([measure(cell).to_dict() for cell in context.lab.cells(study)])
        return
    context.lines(kappa_text(context, study, args.rows, args.columns, details=args.details))


def kappa_text(
    context: Context,
    study: int | None,
    rows: str | None = None,
    columns: str | None = None,
    *,
    details: bool = False,
) -> list[str]:
    """The kappa table of a study, or of the whole lab."""
    from labtui.views.kappa import kappa_lines

    try:
        return kappa_lines(context.lab.cells(study), rows, columns, details=details)
    except ValueError as error:
        raise BadInput(str(error)) from None


def _points(context: Context, study: int | None) -> tuple[Point, ...]:
    from labtui.analysis.points import points

    return points(context.lab.jobs(context.lab.job_ids(study=study, archived=None)))


def scaling(context: Context) -> None:
    """N* against L or m; with --json the points and the fits."""
    study = study_of(context, context.args.study)
    if context.json:
        from labtui.analysis.fits import fit_all

        points = _points(context, study)
        context.emit({"points": points, "fits": [f.to_dict() for f in fit_all(points)]})
        return
    context.lines(scaling_text(context, study))


def scaling_text(context: Context, study: int | None) -> list[str]:
    """The plot of a study, or of the whole lab."""
    from labtui.analysis.fits import fit_all
    from labtui.views.scaling import scaling_lines

    args = context.args
    points = _points(context, study)
    return scaling_lines(
        points,
        fit_all(points),
        x=getattr(args, "x", None),
        width=getattr(args, "width", 96),
        height=getattr(args, "height", 22),
        ascii=context.ascii,
    )


def fits(context: Context) -> None:
    """Exponents of each series, or why there are none."""
    from labtui.analysis.fits import fit_all

    found = fit_all(_points(context, study_of(context, context.args.study)))
    if context.json:
        context.emit([fit.to_dict() for fit in found])
        return
    for fit in found:
        context.line(clean(f"{fit.series.label}: {fit.text(context.ascii)}"))
    if not found:
        context.say("no search has ended yet")


def bracket(context: Context) -> None:
    """How a job's bracket closed."""
    from labtui.views.job import bracket_lines

    job = context.job(context.args.job)
    probes = context.lab.probes(job.id)
    if context.json:
        context.emit({"job": job, "probes": probes})
        return
    context.lines(bracket_lines(job, probes, context.args.width))


def terms(context: Context) -> None:
    """N*_n of every length of one cell."""
    from labtui.analysis.kappa import kappa as measure
    from labtui.views.kappa import cell_lines, terms_lines

    cells = {cell.id: cell for cell in context.lab.cells()}
    if context.args.cell not in cells:
        known = ", ".join(map(str, list(cells)[:12])) or "none in this lab"
        raise BadInput(f"there is no cell {context.args.cell}; expected one of: {known}")
    found = measure(cells[context.args.cell])
    if context.json:
        context.emit(found.to_dict())
        return
    context.lines([*terms_lines(found, context.args.width), "", *cell_lines(found)[1:]])


def generalisation(context: Context) -> None:
    """Accuracy at twice the length beside kappa (the paper's Table 2),
    and their rank correlation (Observation 4.5).
    """
    from labtui.analysis.kappa import kappa as measure
    from labtui.analysis.length import rank_correlation
    from labtui.views.grid import grid
    from labtui.views.kappa import name

    kappas = [
        measure(cell) for cell in context.lab.cells(study_of(context, context.args.study)) if cell.parts
    ]
    found = rank_correlation(kappas)
    if context.json:
        rows = [
            {"cell": k.cell.id, "kappa": k.value, "generalisation": k.cell.joint.generalisation}
            for k in kappas
        ]
        context.emit({"cells": rows, "rank_correlation": found.to_dict()})
        return
    rows_text = [
        [
            name(k.cell),
            k.text(),
            "–" if k.cell.joint.generalisation is None else f"{k.cell.joint.generalisation:.2f}",
        ]
        for k in kappas
    ]
    context.lines(grid(["cell", "kappa", "accuracy at 2L"], rows_text, right="accuracy at 2L"))
    context.line()
    context.line(found.text())
