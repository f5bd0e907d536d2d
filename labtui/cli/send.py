"""Send a command to the supervisor through the lab, and tell its answer.

Where none runs it takes effect at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from labtui.cli import writing
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.selection import study_id
from store.locks import supervisor_alive
from store.paths import LabPaths

ANSWER_S = 15.0
"""How long a command waits for the supervisor, which looks at its commands at least every second."""


def chosen_jobs(context: Context) -> list[int]:
    """The ids of the jobs named, or of the whole study."""
    args = context.args
    ids = [job.id for job in context.jobs(args.jobs)]
    study = study_id(context, getattr(args, "study", None))
    if study is not None:
        if ids:
            raise BadInput("both jobs and --study are given; expected one of them")
        ids = list(context.lab.job_ids(study=study, archived=None))
    if not ids:
        raise BadInput("no job is given; expected ids, hashes or --study")
    return ids


def send(context: Context, write: Callable[[], int], jobs: Sequence[int] = ()) -> None:
    """Write a command with ``write``, which returns its id; wait for what became of it, and tell.

    Raises:
        BadInput: it was refused.
    """
    path = context.lab_path
    command_id = write()
    if not supervisor_alive(LabPaths(path)):
        writing.apply_pending(path)
    elif context.args.no_wait:
        if context.json:
            context.emit({"command": command_id, "state": "pending"})
        return
    row = context.lab.command(command_id)
    until = time.monotonic() + ANSWER_S
    while row is not None and row.state == "pending" and time.monotonic() < until:
        time.sleep(0.05)
        row = context.lab.command(command_id)
    state, text = (row.state, row.result) if row is not None else ("pending", "")
    if context.json:
        context.emit(
            {
                "command": command_id,
                "state": state,
                "text": text,
                "jobs": context.lab.jobs(jobs) if jobs else [],
            }
        )
    elif state == "pending":
        context.say("asked; the supervisor has not answered yet")
    elif state != "refused":
        context.say(text or state)
    if state == "refused":
        raise BadInput(text or "the supervisor refused")
