"""``labtui tour``: look at a study that is done; nothing is written and nothing is trained.

The preset ``demo`` as it was trained for the README: six kappas, the searches behind them, their curves.
"""

from __future__ import annotations

from labtui.cli.arguments import Parser
from labtui.cli.commands import screen
from labtui.cli.context import Context
from labtui.cli.first_run import tour_lab


def arguments(parser: Parser) -> None:
    """Take no option of its own."""
    parser.runs(run)


def run(context: Context) -> int | None:
    """Open the screens on labtui's own lab, read-only; without a terminal, the Queue as text."""
    context.close()
    context.args.lab, context.args.read_only = str(tour_lab()), True
    return screen.run(context)
