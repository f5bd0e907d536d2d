"""``labtui export``: tables as CSV (safe to open in a spreadsheet) or JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, TextIO

from labtui.analysis.kappa import kappa
from labtui.cli.arguments import STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.output import pages, write_csv, write_json
from labtui.cli.selection import study_id
from store.rows import EventRow, JobRow, ProbeRow, TrialRow

CELL_COLUMNS = ("id", "task", "m", "model", "model_label", "format", "distribution", "L")
TABLES = ("jobs", "probes", "trials", "curves", "cells", "kappa", "events")


def arguments(parser: Parser) -> None:
    """TABLE, and where it goes."""
    parser.add_argument("table", choices=TABLES, metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--out", metavar="FILE", help="instead of stdout")
    parser.add_argument("--study", **STUDY)
    parser.runs(run, example="jobs --out jobs.csv")


def rows_of(context: Context, table: str, study: int | None) -> Iterable[Mapping[str, Any]]:
    """The rows of a table, in order of id."""
    lab = context.lab
    if table in ("cells", "kappa"):
        for cell in lab.cells(study):
            found = kappa(cell).to_dict()
            numbers = found.pop("kappa")
            joint, parts = found.pop("joint"), found.pop("parts")
            flat = {
                **found,
                **{f"kappa_{k}": v for k, v in numbers.items()},
                **{f"joint_{k}": v for k, v in joint.items()},
            }
            if table == "kappa":
                yield flat
            else:
                axes = {k: found[k] for k in CELL_COLUMNS}
                yield from ({**axes, **part} for part in [{"n": None, **joint}, *parts])
        return
    ids = lab.job_ids(order="id", study=study, archived=None)
    if table == "jobs":
        yield from (vars(row) for row in pages(lab.jobs, ids))
    elif table == "probes":
        yield from (vars(row) for i in ids for row in lab.probes(i))
    elif table == "trials":
        yield from (vars(row) for i in ids for row in lab.trials(job_id=i))
    elif table == "curves":
        for i in ids:
            for trial in lab.trials(job_id=i):
                curve = lab.curve(trial.id)
                for step, train, loss in (
                    zip(curve.steps, curve.train, curve.validation, strict=False) if curve else ()
                ):
                    yield {"trial_id": trial.id, "step": step, "train": train, "validation": loss}
    else:
        after = 0
        while batch := _events(context, after):
            yield from batch
            after = batch[-1]["id"]


def columns_of(table: str) -> tuple[str, ...]:
    """The heading of a table without rows; of cells and kappa the axes, since the rest comes with values."""
    rows: dict[str, type] = {"jobs": JobRow, "probes": ProbeRow, "trials": TrialRow, "events": EventRow}
    if table in rows:
        return tuple(f.name for f in fields(rows[table]))
    return ("trial_id", "step", "train", "validation") if table == "curves" else CELL_COLUMNS


def _events(context: Context, after: int) -> list[dict[str, Any]]:
    return [vars(e) for e in context.lab.events(after=after, limit=context.lab.last_event_id() - after)]


def run(context: Context) -> None:
    """CSV, or JSON with --json, to stdout or a new file."""
    args = context.args
    rows = rows_of(context, args.table, study_id(context, args.study))

    def write(out: TextIO) -> None:
        if context.json:
            write_json(rows, out)
        else:
            write_csv(rows, out, columns_of(args.table))

    if args.out is None:
        write(context.out)
        return
    path = Path(args.out)
    try:
        file = path.open("x", encoding="utf-8", newline="")
    except FileExistsError:
        raise BadInput(f"{path} is there already; expected a new file") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from None
    try:
        with file:
            write(file)
    except BaseException as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # half a table would look like a whole one
        if isinstance(error, OSError):
            raise BadInput(f"{path} cannot be written: {error.strerror}") from None
        raise
    context.say(f"wrote {path}")
