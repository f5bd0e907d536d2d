"""No command: the screen where there is a terminal, else that screen as text."""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from labtui.cli.context import Context
from labtui.cli.parse import build, parse
from labtui.cli.screen_text import screen_text

if TYPE_CHECKING:
    from pathlib import Path


def on_terminal() -> bool:
    """Both ends of the screen are a terminal."""
    return sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()


def run(context: Context) -> int | None:
    """Open the TUI on the lab; ``--plain``, ``--json`` and a pipe get the screen as text."""
    args = context.args
    if args.plain or context.json or not on_terminal():
        if not context.lab_path.exists() and not (args.lab or args.read_only):
            context.say(f"there is no lab at {context.lab_path} yet")
            build(()).print_help(context.out)
            return 0
        screen_text(context, args.screen or "queue")
        return 0
    if not (args.lab or args.read_only or context.lab_path.exists() or "lab" in context.settings.sources):
        return _first_run(context)
    return show(context)


def _first_run(context: Context) -> int | None:
    """No lab and none was named: the tour, the demo, a new lab, or nothing, as the person likes."""
    from labtui.cli import first_run

    chosen = first_run.ask(context)
    if chosen == "leave":
        return 0
    if chosen == "tour":
        context.args.lab, context.args.read_only = str(first_run.tour_lab()), True
    elif chosen == "demo":
        args = parse(["--ascii"] * context.ascii + ["demo"])
        return replace(context, args=args).run()
    return show(context)


def show(context: Context, *, screen: str | None = None, study: int | None = None) -> int:
    """Open the TUI; returns its exit code."""
    from labtui.tui.terminal import (
        splash,  # here and below: the splash stands before anything large is imported
    )

    started = time.perf_counter()
    gc.disable()  # until the first paint: 20 ms of the imports; the host turns it on again
    args = context.args
    new = not context.lab_path.exists() and not args.read_only
    if sys.__stderr__ is None or not sys.__stderr__.isatty():
        # Textual draws on stderr, and stdout is the terminal.
        sys.__stderr__ = sys.__stdout__  # type: ignore[misc]
    splash.show(context.lab_path, "a new lab" if new else "")
    try:
        if new:
            from labtui.cli.writing import create_or_open

            create_or_open(context.lab_path)
        else:
            context.close()
            _require_lab(context.lab_path)
        from labtui.tui.app import run as run_app
    except BaseException:
        splash.clear()
        raise
    code = run_app(
        context.lab_path,
        read_only=args.read_only,
        no_mouse=getattr(args, "no_mouse", False),
        slow=getattr(args, "slow", False),
        ascii=bool(args.ascii),
        screen=screen or getattr(args, "screen", None),
        study=study,
        started=started,
        new=new,
    )
    if new:  # after the screens, where it stays to be read: the name may be a typing error
        context.say(f"new lab {context.lab_path}")
    return code


def _require_lab(path: Path) -> None:
    """What is no lab is told before anything is drawn;
    all else that may be wrong with it the screen tells.
    """
    from store.header import check_header
    from store.paths import LabPaths

    LabPaths(path).require_file()
    check_header(path)
