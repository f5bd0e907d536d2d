"""``labtui daemon``: the supervisor, detached from the terminal or in the foreground.

``run`` stays in the foreground (systemd, containers, a batch job).
"""

from __future__ import annotations

import os

from labtui.cli import supervise, writing
from labtui.cli.arguments import Parser, add_devices
from labtui.cli.context import Context
from labtui.cli.errors import FAILED, WorkFailed
from labtui.config import supervisor_variables
from labtui.views.queue import supervisor_line
from runners.pool import client


def arguments(parser: Parser) -> None:
    """start, stop, status, run."""
    part = parser.part("start", "start it, detached from this terminal")
    add_devices(part)
    part.runs(start, writes=True)
    parser.part("stop", "stop it; running work is checkpointed").runs(stop, writes=True)
    parser.part("status", "whether one runs, and how it is").runs(status)
    part = parser.part("run", "run it in the foreground and stay when idle (systemd)")
    add_devices(part)
    part.runs(run, writes=True)


def start(context: Context) -> None:
    """Detached from the terminal."""
    _have_lab(context)
    supervise.ready(context)
    supervise.start(context)


def _have_lab(context: Context) -> None:
    """A new one is named: its name may be a typing error."""
    if not context.lab_path.exists():
        context.say(f"new lab {context.lab_path}")
        writing.create_or_open(context.lab_path)


def stop(context: Context) -> None:
    """Running work is checkpointed and goes on at the next start."""
    _ = context.lab
    if not supervise.alive(context.lab_path):
        context.say("no supervisor runs")
        return
    stopped = client.stop(context.lab_path)
    if not stopped.ok:
        raise WorkFailed(stopped.text)
    context.say(stopped.text)


def status(context: Context) -> int:
    """Exit 0 where one runs, else 1."""
    row = context.lab.supervisor()
    running = supervise.alive(context.lab_path)
    if context.json:
        context.emit({"alive": running, "supervisor": row, "holding": context.lab.holding()})
    elif running and row is None:
        context.line("the first supervisor of this lab is starting")
    else:
        context.line(supervisor_line(row, context.lab.holding()))
    return 0 if running else FAILED


def run(context: Context) -> None:
    """For systemd: this process becomes the supervisor, in the foreground, and stays when idle."""
    writing.require_torch()
    _have_lab(context)
    supervise.refuse_second(context)
    supervise.ready(context)
    context.close()
    command = supervise.command(context, "--daemon")
    os.execve(command[0], command, client.environment(**supervisor_variables(context.settings)))
