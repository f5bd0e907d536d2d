"""``labtui daemon``: the supervisor, detached from the terminal or in the foreground.

``run`` stays in the foreground (systemd, containers, a batch job). ``unit`` prints a unit for systemd:
``labtui daemon unit > ~/.config/systemd/user/labtui.service``.
"""

from __future__ import annotations

import os
import sys

from labtui.cli import supervise, writing
from labtui.cli.arguments import Parser, add_devices
from labtui.cli.context import Context
from labtui.cli.errors import FAILED, BadInput, WorkFailed
from labtui.cli.waiting import waiting
from labtui.config import supervisor_variables
from labtui.views.queue import START, supervisor_line
from runners.pool import client

STOP_S = 90
"""How long systemd lets it checkpoint before it kills."""


def arguments(parser: Parser) -> None:
    """Take start, stop, status, run or unit."""
    part = parser.part("start", "start it, detached from this terminal")
    add_devices(part)
    part.runs(start, writes=True)
    parser.part("stop", "stop it; running work is checkpointed").runs(stop, writes=True)
    parser.part("status", "whether one runs, and how it is").runs(status)
    part = parser.part("run", "run it in the foreground and stay when idle (systemd)")
    add_devices(part)
    part.runs(run, writes=True)
    part = parser.part("unit", "print a systemd user unit that runs it")
    add_devices(part)
    part.runs(unit)


def start(context: Context) -> None:
    """Start a supervisor that is detached from the terminal."""
    _have_lab(context)
    supervise.ready(context)
    supervise.start(context)


def _have_lab(context: Context) -> None:
    """A new one is named: its name may be a typing error."""
    if not context.lab_path.exists():
        writing.create_or_open(context.lab_path)
        context.say(f"new lab {context.lab_path}")


def stop(context: Context) -> None:
    """End the supervisor; running work is checkpointed and goes on at the next start."""
    _ = context.lab
    if not supervise.alive(context.lab_path):
        context.say("no supervisor runs")
        return
    with waiting(context, "the supervisor checkpoints what trains"):
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
        remedy = "" if context.lab.read_only else START
        context.line(supervisor_line(row, context.lab.holding(), remedy=remedy))
    return 0 if running else FAILED


def run(context: Context) -> None:
    """Become the supervisor in the foreground and stay when idle, for systemd."""
    writing.require_torch()
    _have_lab(context)
    supervise.refuse_second(context)
    supervise.ready(context)
    context.close()
    command = supervise.command(context, "--daemon")
    os.execve(command[0], command, client.environment(**supervisor_variables(context.settings)))


def unit(context: Context) -> None:
    """Write a systemd user unit that runs ``labtui daemon run`` for this lab, to stdout."""
    lab = context.lab_path.absolute()
    words = [sys.executable, "-P", "-m", "labtui", "--lab", str(lab), "daemon", "run"]
    for name in ("devices", "slots", "threads"):
        value = getattr(context.args, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    supervise.chosen(context)  # what is wrong with them is told now
    context.lines(
        [
            "[Unit]",
            f"Description=labtui: the supervisor of {_escaped(str(lab))}",
            "",
            "[Service]",
            f"ExecStart={' '.join(_quoted(word) for word in words)}",
            "Restart=on-failure",
            "RestartSec=30",
            f"TimeoutStopSec={STOP_S}",
            "Nice=10",
            "",
            "[Install]",
            "WantedBy=default.target",
        ]
    )
    context.say(
        "keep it as ~/.config/systemd/user/labtui.service; then: systemctl --user enable --now labtui, and "
        "loginctl enable-linger where it shall go on after you log out"
    )


def _escaped(text: str) -> str:
    """Text in which systemd expands nothing."""
    if any(not c.isprintable() for c in text):
        raise BadInput(f"{text!r} has letters that a unit cannot hold; expected a lab with a plain name")
    return text.replace("\\", "\\\\").replace("%", "%%")


def _quoted(word: str) -> str:
    """One word of a command line as systemd reads it."""
    text = _escaped(word).replace('"', '\\"').replace("$", "$$")
    return f'"{text}"' if any(c in text for c in " \"'\\;") else text
