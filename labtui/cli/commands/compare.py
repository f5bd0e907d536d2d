"""``labtui compare``: measured beside published, two jobs side by side, or this lab beside another.

``paper``: the paper's eleven statements: confirmed, contradicted, open or not measured, each with numbers,
intervals and jobs, and at whose settings (the rules: docs/science.md). Two jobs: side by side. A file: this
lab beside another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labtui.analysis.paper import compare_paper, counts
from labtui.analysis.stored import measured
from labtui.cli.arguments import Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.new_file import into
from labtui.cli.output import plain
from labtui.export.papers import markdown, statement_table
from labtui.views import numbers
from labtui.views.compare import Pair, job_pair_lines, lab_lines, lab_pairs
from labtui.views.grid import grid, terminal_width
from labtui.views.kappa import name
from labtui.views.lines import plain as plain_line
from labtui.views.paper import paper_lines
from store.json import mapping
from store.read import open_lab
from store.rows import JobRow
from store.states import supervised

WIDE = 110
"""Columns of a text that goes into a pipe or a file."""


def arguments(parser: Parser) -> None:
    """Take what to compare, and with what."""
    parser.add_argument("what", metavar="paper|JOB|LAB", help="the paper, a job, or a lab's file")
    parser.add_argument("other", metavar="JOB", nargs="?", help="beside a job: the other one")
    parser.add_argument("-o", "--out", metavar="TO", help="of the paper: a new file, .md")
    parser.runs(run, example="paper")


def run(context: Context) -> None:
    """Compare with the paper, two jobs, or with another lab's file."""
    what, other = context.args.what, context.args.other
    if context.args.out is not None and what != "paper":
        raise BadInput(f"--out is for the paper; expected compare paper --out {context.args.out}")
    if what == "paper" and other is None:
        paper(context)
    elif other is not None:
        two_jobs(context, what, other)
    elif Path(what).is_file():
        labs(context, Path(what))
    else:
        raise BadInput(f"{what!r} is neither 'paper' nor a lab's file; expected one of these, or two jobs")


def paper(context: Context) -> None:
    """Each statement of the paper beside this lab's cells: confirmed, contradicted, open or not measured."""
    out = context.args.out
    if out is not None and Path(out).suffix.lower() != ".md":
        raise BadInput(f"--out is {out}; expected a new file that ends in .md")
    rows = compare_paper(*measured(context.lab))
    if out is not None:
        text = markdown([statement_table(rows)])

        def write(path: Path) -> None:
            path.write_text(text, "utf-8")

        into(Path(out), write)
        context.say(f"wrote {out}")
    elif context.json:
        context.emit({"counts": counts(rows), "statements": [row.to_dict() for row in rows]})
    else:
        context.lines(plain_line(line) for line in paper_lines(rows, terminal_width() or WIDE))


def two_jobs(context: Context, first: str, second: str) -> None:
    """Tell two jobs' results and whatever differs in their specs."""
    rows = [context.job(first), context.job(second)]
    specs = [mapping(context.lab.job_spec(row.id)) for row in rows]
    if context.json:
        context.emit([plain(row) | {"spec": spec} for row, spec in zip(rows, specs, strict=True)])
        return
    context.lines(job_pair_lines(rows[0], rows[1], specs[0], specs[1], supervised(context.lab.supervisor())))


def labs(context: Context, path: Path) -> None:
    """Tell which searches both labs have, and whether they agree."""
    with open_lab(path, read_only=True) as lab:
        theirs = {row.hash: row for row in lab.jobs()}
        pairs = lab_pairs(context.lab.cells(), lab.cells())
    mine = context.lab.jobs()
    both = [(row, theirs[row.hash]) for row in mine if row.hash in theirs]
    rows: list[dict[str, Any]] = [
        {
            "hash": a.hash,
            "label": numbers.name(a),
            "here": {"job": a.id, "state": a.state, "status": a.status, "lo": a.lo, "hi": a.hi},
            "there": {"job": b.id, "state": b.state, "status": b.status, "lo": b.lo, "hi": b.hi},
            "verdict": agreement(a, b),
        }
        for a, b in both
    ]
    if context.json:
        context.emit(
            {"both": rows, "only_here": len(mine) - len(both), "only_there": len(theirs) - len(both)}
            | {"kappas": [_kappas(pair) for pair in pairs]}
        )
        return
    heads = ["search", "here", "there", "verdict"]
    table = [[r["label"], _result(a), _result(b), r["verdict"]] for r, (a, b) in zip(rows, both, strict=True)]
    if both:
        context.lines(grid(heads, table))
    context.line(
        f"{len(both)} searches in both, {len(mine) - len(both)} only here, "
        f"{len(theirs) - len(both)} only in {path.name}"
    )
    if pairs:
        context.lines(["", *lab_lines(pairs)])


def _kappas(pair: Pair) -> dict[str, Any]:
    """One cell in both labs as JSON: the text that tells a bound from a value, and the value."""
    found = {"here": pair.here, "there": pair.there}
    told = {lab: None if k is None else {"text": k.text(), "value": k.value} for lab, k in found.items()}
    return {"label": name(pair.cell), **told}


def agreement(a: JobRow, b: JobRow) -> str:
    """identical, overlapping brackets, different, or open."""
    if a.state != "done" or b.state != "done":
        return "open"
    if (a.status, a.lo, a.hi) == (b.status, b.lo, b.hi):
        return "identical"
    if a.hi is not None and b.hi is not None and a.lo < b.hi and b.lo < a.hi:
        return "overlapping"
    return "different"


def _result(row: JobRow) -> str:
    return f"{numbers.nstar(row)} {numbers.known(row)}".rstrip() if row.state == "done" else row.state
