"""``labtui studies``: all studies with their progress."""

from __future__ import annotations

from labtui.cli.arguments import Parser
from labtui.cli.context import Context
from labtui.cli.output import plain
from labtui.views.queue import study_lines
from store.json import document


def arguments(parser: Parser) -> None:
    """Take no option of its own."""
    parser.runs(run)


def run(context: Context) -> None:
    """List all studies."""
    rows = context.lab.studies()
    if context.json:
        context.emit([plain(s) | {"spec": document(s.spec)} for s in rows])
        return
    context.lines(study_lines(rows))
