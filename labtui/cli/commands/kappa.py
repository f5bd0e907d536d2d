"""``labtui kappa``: the table over any axes; with --json every cell with all that it is made of.

Any two axes as rows and columns: ``task m model format L distribution min_length``; ``--details`` shows every
N*_n.
"""

from __future__ import annotations

from collections.abc import Sequence

from labtui.analysis.floor import floors
from labtui.analysis.kappa import kappa as measure
from labtui.cli.arguments import STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.selection import study_id
from labtui.views.kappa import kappa_lines
from store.rows import CellRow


def arguments(parser: Parser) -> None:
    """Take --study, and the axes of the table."""
    parser.add_argument("--study", **STUDY)
    parser.add_argument(
        "--rows", metavar="AXES", help="of task m model format L distribution min_length, by commas"
    )
    parser.add_argument("--columns", metavar="AXES", help="the same for the columns")
    parser.add_argument("--details", action="store_true", help="every N*_n below each table")
    parser.runs(run, example="--rows model,m --columns format")


def run(context: Context) -> None:
    """Tell the table over any axes; with --json every cell with all it is made of."""
    args = context.args
    study = study_id(context, args.study)
    if context.json:
        cells = context.lab.cells(study)
        known = cell_floors(context, cells)
        context.emit([measure(cell).to_dict(known) for cell in cells])
        return
    context.lines(kappa_text(context, study, args.rows, args.columns, details=args.details))


def cell_floors(context: Context, cells: Sequence[CellRow]) -> dict[int, float]:
    """The coverage floor of each search of these cells that has one."""
    every = (part.job_id for c in cells if c.format == "acot" for part in (c.joint, *c.parts))
    return floors(context.lab, every)


def kappa_text(
    context: Context,
    study: int | None,
    rows: str | None = None,
    columns: str | None = None,
    *,
    details: bool = False,
) -> list[str]:
    """The kappa table of a study, or of the whole lab."""
    cells = context.lab.cells(study)
    known = cell_floors(context, cells) if details else {}
    try:
        return kappa_lines(cells, rows, columns, details=details, floors=known)
    except ValueError as error:
        raise BadInput(str(error)) from None
