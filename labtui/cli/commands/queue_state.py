"""``labtui hold``, ``release``, ``drain``: the whole queue.

``hold``, ``release`` and ``drain`` are for the whole queue.
"""

from __future__ import annotations

import store.commands
from labtui.cli.arguments import NO_WAIT, Parser
from labtui.cli.context import Context
from labtui.cli.send import send


def arguments(parser: Parser) -> None:
    """Take no option but --no-wait."""
    parser.add_argument("--no-wait", **NO_WAIT)
    parser.runs(run, writes=True, verb=parser.name)


def run(context: Context) -> None:
    """Hold, release or drain the whole queue."""
    act = getattr(store.commands, context.args.verb)
    _ = context.lab  # a file that is no lab is told first
    send(context, lambda: act(context.lab_path))
