"""The supervisor from the command line: is there one, start it, run it in the foreground."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from labtui.cli import writing
from labtui.cli.context import Context
from labtui.cli.entry import BadInput, WorkFailed
from store.locks import supervisor_alive
from store.paths import LabPaths


def alive(path: Path) -> bool:
    """A supervisor holds the lab's lock."""
    return supervisor_alive(LabPaths(path))


def options(context: Context) -> list[str]:
    """What --devices and --slots say, for ``python -m runners``.

    Raises:
        BadInput: a device or number that cannot be.
    """
    args = context.args
    words: list[str] = []
    devices = getattr(args, "devices", None)
    if devices is not None:
        names = [d.strip() for d in devices.split(",") if d.strip()]
        for name in names:
            kind, colon, index = name.partition(":")
            if not (name == "cpu" or (kind == "cuda" and colon and index.isdecimal())):
                raise BadInput(f"--devices has {name!r}; expected cpu or cuda:0, by commas")
        if not names:
            raise BadInput("--devices is empty; expected cpu or cuda:0, by commas")
        words += ["--devices", ",".join(names)]
    slots = getattr(args, "slots", None)
    if slots is not None:
        if not 1 <= slots <= 1024:
            raise BadInput(f"--slots is {slots}; expected 1 to 1024")
        words += ["--slots", str(slots)]
    return words


def start(context: Context) -> None:
    """Start the supervisor, detached from the terminal, where none runs."""
    writing.require_torch()
    from labtui import supervisor

    words = options(context)
    if alive(context.lab_path):
        context.say("a supervisor runs already")
        return
    started = supervisor.start(context.lab_path, words)
    if not started.ok:
        raise WorkFailed(started.text)
    context.say(f"{started.text}; it goes on when this terminal closes")


def foreground(context: Context, *words: str) -> subprocess.Popen[bytes]:
    """The supervisor as a child of this process."""
    writing.require_torch()
    command = [sys.executable, "-m", "runners", "--lab", str(context.lab_path), "--foreground", *options(context), *words]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)
