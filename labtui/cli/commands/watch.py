"""``labtui watch``: follow jobs to their end."""

from __future__ import annotations

from labtui.cli import supervise
from labtui.cli.arguments import ONE_OR_ALL, STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.errors import WorkFailed
from labtui.cli.follow import Follower
from labtui.cli.selection import study_id
from labtui.views.job import bracket_lines, summary_lines
from store.states import LIVE_STATES, MOVING_STATES


def arguments(parser: Parser) -> None:
    """Take JOB and --study."""
    parser.add_argument("job", **ONE_OR_ALL)
    parser.add_argument("--study", **STUDY)
    parser.runs(run, example="7")


def run(context: Context) -> int:
    """Follow jobs to their end; exit 1 where one failed or was cancelled."""
    args, lab = context.args, context.lab
    study = study_id(context, args.study)
    if args.job is not None:
        ids = [context.job(args.job).id]
    elif study is not None:
        ids = list(lab.job_ids(study=study))
    else:
        ids = [job.id for job in lab.jobs() if job.state in LIVE_STATES]
    live = [job for job in lab.jobs(ids) if job.state in MOVING_STATES]
    if live and not supervise.alive(context.lab_path):
        raise WorkFailed("no supervisor runs, so nothing will move; start one: labtui daemon start")
    code = Follower(context, ids, lambda: supervise.alive(context.lab_path)).run()
    rows = lab.jobs(ids)
    if context.json:
        context.emit(rows)
    elif args.job is not None:
        context.lines(summary_lines(rows[0]))
        probes, trials, spec = lab.probes(ids[0]), lab.trials(ids[0]), lab.job_spec(ids[0])
        context.lines(["", *bracket_lines(rows[0], probes, trials, spec=spec)])
    return code
