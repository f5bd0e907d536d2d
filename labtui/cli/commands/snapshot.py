"""``labtui snapshot``: one good file of a lab, even while it is live.

It opens anywhere with ``labtui --read-only OUT``.
"""

from __future__ import annotations

from pathlib import Path

from labtui.cli import writing
from labtui.cli.arguments import Parser
from labtui.cli.context import Context
from labtui.cli.new_file import require_new
from labtui.cli.waiting import waiting
from labtui.text import clean
from labtui.views.numbers import volume


def arguments(parser: Parser) -> None:
    """Take OUT."""
    parser.add_argument("out", metavar="OUT", help="the new file")
    parser.runs(run, example="friday.db")


def run(context: Context) -> None:
    """Write a copy that opens anywhere, with no supervisor, torch or GPU."""
    out = Path(context.args.out)
    require_new(out)
    with waiting(context, "copying"):
        writing.snapshot(context.lab_path, out, read_only=context.args.read_only)
    tell_written(context, out)


def tell_written(context: Context, path: Path) -> None:
    """Tell where a copy of the lab is, and how large."""
    if context.json:
        context.emit({"path": str(path), "bytes": path.stat().st_size})
    else:
        context.line(
            clean(str(path)) if context.out.isatty() else str(path)
        )  # a pipe wants the name as it is
        context.say(f"{volume(path.stat().st_size)}; open it with: labtui --read-only {path}")
