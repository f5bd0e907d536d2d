"""``labtui export``: tables as CSV (safe to open in a spreadsheet) or JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from labtui.cli.context import Context, plain
from labtui.cli.entry import BadInput
from labtui.cli.reading import study_of

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: such texts get an apostrophe before them. Numbers stay numbers."""
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    if isinstance(value, list | dict):
        value = json.dumps(value, sort_keys=True)
    if isinstance(value, str):
        value = "".join(c if c.isprintable() or c in "\t\n" else "\N{REPLACEMENT CHARACTER}" for c in value)
        return "'" + value if value.lstrip(" \u00a0").startswith(_FORMULA) or value.startswith(_FORMULA) else value
    return value


def rows_of(context: Context, table: str, study: int | None) -> Iterable[Mapping[str, Any]]:
    """The rows of a table, in order of id."""
    lab = context.lab
    if table in ("cells", "kappa"):
        from labtui.analysis.kappa import kappa

        for cell in lab.cells(study):
            found = kappa(cell).to_dict()
            numbers = found.pop("kappa")
            joint, parts = found.pop("joint"), found.pop("parts")
            flat = {**found, **{f"kappa_{k}": v for k, v in numbers.items()}, **{f"joint_{k}": v for k, v in joint.items()}}
            if table == "kappa":
                yield flat
            else:
                axes = {k: found[k] for k in ("id", "task", "m", "model", "model_label", "format", "distribution", "L")}
                yield from ({**axes, **part} for part in [{"n": None, **joint}, *parts])
        return
    ids = list(lab.job_ids(order="id", study=study, archived=None))
    if table == "jobs":
        yield from (plain(row) for row in lab.jobs(ids))
    elif table == "probes":
        yield from (plain(row) for i in ids for row in lab.probes(i))
    elif table == "trials":
        yield from (plain(row) for i in ids for row in lab.trials(job_id=i))
    elif table == "curves":
        for i in ids:
            for trial in lab.trials(job_id=i):
                curve = lab.curve(trial.id)
                for step, train, loss in zip(curve.steps, curve.train, curve.validation, strict=False) if curve else ():
                    yield {"trial_id": trial.id, "step": step, "train": plain(train), "validation": plain(loss)}
    else:
        after = 0
        while batch := _events(context, after):
            yield from batch
            after = batch[-1]["id"]


def _events(context: Context, after: int) -> list[dict[str, Any]]:
    return [plain(e) for e in context.lab.events(after=after, limit=context.lab.last_event_id() - after)]


def write_csv(rows: Iterable[Mapping[str, Any]], out: TextIO) -> int:
    """RFC 4180 with a heading; the number of rows."""
    writer: Any = None
    count = 0
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(out, fieldnames=list(row), extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
        writer.writerow({key: safe(value) for key, value in row.items()})
        count += 1
    return count


def export(context: Context) -> None:
    """CSV, or JSON with --json, to stdout or a new file."""
    args = context.args
    study = study_of(context, args.study)
    rows = rows_of(context, args.table, study)
    if args.out is None:
        if context.json:
            context.emit(list(rows))
        else:
            write_csv(rows, context.out)
        return
    path = Path(args.out)
    if path.exists():
        raise BadInput(f"{path} is there already; expected a new file")
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            if context.json:
                json.dump(list(rows), file, indent=2, allow_nan=False)
            else:
                write_csv(rows, file)
    except FileExistsError:
        raise BadInput(f"{path} is there already; expected a new file") from None
    except OSError as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # half a table would look like a whole one
        raise BadInput(f"{path} cannot be written: {error.strerror}") from None
    context.say(f"wrote {path}")
