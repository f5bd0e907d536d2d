"""``labtui run``: supervise here until the queue is empty; an interrupt checkpoints and ends.

What was trained is kept: the next run goes on from there. ``LABTUI_TRAINER=module:Class`` has the workers
train with another engine.
"""

from __future__ import annotations

from labtui.cli import supervise, writing
from labtui.cli.arguments import Parser, add_devices
from labtui.cli.context import Context
from labtui.cli.follow import supervise_and_follow
from runners.pool import client


def arguments(parser: Parser) -> None:
    """Take the devices."""
    add_devices(parser)
    parser.runs(run, writes=True)


def run(context: Context) -> int:
    """Supervise here until the queue is empty; an interrupt checkpoints and ends."""
    _ = supervise.options(context)
    supervise.refuse_second(context)
    lab = supervise.ready(context)
    writing.require_torch(context.lab_path)
    if handing := client.outdated(context.lab_path):
        context.say(handing)
    code = supervise_and_follow(context)
    if context.json:
        context.emit({"counts": lab.counts()})
    return code
