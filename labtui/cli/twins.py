"""Each screen as text: ``labtui show SCREEN`` and ``labtui --plain --screen SCREEN`` run the command that
is its twin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from labtui.cli.context import Context
from labtui.cli.entry import BadInput

TWINS: dict[str, tuple[str, dict[str, Any]]] = {
    "queue": ("reading:queue", {"limit": None}),
    "job": ("show:job", {}),
    "kappa": ("results:kappa", {"rows": None, "columns": None, "details": True}),
    "scaling": ("results:scaling", {"x": None}),
    "trials": ("reading:trials", {"job": None, "filter": [], "order": "-id", "limit": 40, "curves": False}),
    "new": ("submit:submit", {"spec": "quick", "dry_run": True, "start": False}),
    "compare": ("compare:compare", {"what": "paper", "other": None}),
    "events": ("reading:events", {"job": None, "after": 0, "limit": 50, "follow": False}),
}
"""The command of each screen, and the arguments that the screen begins with."""
_WORDS = {
    "job": ("job",),
    "trials": ("job",),
    "new": ("spec",),
    "compare": ("what", "other"),
    "events": ("job",),
}
"""The arguments that words after a screen's name give, in order."""


def twin(context: Context, screen: str, words: Sequence[str] = ()) -> None:
    """Print a screen as text, as its own command does; ``words`` follow the screen's name.

    Raises:
        BadInput: more words than the screen has a use for.
    """
    command, defaults = TWINS[screen]
    values: dict[str, Any] = {"study": None, "width": 96, "height": 26, **defaults}
    for name, value in values.items():
        if getattr(context.args, name, None) is None:
            setattr(context.args, name, value)
    names = _WORDS.get(screen, ())
    rest = list(words)
    for name, word in zip(names, words, strict=False):
        setattr(context.args, name, word)
        rest.pop(0)
    if screen == "trials":
        context.args.filter = rest
    elif rest:
        expected = " ".join(n.upper() for n in names) or "nothing more"
        raise BadInput(f"show {screen}: {rest[0]!r} has no place here; expected {expected}")
    if screen == "job" and not words:
        context.args.job = _first_job(context)
    module, function = command.split(":")
    run: Callable[[Context], None] = getattr(import_module(f"labtui.cli.{module}"), function)
    run(context)


def _first_job(context: Context) -> str:
    """The job that the Job screen begins with: the first of the queue."""
    ids = context.lab.job_ids((), "queue")
    if not len(ids):
        raise BadInput("there is no job yet; begin with: labtui submit quick --start")
    return str(ids[0])
