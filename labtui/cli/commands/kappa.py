"""``labtui kappa``: the table over any axes; with --json every cell with all that it is made of.

Any two axes as rows and columns: ``task m model format L distribution min_length``; ``--details`` shows every
N*_n.
"""

from __future__ import annotations

from labtui.analysis.kappa import kappa as measure
from labtui.cli.arguments import STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.selection import study_id
from labtui.views.kappa import kappa_lines


def arguments(parser: Parser) -> None:
    """--study, and the axes of the table."""
    parser.add_argument("--study", **STUDY)
    parser.add_argument(
        "--rows", metavar="AXES", help="of task m model format L distribution min_length, by commas"
    )
    parser.add_argument("--columns", metavar="AXES", help="the same for the columns")
    parser.add_argument("--details", action="store_true", help="every N*_n below each table")
    parser.runs(run, example="--rows model,m --columns format")


def run(context: Context) -> None:
    """The table over any axes; with --json every cell with all it is made of."""
    args = context.args
    study = study_id(context, args.study)
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
    try:
        return kappa_lines(context.lab.cells(study), rows, columns, details=details)
    except ValueError as error:
        raise BadInput(str(error)) from None
