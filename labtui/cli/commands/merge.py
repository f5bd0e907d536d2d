"""``labtui merge``: two labs as one; a search that both have stands there once.

By its content hash; the one that is farther along stays, candidates that the other has alone are kept. Two
answers that contradict each other are named, and nothing is written.
"""

from __future__ import annotations

from pathlib import Path

from labtui.cli import writing
from labtui.cli.arguments import Parser
from labtui.cli.context import Context
from labtui.cli.errors import WorkFailed
from labtui.cli.new_file import require_new
from labtui.cli.waiting import waiting

SHOWN = 8
"""Conflicts that are named; the others are counted."""


def arguments(parser: Parser) -> None:
    """Take FIRST, SECOND and -o OUT."""
    parser.add_argument("first", metavar="FIRST", help="a lab")
    parser.add_argument("second", metavar="SECOND", help="another")
    parser.add_argument("-o", "--out", metavar="TO", required=True, help="the new lab")
    parser.runs(run, example="gpu.db laptop.db -o both.db")


def run(context: Context) -> None:
    """Merge two labs, which stay as they are; with a conflict nothing is written."""
    args = context.args
    out = Path(args.out)
    require_new(out)
    with waiting(context, "merging") as bar:
        made = writing.merge(Path(args.first), Path(args.second), out, bar.at)
    if made.conflicts:
        for conflict in made.conflicts[:SHOWN]:
            context.say(conflict)
        raise WorkFailed(f"{len(made.conflicts)} conflicts between the two labs; nothing was written")
    with waiting(context, "checking the new lab") as bar:
        problems = writing.check(out, read_only=True, progress=bar.at)
    if problems:
        out.unlink()
        raise WorkFailed(f"the merged lab has {len(problems)} problems and was not kept: {problems[0]}")
    if context.json:
        context.emit(made)
        return
    context.say(
        f"wrote {out}: {made.new} searches new, {made.known} known to both "
        f"({made.replaced} farther along in {args.second}), {made.candidates} candidates added"
    )
