"""``labtui edit``: change a queued job by a merge patch, which is checked as a spec is."""

from __future__ import annotations

import json
from typing import Any

import store.commands
from labtui.cli.arguments import JOB, NO_WAIT, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.send import send


def arguments(parser: Parser) -> None:
    """Take JOB, and the patch."""
    parser.add_argument("job", **JOB)
    parser.add_argument("patch", metavar="JSON", help="a merge patch")
    parser.add_argument("--no-wait", **NO_WAIT)
    parser.runs(run, writes=True, example="""7 '{"priority": 5}'""")


def run(context: Context) -> None:
    """Apply a merge patch, checked as a spec is."""
    try:
        patch = json.loads(context.args.patch)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f'the patch is not JSON ({error}); expected an object like {{"priority": 5}}'
        ) from None
    if not isinstance(patch, dict):
        raise BadInput('the patch is no object; expected one like {"priority": 5}')
    send_patch(context, patch)


def send_patch(context: Context, patch: dict[str, Any]) -> None:
    """Send a merge patch of the job that the command names."""
    job = context.job(context.args.job).id
    send(context, lambda: store.commands.edit(context.lab_path, job, json.dumps(patch)), [job])
