"""``labtui export``: tables as CSV (safe to open in a spreadsheet), JSON, Parquet, LaTeX or Markdown.

Each row has its axes and N*. ``.csv`` that no spreadsheet takes for formulas, ``.json``, ``.jsonl``,
``.parquet`` (the extra ``parquet``); kappa and nstar as ``.tex`` (booktabs) and ``.md`` with what qualifies a
number as footnotes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from labtui.analysis.table import tables
from labtui.cli.arguments import STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput, WorkFailed
from labtui.cli.new_file import into
from labtui.cli.output import line_of, pages, write_csv, write_json
from labtui.cli.selection import study_id
from labtui.cli.waiting import Bar, waiting
from labtui.export import papers, parquet
from labtui.export.records import RECORDS, TABLES, Record
from labtui.views.kappa import choose_axes

if TYPE_CHECKING:
    from store.read import Lab

NSTAR = "nstar"
NAMES = (*TABLES, NSTAR)
PAPERS = {".tex": papers.latex, ".md": papers.markdown}
ENDINGS = (".csv", ".json", ".jsonl", ".parquet", *PAPERS)


def arguments(parser: Parser) -> None:
    """Take TABLE, and where it goes."""
    parser.add_argument("table", choices=NAMES, metavar="TABLE", help=" ".join(NAMES))
    parser.add_argument("-o", "--out", metavar="TO", help=f"a new file: {' '.join(ENDINGS)}")
    parser.add_argument("--study", **STUDY)
    parser.runs(run, example="jobs --out jobs.csv")


def run(context: Context) -> None:
    """Write CSV, JSON with --json, or what the ending of --out names, to stdout or a new file."""
    args = context.args
    out = None if args.out in (None, "-") else args.out  # - is stdout, as elsewhere
    kind = "" if out is None else Path(out).suffix.lower()
    if kind not in ("", *ENDINGS):
        raise BadInput(f"{out} has no ending of a table; expected {', '.join(ENDINGS)}")
    if context.json:
        if kind in (".parquet", *PAPERS):
            raise BadInput(f"--json and {args.out} are two formats; expected one of them")
        kind = kind if kind == ".jsonl" else ".json"
    if kind in PAPERS and args.table not in ("kappa", NSTAR):
        raise BadInput(f"{kind} is for kappa and nstar; expected another ending for {args.table}")
    study = study_id(context, args.study)
    table = "jobs" if args.table == NSTAR else args.table
    rows = TABLES[table](context.lab, study)
    if out is None:
        writer(context, kind, args.table, rows, study)(context.out)
        return
    if kind == ".parquet" and parquet.missing():
        raise WorkFailed(parquet.missing())
    with waiting(context, "writing") as bar:
        rows = _along(bar, rows, context.lab)

        def to(path: Path) -> None:
            if kind == ".parquet":
                parquet.write(rows, RECORDS[table], str(path))
                return
            with path.open("w", encoding="utf-8", newline="") as file:
                writer(context, kind, args.table, rows, study)(file)

        into(Path(out), to)
    context.say(f"wrote {out}")


def _along(bar: Bar, rows: Iterable[Record], lab: Lab) -> Iterator[Record]:
    """The rows, which come search by search, while the bar moves with them."""
    ids = lab.job_ids(order="id", archived=None)
    place = {job_id: i for i, job_id in enumerate(ids)}
    before = None
    for row in rows:
        job_id = getattr(row, "job_id", getattr(row, "id", None))
        if job_id != before and job_id in place:
            before = job_id
            bar.at(place[job_id], len(ids))
        yield row


def writer(
    context: Context, kind: str, table: str, rows: Iterable[Record], study: int | None
) -> Callable[[TextIO], None]:
    """What writes the rows of a table in the format of an ending; CSV for one that is not known."""

    def write(out: TextIO) -> None:
        if kind in PAPERS:
            found = paper_tables(context, table, study)
            out.write(PAPERS[kind](found))
        elif kind == ".json":
            write_json(rows, out)
        elif kind == ".jsonl":
            out.writelines(f"{line_of(vars(row))}\n" for row in rows)
        else:
            write_csv((vars(row) for row in rows), out, columns_of(table))

    return write


def columns_of(table: str) -> tuple[str, ...]:
    """The heading of a table, with rows or without."""
    return tuple(f.name for f in fields(RECORDS["jobs" if table == NSTAR else table]))


def paper_tables(context: Context, table: str, study: int | None) -> list[papers.PaperTable]:
    """kappa, or N* of every search, as tables for a paper."""
    lab = context.lab
    if table == NSTAR:
        ids = lab.job_ids(order="id", study=study, archived=None)
        return [papers.nstar_table(pages(lab.jobs, ids))]
    cells = [c for c in lab.cells(study) if c.parts]
    if not cells:
        raise BadInput("no kappa here: expected a study with a cell that has a sum over lengths")
    return papers.kappa_tables(tables(cells, *choose_axes(cells, None, None)))
