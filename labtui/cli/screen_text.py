"""Each screen as text, by the command that says the same.

For ``labtui show SCREEN`` and ``labtui --plain --screen SCREEN``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.parse import parse


@dataclass(frozen=True)
class TextCommand:
    """A command with the options that the screen begins with, and what words may follow the screen's name."""

    command: tuple[str, ...]
    words: tuple[str, ...] = ()
    """What the words after the screen's name are, in order; ``...``: any number."""
    begins_with: tuple[str, ...] = ()
    """The words where none are given."""


TEXT_COMMANDS: dict[str, TextCommand] = {
    "queue": TextCommand(("queue",)),
    "job": TextCommand(("show",), ("JOB",)),
    "kappa": TextCommand(("kappa", "--details")),
    "scaling": TextCommand(("plot", "scaling")),
    "trials": TextCommand(("trials", "--order=-id", "--limit=40"), ("JOB", "FILTER", "...")),
    "new": TextCommand(("submit", "--dry-run"), ("FILE|PRESET",), ("quick",)),
    "compare": TextCommand(("compare",), ("JOB|LAB", "JOB"), ("paper",)),
    "events": TextCommand(("events",), ("JOB",)),
    "paper": TextCommand(("compare", "paper")),
}
_CARRIED = ("lab", "json", "ascii", "read_only", "study", "width", "height")
"""Options of the command that asked which hold for the command that answers."""


def screen_text(context: Context, screen: str, words: Sequence[str] = ()) -> None:
    """Print a screen as text, as its own command does; ``words`` follow the screen's name.

    Raises:
        BadInput: more words than the screen has a use for.
    """
    wanted = TEXT_COMMANDS[screen]
    if "..." not in wanted.words and len(words) > len(wanted.words):
        expected = " ".join(wanted.words) or "nothing more"
        extra = words[len(wanted.words)]
        raise BadInput(f"show {screen}: {extra!r} has no place here; expected {expected}")
    if screen == "job" and not words:
        words = (_first_job(context),)
    rest = [*(words or wanted.begins_with)]
    args = parse([*wanted.command, *(["--"] if rest else []), *rest])
    for name in _CARRIED:
        if hasattr(args, name) and hasattr(context.args, name):
            setattr(args, name, getattr(context.args, name))
    context.close()
    replace(context, args=args).run()


def _first_job(context: Context) -> str:
    """The job that the Job screen begins with: the first of the queue."""
    ids = context.lab.job_ids((), "queue")
    if not len(ids):
        raise BadInput("there is no job yet; begin with: labtui submit quick --start")
    return str(ids[0])
