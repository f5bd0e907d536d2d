"""``labtui bundle``: one zip with all that a result rests on, to be opened with ``labtui import``.

A snapshot, specs, provenance, report and a checksum of each.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from labtui.cli import writing
from labtui.cli.arguments import Parser
from labtui.cli.commands.report import page
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.new_file import into, require_new
from labtui.cli.waiting import waiting
from labtui.export import bundle
from labtui.version import __version__
from store.json import document
from store.read import open_lab


def arguments(parser: Parser) -> None:
    """Take OUT."""
    parser.add_argument("out", metavar="OUT", help="a new .zip file")
    parser.runs(run, example="result.zip")


def run(context: Context) -> None:
    """Put snapshot, specs, provenance, checksums and report of the lab into one file."""
    out = Path(context.args.out)
    if out.suffix.lower() != ".zip":
        raise BadInput(f"{out} has no ending of a bundle; expected .zip")
    require_new(out)
    with waiting(context, "packing"), tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / name for name in bundle.NAMES}
        writing.snapshot(context.lab_path, files[bundle.SNAPSHOT], read_only=context.args.read_only)
        with open_lab(files[bundle.SNAPSHOT], read_only=True) as lab:
            context.__dict__["lab"] = lab  # the report is of the snapshot, not of what came after it
            files["report.html"].write_text(page(context, None), "utf-8")
            jobs = lab.jobs(lab.job_ids(order="id", archived=None))
            specs = {
                "studies": [document(study.spec) for study in lab.studies()],
                "jobs": {job.hash: document(lab.job_spec(job.id)) for job in jobs},
            }
            origin = {job.hash: lab.provenance(job.id) for job in jobs}
        context.__dict__.pop("lab")
        for name, value in (("spec.json", specs), ("provenance.json", origin)):
            files[name].write_text(json.dumps(value, indent=1, sort_keys=True), "utf-8")
        into(out, lambda path: bundle.pack(path, files, {"version": __version__, "jobs": len(jobs)}))
    context.say(f"wrote {out}: {len(jobs)} searches; open it with: labtui import {out} LAB")
