"""labtui on one lab: the host of the screens with its verbs, and the way in. Quitting it stops nothing."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

from labtui.config import read_settings
from labtui.tui.job_commands import Verbs


class LabApp(Verbs, inherit_bindings=False):
    """labtui on one lab."""


def run(
    lab_path: str | Path,
    read_only: bool = False,
    no_mouse: bool = False,
    slow: bool = False,
    ascii: bool = False,
    screen: str | None = None,
    study: int | None = None,
    *,
    job: int | None = None,
    started: float | None = None,
) -> int:
    """Show a lab until the person quits; returns the exit code."""
    gc.disable()  # until the first paint; the host turns it on again
    settings = read_settings()
    if no_mouse:
        settings = replace(settings, mouse=False)
    if ascii:
        settings = replace(settings, glyphs="ascii")
    if slow:
        settings = replace(settings, slow=True)
    app = LabApp(
        lab_path, read_only=read_only, settings=settings, screen=screen, study=study, job=job, started=started
    )
    app.run(mouse=settings.mouse)
    return app.return_code or 0
