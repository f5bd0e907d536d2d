"""``labtui show JOB``: everything about a search, with --json enough to run it again; ``labtui show SCREEN``:
that screen.

A job: bracket, candidates, spec with its defaults, provenance, events; with ``--toml`` the spec that
``submit`` takes. A screen: ``queue``, ``job``, ``kappa``, ``scaling``, ``trials``, ``new [FILE|PRESET]``,
``compare [JOB JOB|OTHER.db]``, ``events``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labtui.analysis.alike import beside_first
from labtui.analysis.eta import read_outlook
from labtui.analysis.scan import success_curve
from labtui.cli.arguments import STUDY, Parser, add_size
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.output import plain
from labtui.cli.screen_text import screen_text
from labtui.tui.actions import SCREENS
from labtui.version import __version__
from labtui.views.bracket import standing_probes
from labtui.views.events import event_text
from labtui.views.job import bracket_lines, differing_lines, probe_lines, summary_lines
from labtui.views.numbers import own_name
from labtui.views.position import asked_lengths, position_lines, positions_of_trials
from labtui.views.scan import curve_lines
from labtui.views.spec import spec_lines
from store.json import document, mapping
from store.states import LIVE_STATES, supervised

if TYPE_CHECKING:
    from runners.spec import NamedJob


def arguments(parser: Parser) -> None:
    """Take a job or a screen, and the size of drawings."""
    parser.add_argument(
        "wanted",
        metavar="JOB|SCREEN",
        nargs="+",
        help="a job, or queue, kappa, scaling, ... with what it takes",
    )
    parser.add_argument("--study", **STUDY)
    parser.add_argument("--toml", action="store_true", help="the job as a spec that submit takes")
    add_size(parser)
    parser.runs(run, example="7")


def run(context: Context) -> None:
    """Show a screen by its name, else a job."""
    what, *more = context.args.wanted
    if what in SCREENS and not context.args.toml:
        screen_text(context, what, more)
        return
    if more:
        raise BadInput(
            f"show {what}: {more[0]!r} has no place here; expected one job, or a screen: {', '.join(SCREENS)}"
        )
    if context.args.toml:
        toml(context, what)
    else:
        job(context, what)


def toml(context: Context, reference: str) -> None:
    """Write a file that submits the same search again."""
    from runners.spec import to_toml  # loads pydantic

    context.out.write(to_toml(named_job(context, reference)))


def named_job(context: Context, reference: str) -> NamedJob:
    """A stored search as a spec.

    Raises:
        BadInput: its spec cannot be read by this labtui.
    """
    from runners.spec import Job, NamedJob

    row = context.job(reference)
    named = row.name if own_name(row) else ""
    try:
        search = Job.from_json(context.lab.job_spec(row.id))
        return NamedJob(name=named, notes=row.notes, tags=row.tags, priority=row.priority, job=search)
    except ValueError:
        raise BadInput(
            f"the spec of job {row.id} is damaged or of a later labtui; expected one that can be read"
        ) from None


def job(context: Context, reference: str) -> None:
    """Tell bracket, candidates, trials, spec, provenance and events of a job."""
    lab, row = context.lab, context.job(reference)
    if context.json:
        context.emit(record(context, row.id))
        return
    alive = supervised(lab.supervisor())
    probes = standing_probes(lab.probes(row.id), row, alive)
    going = row.state in LIVE_STATES
    outlook = read_outlook(lab, [row.id]).outlook if going else None
    context.lines(summary_lines(row, alive, probes, outlook))
    if probes:
        trials = lab.trials(row.id)
        drawn = bracket_lines(row, probes, trials, context.args.width, spec=lab.job_spec(row.id))
        what = "interval" if row.estimate is not None else "bracket"
        context.lines(["", f"How the {what} closed", "", *drawn])
        context.lines(["", "Candidates", "", *probe_lines(probes, trials, row)])
    if row.strategy == "scan":
        context.lines(["", "Success curve", "", *curve_lines(row, success_curve(probes))[2:]])
    spec = lab.job_spec(row.id)
    if tested := positions_of_trials(lab, row, probes, spec):
        lines = position_lines(tested, asked_lengths(spec))
        context.lines(["", "Accuracy at further lengths, 0 is chance and 1 perfection", "", *lines])
    context.lines(["", "Spec, defaults resolved", "", *spec_lines(mapping(spec))])
    if provenance := lab.provenance(row.id):
        context.lines(["", "Provenance", "", *spec_lines(provenance)])
    if (found := beside_first(lab, row)) is not None:
        context.lines(["", f"Beside job {found.other}, which reads like it", "", *differing_lines(found)])
    if events := lab.events(job_id=row.id, limit=12):
        context.lines(["", "Events", "", *event_text(events, [row])])


def record(context: Context, job_id: int) -> dict[str, Any]:
    """Tell a job as JSON: ``spec`` and ``science_version`` are enough to run it again (labtui rerun FILE)."""
    from runners.spec import SCIENCE_VERSION, Job  # loads pydantic, which the text does without

    lab = context.lab
    row = lab.jobs([job_id])[0]
    provenance, spec = lab.provenance(job_id), lab.job_spec(job_id)
    try:
        job = Job.from_json(spec)
    except ValueError:  # damaged, or of a later version: told as it stands
        job = None
    ours = (
        job is not None and job.hash == row.hash
    )  # the hash holds the version; the first one is told nowhere else
    tested = positions_of_trials(lab, row, lab.probes(job_id), spec)
    return {
        "labtui": __version__,
        "science_version": SCIENCE_VERSION if ours else provenance.get("science_version", 1),
        "lab": str(context.lab_path),
        "job": plain(row),
        "spec": document(spec),
        "resolved": document(job.canonical()) if job is not None else None,
        "provenance": plain(provenance),
        "probes": [plain(p) | {"plan": document(p.plan)} for p in lab.probes(job_id)],
        "trials": plain(lab.trials(job_id=job_id)),
        "accuracy_by_position": [
            {"trial": t.id, "lr": t.lr, "seed": t.seed, "length": length, "accuracy": list(told)}
            for t, curve in tested
            for length, told in curve.by_position
        ],
        "events": [plain(e) | {"data": document(e.data)} for e in lab.events(job_id=job_id, limit=10_000)],
    }
