"""``labtui pause``, ``resume``, ``cancel`` and the other commands that change the state of jobs.

A verb waits for the supervisor's answer; where none runs it takes effect at once.
"""

from __future__ import annotations

import store.commands
from labtui.cli.arguments import JOBS, NO_WAIT, WHOLE_STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.send import chosen_jobs, send
from store.locks import supervisor_alive
from store.paths import LabPaths


def arguments(parser: Parser) -> None:
    """Take jobs, or a whole study."""
    parser.add_argument("jobs", **JOBS)
    verb = parser.name
    if verb == "undo":
        verb = "undo_cancel"
    else:
        parser.add_argument("--study", **WHOLE_STUDY)
    parser.add_argument("--no-wait", **NO_WAIT)
    parser.runs(run, writes=True, example="3-9", verb=verb)


def run(context: Context) -> None:
    """Do one of pause, resume, cancel, retry, archive, unarchive, delete, restore, undo."""
    ids = chosen_jobs(context)
    act = getattr(store.commands, context.args.verb)
    send(context, lambda: act(context.lab_path, ids), ids)
    if context.args.verb in ("resume", "retry", "undo_cancel") and not supervisor_alive(
        LabPaths(context.lab_path)
    ):
        context.say("no supervisor runs; start one: labtui daemon start")
