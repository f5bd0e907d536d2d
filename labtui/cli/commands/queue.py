"""``labtui queue``: running, next, recently finished; devices; the supervisor."""

from __future__ import annotations

from labtui.analysis.eta import read_outlook
from labtui.cli.arguments import LIMIT, STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.selection import limited, study_id, tell_limit
from labtui.views import queue as text
from labtui.views.lines import plain
from labtui.views.nodes import node_lines
from store.filters import Condition
from store.states import ENDED_STATES, LIVE_STATES, supervised


def arguments(parser: Parser) -> None:
    """Take --study and --limit."""
    parser.add_argument("--study", **STUDY)
    parser.add_argument("--limit", **LIMIT)
    parser.runs(run)


def run(context: Context) -> None:
    """Tell what runs, is next and has lately ended; the devices; the supervisor."""
    lab, study = context.lab, study_id(context, context.args.study)
    live = lab.job_ids([Condition("state", "=", LIVE_STATES)], study=study)
    ended = lab.job_ids([Condition("state", "=", ENDED_STATES)], order="-finished", study=study)
    limit = 20 if context.args.limit is None else context.args.limit
    shown, recent = lab.jobs(limited(live, limit)), lab.jobs(limited(ended, min(limit, 10)))
    studies = [s for s in lab.studies() if not s.archived and (study is None or s.id == study)]
    if context.json:
        context.emit(
            {
                "counts": lab.counts(),
                "supervisor": lab.supervisor(),
                "holding": lab.holding(),
                "devices": lab.devices(),
                "studies": studies,
                "live": lab.jobs(live),
            }
        )
        return
    context.line(f"{context.lab_path}: {text.count_line(lab.counts())}")
    remedy = "" if lab.read_only else text.START
    context.line(text.supervisor_line(lab.supervisor(), lab.holding(), remedy=remedy))
    if nodes := lab.nodes():
        context.lines(["", *(plain(line) for line in node_lines(nodes, lab.devices()))])
    elif lab.devices():
        context.lines(["", *text.device_lines(lab.devices())])
    if studies:
        context.lines(["", *text.study_lines(studies[-10:])])
    if shown:
        found, alive = read_outlook(lab, [job.id for job in shown]), supervised(lab.supervisor())
        context.lines(["", *text.job_lines(shown, outlook=found.outlook, supervised=alive)])
        if alive and (line := text.eta_line(found, paused=lab.counts().get("paused", 0))):
            context.line(plain(line))
        tell_limit(context, live, limit)
    if recent:
        context.lines(["", *text.job_lines(recent, ended=True)])
        tell_limit(context, ended, min(limit, 10))
    if not shown and not recent:
        context.line("nothing is queued; begin with: labtui submit quick --start")
