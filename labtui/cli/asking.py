"""Ask a person whether a program may run here, and show all of it first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labtui.cli.context import Context
from labtui.cli.errors import WorkFailed
from labtui.views.program import program_lines
from runners.programs import consent

if TYPE_CHECKING:
    from runners.spec import Job


def allow(context: Context, jobs: Sequence[Job], *, sure: bool) -> bool:
    """Show what the jobs run, ask, and write the answer down.

    Args:
        sure: the answer is yes already (``--allow``, ``--yes``).

    Returns:
        Whether they may run; False where nobody can be asked.
    """
    if not jobs:
        return True
    if not sure:
        for line in program_lines(jobs):
            context.say(line)
        if not sys.stdin.isatty():
            return False
        context.err.write("May this run on this machine, as you? [y/N] ")
        context.err.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return False
    try:
        consent.allow(jobs)
    except OSError as error:
        raise WorkFailed(f"{consent.allowed_file()} cannot be written: {error.strerror}") from None
    return True
