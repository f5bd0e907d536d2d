"""Verbs: commands to the supervisor, written into the lab; where none runs they take effect at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from labtui.cli.context import Context
from labtui.cli.entry import BadInput
from labtui.cli.reading import study_of
from store.locks import supervisor_alive
from store.paths import LabPaths

ANSWER_S = 15.0
"""How long a verb waits for the supervisor, which looks at its commands at least every second."""
Send = Callable[[], int]


def _chosen(context: Context) -> list[int]:
    """Ids of the jobs named, or of the whole study."""
    args = context.args
    ids = [job.id for job in context.jobs(args.jobs)]
    study = study_of(context, getattr(args, "study", None))
    if study is not None:
        if ids:
            raise BadInput("both jobs and --study are given; expected one of them")
        ids = list(context.lab.job_ids(study=study, archived=None))
    if not ids:
        raise BadInput("no job is given; expected ids, hashes or --study")
    return ids


def _send(context: Context, send: Send, jobs: Sequence[int] = ()) -> None:
    """Write the command; wait for what became of it, and tell."""
    path = context.lab_path
    command_id = send()
    if not supervisor_alive(LabPaths(path)):
        from labtui.cli.writing import apply_pending

        apply_pending(path)
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


def verb(context: Context) -> None:
    """pause, resume, cancel, retry, archive, unarchive, delete, restore, undo."""
    import store.commands

    ids = _chosen(context)
    act = getattr(store.commands, context.args.verb)
    _send(context, lambda: act(context.lab_path, ids), ids)
    if context.args.verb in ("resume", "retry", "undo_cancel") and not supervisor_alive(
        LabPaths(context.lab_path)
    ):
        context.say("no supervisor runs; start one: labtui daemon start")


def priority(context: Context) -> None:
    """Higher runs first."""
    import store.commands

    value, ids = context.args.value, _chosen(context)
    if not -1000 <= value <= 1000:
        raise BadInput(f"priority is {value}; expected -1000 to 1000")
    _send(context, lambda: store.commands.priority(context.lab_path, ids, value), ids)


def move(context: Context) -> None:
    """Reorder within a priority."""
    import store.commands

    ids = _chosen(context)
    before = context.job(context.args.before).id if context.args.before else None
    _send(context, lambda: store.commands.move(context.lab_path, ids, before=before), ids)


def note(context: Context) -> None:
    """A note on a job."""
    import store.commands

    job, text = context.job(context.args.job).id, context.args.text
    if len(text) > 10_000:
        raise BadInput(f"the note has {len(text)} characters; expected at most 10000")
    _send(context, lambda: store.commands.note(context.lab_path, [job], text), [job])


def tag(context: Context) -> None:
    """The tags of a job."""
    import store.commands

    job, tags = context.job(context.args.job).id, list(context.args.tags)
    for word in tags:
        if not 1 <= len(word) <= 40:
            raise BadInput(f"a tag has {len(word)} characters; expected 1 to 40")
    _send(context, lambda: store.commands.tag(context.lab_path, [job], tags), [job])


def rename(context: Context) -> None:
    """Another name for a job."""
    _edit(context, {"name": context.args.name})


def edit(context: Context) -> None:
    """A merge patch, checked as a spec is."""
    try:
        patch = json.loads(context.args.patch)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f'the patch is not JSON ({error}); expected an object like {{"priority": 5}}'
        ) from None
    if not isinstance(patch, dict):
        raise BadInput('the patch is no object; expected one like {"priority": 5}')
    _edit(context, patch)


def _edit(context: Context, patch: dict[str, Any]) -> None:
    import store.commands

    job = context.job(context.args.job).id
    _send(context, lambda: store.commands.edit(context.lab_path, job, json.dumps(patch)), [job])


def lab_verb(context: Context) -> None:
    """hold, release, drain: the whole queue."""
    import store.commands

    act = getattr(store.commands, context.args.verb)
    _ = context.lab  # a file that is no lab is told first
    _send(context, lambda: act(context.lab_path))


def device(context: Context) -> None:
    """Use a device or leave it alone; without arguments list them."""
    args = context.args
    if args.id is not None:
        context.will_write()
    rows = context.lab.devices()
    if args.id is None:
        if context.json:
            context.emit(rows)
        else:
            from labtui.views.queue import device_lines

            context.lines(device_lines(rows))
        return
    import store.commands

    if args.id not in [d.id for d in rows]:
        known = ", ".join(d.id for d in rows) or "none known yet; a supervisor finds them"
        raise BadInput(f"there is no device {args.id!r}; expected one of: {known}")
    if args.state is None and args.slots is None:
        raise BadInput("nothing to change; expected --state or --slots")
    if args.slots is not None and not 0 <= args.slots <= 1024:
        raise BadInput(f"--slots is {args.slots}; expected 0 to 1024")
    _send(
        context, lambda: store.commands.device(context.lab_path, args.id, state=args.state, slots=args.slots)
    )
