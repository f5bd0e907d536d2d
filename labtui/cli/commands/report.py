"""``labtui report``: one page of HTML that needs nothing else.

It loads nothing and runs nothing: study, kappa, plots, every N*, settings, provenance; for a phone and for
paper.
"""

from __future__ import annotations

from pathlib import Path

from labtui.cli.arguments import STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.new_file import into, require_new
from labtui.cli.selection import study_id
from labtui.cli.waiting import waiting
from labtui.export.report import report
from labtui.version import __version__


def arguments(parser: Parser) -> None:
    """Take OUT and --study."""
    parser.add_argument("out", metavar="OUT", help="a new .html file")
    parser.add_argument("--study", **STUDY)
    parser.runs(run, example="report.html --study demo")


def run(context: Context) -> None:
    """Write the page of a study, of the only one, or of the whole lab."""
    out = Path(context.args.out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise BadInput(f"{out} has no ending of a page; expected .html")
    require_new(out)
    with waiting(context, "drawing"):
        text = page(context, context.args.study)

    def write(path: Path) -> None:
        path.write_text(text, "utf-8")

    into(out, write)
    context.say(f"wrote {out}")


def page(context: Context, reference: str | None) -> str:
    """The page of the study that was named, of the only one, or of the whole lab."""
    chosen = study_id(context, reference)
    studies = context.lab.studies()
    found = [s for s in studies if s.id == chosen] if chosen is not None else studies
    return report(context.lab, found[0] if len(found) == 1 else None, __version__)
