"""``labtui submit``: check a spec, tell its cost, queue it; what the lab already knows is reused."""

from __future__ import annotations

from labtui.cli import supervise, writing
from labtui.cli.arguments import SPEC, START, Parser, add_devices
from labtui.cli.context import Context
from labtui.views.cost import cost_lines, describe
from runners.spec import NamedJob, Study, advice, load


def arguments(parser: Parser) -> None:
    """The spec, and what is done with it."""
    parser.add_argument("spec", **SPEC)
    parser.add_argument(
        "--dry-run", action="store_true", help="print what it would queue and cost; queue nothing"
    )
    parser.add_argument("--start", **START)
    add_devices(parser)
    parser.runs(run, example="study.toml --start")


def run(context: Context) -> None:
    """Queue a study or a job; with --dry-run only say what it would be."""
    args = context.args
    spec = load(args.spec)
    told = advice(spec)
    if args.dry_run:
        for warning in told:
            context.say(warning)
        known = context.lab if context.lab_path.exists() else None
        facts = describe(spec, known)
        if context.json:
            context.emit(facts)
        else:
            context.lines(cost_lines(facts))
        return
    context.will_write()
    if args.start:
        writing.require_torch()
        supervise.options(context)  # what is wrong with them is told before anything is queued
    queue(context, spec)
    for warning in told:
        context.say(warning)
    if args.start:
        supervise.start(context)
    elif not supervise.alive(context.lab_path):
        context.say("no supervisor runs; begin with: labtui run, or labtui daemon start")


def queue(context: Context, spec: Study | NamedJob) -> tuple[int, ...]:
    """Write it into the lab and tell what happened; the ids of its jobs."""
    if not context.lab_path.exists():
        context.say(f"new lab {context.lab_path}")
    done = writing.submit(context.lab_path, spec)
    if context.json:
        context.emit(done)
    else:
        again = f", {done.requeued} queued again" if done.requeued else ""
        context.say(
            f"{context.lab_path}: {len(done.jobs)} searches, {done.new} new, "
            f"{done.reused} known already{again}"
        )
    return done.jobs
