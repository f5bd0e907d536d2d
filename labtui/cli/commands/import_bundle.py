"""``labtui import``: verify a bundle and write its lab to a new file.

Names, sizes, checksums and the lab itself are verified before the new file is there.
"""

from __future__ import annotations

from pathlib import Path

from labtui.cli import writing
from labtui.cli.arguments import Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput, WorkFailed
from labtui.cli.new_file import into
from labtui.cli.waiting import waiting
from labtui.export import bundle
from store.errors import LabError


def arguments(parser: Parser) -> None:
    """Take BUNDLE and TO."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a zip that labtui bundle wrote")
    parser.add_argument("to", metavar="TO", help="the new lab file")
    parser.runs(run, example="result.zip result.db")


def run(context: Context) -> None:
    """Check names, sizes and checksums first, then the lab, like any lab, and put it at TO."""
    source, out = Path(context.args.bundle), Path(context.args.to)
    if not source.is_file():
        raise BadInput(f"{source} is no file; expected a zip that labtui bundle wrote")

    def write(path: Path) -> None:
        try:
            bundle.unpack(source, path)
        except bundle.BadBundle as error:
            raise BadInput(f"{source} {error}") from None
        try:
            problems = writing.check(path, read_only=True)
        except LabError as error:  # it names the file that is written, which is gone by then
            told = str(error).partition(";")[0].replace(str(path.resolve()), bundle.SNAPSHOT)
            raise BadInput(f"{source}: {told}; expected a lab that labtui bundle wrote") from None
        if problems:
            raise WorkFailed(f"{source} holds a lab with {len(problems)} problems: {problems[0]}")

    with waiting(context, "verifying"):
        into(out, write)
    context.say(f"wrote {out}: checksums agree, no problem found; look at it with: labtui --read-only {out}")
