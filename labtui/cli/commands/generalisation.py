"""``labtui generalisation``: accuracy at twice the length beside kappa."""

from __future__ import annotations

from labtui.analysis.kappa import kappa as measure
from labtui.analysis.length import rank_correlation
from labtui.cli.arguments import STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.selection import study_id
from labtui.views.grid import grid
from labtui.views.kappa import name
from labtui.views.numbers import share


def arguments(parser: Parser) -> None:
    """Take --study."""
    parser.add_argument("--study", **STUDY)
    parser.runs(run)


def run(context: Context) -> None:
    """Accuracy at twice the length beside kappa (the paper's Table 2), and their rank correlation
    (Observation 4.5).
    """
    kappas = [
        measure(cell) for cell in context.lab.cells(study_id(context, context.args.study)) if cell.parts
    ]
    found = rank_correlation(kappas)
    if context.json:
        rows = [
            {"cell": k.cell.id, "kappa": k.value, "generalisation": k.cell.joint.generalisation}
            for k in kappas
        ]
        context.emit({"cells": rows, "rank_correlation": found.to_dict()})
        return
    rows_text = [[name(k.cell), k.text(), share(k.cell.joint.generalisation)] for k in kappas]
    context.lines(grid(["cell", "kappa", "accuracy at 2L"], rows_text, right="accuracy at 2L"))
    context.line()
    context.line(found.text())
