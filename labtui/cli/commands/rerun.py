"""``labtui rerun JOB --check``: the same search again from nothing but what is stored,
in a lab of its own, compared.

Tells first what the two ran with that differs (threads, plan, processor, versions), then equal bits, equal
verdicts or DIFFERENT; exit 1 where bracket, flags or verdicts differ. JOB may be a file that ``show --json``
wrote.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from labtui.cli import supervise, writing
from labtui.cli.arguments import JOB, Parser, add_devices
from labtui.cli.commands.show import record
from labtui.cli.context import Context
from labtui.cli.errors import FAILED, BadInput, WorkFailed
from labtui.cli.follow import supervise_and_follow
from labtui.cli.new_file import require_new
from labtui.views.repeat import compare_records, result_text
from runners.spec import SCIENCE_VERSION, Job, NamedJob
from runners.spec.sentences import first_problem
from store.json import document


def arguments(parser: Parser) -> None:
    """Take JOB, and what becomes of the new lab."""
    parser.add_argument("job", **JOB)
    parser.add_argument(
        "--check", action="store_true", help="compare with the stored result; exit 1 where they differ"
    )
    parser.add_argument("--out", metavar="FILE", help="keep the new lab there (else a temporary one)")
    add_devices(parser)
    parser.runs(run, example="7 --check")


def stored(context: Context, what: str) -> dict[str, Any]:
    """The record of a job of the lab, or of a file that ``labtui show JOB --json`` wrote."""
    path = Path(what)
    if path.suffix != ".json":
        return record(context, context.job(what).id)
    try:
        found = document(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    if found is None:
        raise BadInput(f"{path} is not JSON; expected what labtui show JOB --json writes") from None
    if not isinstance(found, dict) or not isinstance(found.get("spec"), dict):
        raise BadInput(f"{path} has no spec; expected what labtui show JOB --json writes")
    return found


def run(context: Context) -> int:
    """Run it; with --check tell what differs, exit 1 where the bracket or a verdict does."""
    args = context.args
    old = stored(context, args.job)
    try:
        job = Job.from_json(json.dumps(old["spec"]))
    except ValidationError as error:
        raise BadInput(f"the stored spec is not valid here: {first_problem(error, Job)[0]}") from None
    if job.program is None:
        writing.require_torch()
    told = old.get("science_version")
    if told != SCIENCE_VERSION:
        context.say(
            f"warning: stored with science version {told}, this is {SCIENCE_VERSION}: numbers may differ"
        )
    with ExitStack() as stack:
        if args.out is not None:
            path = Path(args.out)
            require_new(path)
        else:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labtui-rerun-"))) / "lab.db"
        args.lab, args.read_only = str(path), False
        context.close()
        supervise.options(context)  # a wrong --devices is told before a lab is made
        writing.submit(path, NamedJob(job=job))
        new = _train(context)
    if not args.check:
        context.emit(new) if context.json else context.line(result_text(new["job"]))
        return 0
    result = compare_records(old, new)
    if context.json:
        context.emit(result)
    else:
        context.lines(result.lines())
    return 0 if result.same else FAILED


def _train(context: Context) -> dict[str, Any]:
    code = supervise_and_follow(context)
    found = record(context, context.lab.jobs()[0].id)
    context.lab.close()
    if code:
        raise WorkFailed(
            f"the search did not end: {found['job']['state']} ({found['job']['reason'] or 'no reason told'})"
        )
    return found
