"""No command: the screen where there is a terminal, else that screen as text."""

from __future__ import annotations

import sys
import time

from labtui.cli.context import Context


def on_terminal() -> bool:
    """Both ends of the screen are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def screen(context: Context) -> int | None:
    """The TUI on the lab; ``--plain``, ``--json`` and a pipe get the screen as text."""
    from pathlib import Path

    from labtui.cli.twins import twin

    args = context.args
    if args.plain or context.json or not on_terminal():
        if not Path(context.lab_path).exists() and not (args.lab or args.read_only):
            from labtui.cli.parser import build

            context.say(f"there is no lab at {context.lab_path} yet")
            build().parser.print_help(context.out)
            return 0
        twin(context, args.screen or "queue")
        return 0
    return show(context)


def show(context: Context, *, screen: str | None = None, study: int | None = None) -> int:
    """Open the TUI; returns its exit code."""
    from labtui import splash

    started = time.perf_counter()
    args = context.args
    if not context.lab_path.exists() and not args.read_only:
        from labtui.cli.writing import create_or_open

        context.say(f"making a new lab: {context.lab_path}")
        create_or_open(context.lab_path)
    else:
        context.lab.close()  # what is no lab is told before the screen changes
    splash.show(context.lab_path)
    try:
        from labtui.app import run
    except BaseException:
        splash.clear()
        raise
    return run(
        context.lab_path,
        read_only=args.read_only,
        no_mouse=getattr(args, "no_mouse", False),
        slow=getattr(args, "slow", False),
        screen=screen or getattr(args, "screen", None),
        study=study,
        started=started,
    )
