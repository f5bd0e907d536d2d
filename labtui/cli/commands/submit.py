"""``labtui submit``: check a spec, or a job of the lab with other settings; tell its cost; queue it.

``--dry-run`` tells what it would queue and cost, ``--start`` starts the supervisor too. ``--set`` goes with a
FILE or PRESET as well as with ``--from``, as often as wanted: ``--set search.eps=0.03 --set m=5``.
"""

from __future__ import annotations

from labtui.cli import asking, supervise, writing
from labtui.cli.arguments import START, Parser, add_devices
from labtui.cli.commands.show import named_job
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.waiting import waiting
from labtui.views.cost import cost_lines, describe
from labtui.views.program import waiting_for_word
from runners.presets import preset_names
from runners.spec import NamedJob, Study, advice, differences, load, searches_of_part, with_keys


def arguments(parser: Parser) -> None:
    """Take the spec, and what is done with it."""
    parser.add_argument(
        "spec", metavar="FILE|PRESET", nargs="?", help=f"a TOML file, or {', '.join(preset_names())}"
    )
    parser.add_argument("--from", dest="job", metavar="JOB", help="instead: a job of the lab, with --set")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="such as search.eps=0.03"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what it would queue and cost; queue nothing"
    )
    parser.add_argument("--part", metavar="K/N", help="train cells of part K of N; the rest is paused")
    parser.add_argument("--allow", action="store_true", help="its program may run here: do not ask")
    parser.add_argument("--start", **START)
    add_devices(parser)
    parser.runs(run, example="study.toml --start")


def run(context: Context) -> None:
    """Queue a study or a job; with --dry-run only say what it would be."""
    args = context.args
    spec = chosen(context)
    told = advice(spec)
    only = part_of(spec, args.part) if args.part is not None else None
    if only is not None and isinstance(spec, Study):
        context.say(f"part {args.part}: {len(only)} of {len(spec.jobs())} searches")
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
    jobs = spec.jobs() if isinstance(spec, Study) else (spec.job,)
    if args.start:
        if any(job.program is None for job in jobs):
            writing.require_torch()
        supervise.options(context)  # what is wrong with them is told before anything is queued
    unasked = waiting_for_word(jobs)
    agreed = asking.allow(context, unasked, sure=args.allow)
    queue(context, spec, only)
    if not agreed:
        context.say(f"{len(unasked)} searches run a program and wait for your word: labtui allow JOB")
    for warning in told:
        context.say(warning)
    if args.start:
        supervise.start(context)
    elif not supervise.alive(context.lab_path):
        context.say("no supervisor runs; begin with: labtui run, or labtui daemon start")


def chosen(context: Context) -> Study | NamedJob:
    """The spec of FILE|PRESET or of --from JOB, with what --set says; tells in what the job then differs.

    Raises:
        BadInput: both or none of them are given, or the settings leave a job as it is.
    """
    args = context.args
    if (args.spec is None) == (args.job is None):
        given = "neither a spec nor --from JOB is" if args.spec is None else "both a spec and --from JOB are"
        raise BadInput(f"{given} given; expected one of them")
    if args.job is None:
        return with_keys(load(args.spec), args.set)
    was = named_job(context, args.job)
    old = NamedJob(tags=was.tags, priority=was.priority, job=was.job)  # name and notes are the old one's own
    new = with_keys(old, args.set)
    row = context.job(args.job)
    changed = differences(new.job, old.job) if isinstance(new, NamedJob) else ()
    if not changed and old.job.hash == row.hash:  # it is another one where the science has moved on since
        raise BadInput(
            f"this is the search of job {row.id}; expected --set with another value, such as search.eps=0.03"
        )
    told = ", ".join(f"{key} {here} (there {there})" for key, here, there in changed)
    context.say(f"as job {row.id}" + (f" but for {told}" if told else ", with the numbers of this labtui"))
    return new


def part_of(spec: Study | NamedJob, text: str) -> frozenset[str]:
    """The hashes of the searches that ``K/N`` names.

    Raises:
        BadInput: there is no such part.
    """
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal()):
        raise BadInput(f"--part is {text!r}; expected K/N, such as 2/8")
    if not isinstance(spec, Study):
        raise BadInput("--part cuts a study by its cells, and this is one search; expected a study")
    try:
        return searches_of_part(spec, int(number), int(of))
    except ValueError as error:
        raise BadInput(f"--part {text}: {error}") from None


def queue(context: Context, spec: Study | NamedJob, only: frozenset[str] | None = None) -> tuple[int, ...]:
    """Write it into the lab and tell what happened; the ids of its jobs.

    Args:
        only: hashes of those that are to train here; the others are paused.
    """
    new = not context.lab_path.exists()
    with waiting(context, "queueing"):
        done = writing.submit(context.lab_path, spec, only=only)
    if new:  # its name may be a typing error
        context.say(f"new lab {context.lab_path}")
    if context.json:
        context.emit(done)
    else:
        again = f", {done.requeued} queued again" if done.requeued else ""
        context.say(
            f"{context.lab_path}: {len(done.jobs)} searches, {done.new} new, "
            f"{done.reused} known already{again}"
        )
    return done.jobs
