"""Write docs/cli.md, docs/labtui.1 and the table of docs/settings.md: ``python docs/make_cli.py``.

The commands, their arguments and examples are those of the parsers; what a command's module says below its
first line stands there too. With ``--check`` nothing is written: exit 1 where a page is not what the code
says.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from labtui.cli import commands  # noqa: E402
from labtui.cli.arguments import Parser  # noqa: E402
from labtui.cli.parse import ABOUT, build  # noqa: E402
from labtui.config import TABLE, Settings, variable  # noqa: E402

MADE = "made from the code: python docs/make_cli.py"
ABOVE = """\
Everything that the screens show and do, without them. Data goes to stdout, narration to stderr; `--json` on
every command that reads (of rows, one in each line, written while they are read); the exit code is 0, 1 (work
failed) or 2 (bad input, one sentence). The lab is `--lab FILE`, else `LABTUI_LAB`, else `./lab.db`. JOB is an
id (`7`), a range (`3-9`) or the beginning of a content hash. `labtui help all` lists every command, `labtui
COMMAND --help` tells what stands here. A mistyped word gets the nearest one that there is.

`labtui` alone opens the screens where there is a terminal, and prints the queue where there is none (or with
`--plain`; `--screen NAME` names another screen, for both). `--ascii` keeps to ASCII, `--read-only FILE`
writes not a byte beside the file, `--no-mouse` and `--slow` are for the screens.
"""
HEADINGS = {"begin": "Begin", "look": "Look", "answers": "Answers", "steer": "Steer", "keep": "Keep"}
SETTINGS = ("<!-- settings -->", "<!-- end of settings -->")


def parsers(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """The commands in a parser, by name."""
    found = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def arguments(parser: Parser) -> Iterator[tuple[str, str]]:
    """Each argument of its own as it is typed, and what it is."""
    for action in parser._actions:
        if action.help in (None, argparse.SUPPRESS) or action.dest == "help":
            continue
        value = action.metavar if isinstance(action.metavar, str) else ""
        names = ", ".join(action.option_strings)
        yield f"{names} {value}".strip() if action.nargs != 0 else names, str(action.help)


def usage(parser: Parser) -> str:
    """The usage in one line."""
    text = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    return text.replace(" [-h]", "").replace(" [--lab FILE] [--json] [--ascii] [--read-only]", "")


def notes(entry: commands.Entry) -> str:
    """What the command's module says below its first line."""
    doc = inspect.getdoc(import_module(f"labtui.cli.commands.{entry.module}")) or ""
    return doc.partition("\n\n")[2]


def example(parser: Parser) -> str:
    """The example of its help."""
    text = parser.epilog or ""
    return text.partition("example: ")[2].splitlines()[0] if "example: " in text else ""


def markdown() -> str:
    """docs/cli.md."""
    out = ["# The command line", "", f"<!-- {MADE} -->", "", ABOVE]
    every = parsers(build())
    told: set[str] = set()
    for heading, entries in commands.MENU.items():
        out += [f"## {HEADINGS.get(heading, heading.capitalize())}", ""]
        for entry in entries:
            parser = every[entry.name]
            out += [f"### `labtui {entry.name}`", "", parser.description or "", ""]
            if entry.module not in told and (more := notes(entry)):
                out += [more.replace("``", "`").replace("N*", "N\\*"), ""]
            told.add(entry.module)
            for one in parsers(parser).values() or [parser]:
                out += ["```text", *textwrap.wrap(usage(one), 100, subsequent_indent="    "), "```", ""]
                table = list(arguments(one))
                if table:
                    out += ["| argument | |", "|---|---|"]
                    out += [f"| `{_cell(name)}` | {_cell(text)} |" for name, text in table]
                    out.append("")
                if shown := example(one):
                    out += [f"Example: `{shown}`", ""]
    return "\n".join(out).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("N*", "N\\*") if "`" not in text else text


def settings(page: str) -> str:
    """docs/settings.md with the table of every setting."""
    rows = ["| setting | default | in a lab's file | |", "|---|---|---|---|"]
    for name, about in TABLE.items():
        default = getattr(Settings(), name)
        shown = "" if default in (None, "", ()) else f"`{str(default).lower()}`"
        rows.append(
            f"| `{name}`, `{variable(name)}` | {shown} | {'no' if about.personal else 'yes'} | {about.text} |"
        )
    before, _, rest = page.partition(SETTINGS[0])
    _, _, after = rest.partition(SETTINGS[1])
    return "\n".join([before + SETTINGS[0], "", *rows, "", SETTINGS[1] + after])


def man() -> str:
    """docs/labtui.1."""
    out = [
        f'.\\" {MADE}',
        '.TH LABTUI 1 "" labtui "User Commands"',
        ".SH NAME",
        _roff(f"labtui - {ABOUT[0].lower()}{ABOUT[1:].rstrip('.')}"),
        ".SH SYNOPSIS",
        ".B labtui",
        "[\\fIOPTION\\fR ...] [\\fICOMMAND\\fR ...]",
        ".SH DESCRIPTION",
        *(_roff(" ".join(part.replace("`", "").split())) + "\n.PP" for part in ABOVE.split("\n\n")),
        ".SH OPTIONS",
    ]
    top = build()
    for name, text in arguments(top):
        out += [".TP", f".B {_roff(name)}", _roff(text)]
    for heading, entries in commands.MENU.items():
        out += [f'.SH "COMMANDS: {heading.upper()}"']
        for entry in entries:
            parser = parsers(top)[entry.name]
            for one in parsers(parser).values() or [parser]:
                out += [".TP", f".B {_roff(usage(one))}", _roff(one.description or entry.text)]
                for name, text in arguments(one):
                    out += [".br", f"\\fI{_roff(name)}\\fR: {_roff(text)}"]
    out += [".SH ENVIRONMENT"]
    for name, about in TABLE.items():
        out += [".TP", f".B {variable(name)}", _roff(about.text)]
    out += [
        ".SH FILES",
        ".TP",
        ".B ./lab.db",
        "the lab, and beside it lab.db.d with logs, checkpoints and backups",
    ]
    out += [".SH EXIT STATUS", "0: done. 1: work failed. 2: bad input. 130: interrupted."]
    return "\n".join(out) + "\n"


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def pages() -> dict[Path, str]:
    """Every page that the code makes."""
    page = HERE / "settings.md"
    return {
        HERE / "cli.md": markdown(),
        HERE / "labtui.1": man(),
        page: settings(page.read_text("utf-8")),
    }


if __name__ == "__main__":
    made = pages()
    if "--check" in sys.argv[1:]:
        sys.exit(any(not p.exists() or p.read_text("utf-8") != text for p, text in made.items()))
    for path, text in made.items():
        path.write_text(text, "utf-8")
