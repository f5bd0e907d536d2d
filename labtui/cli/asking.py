"""Ask a person whether a program may run here, and show all of it first."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from labtui.cli.context import Context
from labtui.cli.errors import WorkFailed
from labtui.text import clean
from runners.programs import consent

if TYPE_CHECKING:
    from runners.spec import Job

SHOWN = 12


def waiting(jobs: Iterable[Job]) -> list[Job]:
    """The searches whose program this user has not allowed here."""
    return [job for job in jobs if job.program is not None and not consent.allowed(job)]


def program_lines(jobs: Sequence[Job]) -> list[str]:
    """What would run: each program once, with its folder, its files and the values that fill it."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        terms = consent.terms(job)
        groups.setdefault(
            repr([terms[k] for k in ("command", "function", "cwd", "env", "files")]), []
        ).append(terms)
    lines: list[str] = []
    for same in groups.values():
        terms = same[0]
        what = " ".join(map(_word, terms["command"])) or f"the Python function {terms['function']}"
        lines += [f"runs      {clean(what, limit=4000)}", f"in        {clean(terms['cwd'], limit=4000)}"]
        lines += [
            f"file      {digest[:16]}  {clean(name, limit=4000)}" for name, digest in terms["files"].items()
        ]
        lines += [
            f"with      {clean(name)}={clean(value, limit=4000)}" for name, value in terms["env"].items()
        ]
        values = dict.fromkeys(_values(each["values"] | each["grid"]) for each in same)
        told = [f"filled    {line}" for line in values if line]
        more = [f"          and {len(told) - SHOWN} more"] if len(told) > SHOWN + 1 else []
        lines += [*(told if not more else told[:SHOWN]), *more, ""]
    return lines[:-1]


def _word(word: str) -> str:
    return word if word and not any(c.isspace() or c in "'\"\\$`;&|<>()*?" for c in word) else repr(word)


def _values(values: dict[str, object]) -> str:
    return "  ".join(f"{clean(name)} = {clean(repr(value), limit=400)}" for name, value in values.items())


def allow(context: Context, jobs: Sequence[Job], *, sure: bool) -> bool:
    """Show what the jobs run, ask, and write the answer down.

    Args:
        sure: the answer is yes already (``--allow``, ``--yes``).

    Returns:
        Whether they may run; False where nobody can be asked.
    """
    if not jobs:
        return True
    if not sure:
        for line in program_lines(jobs):
            context.say(line)
        if not sys.stdin.isatty():
            return False
        context.err.write("May this run on this machine, as you? [y/N] ")
        context.err.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return False
    try:
        consent.allow(jobs)
    except OSError as error:
        raise WorkFailed(f"{consent.allowed_file()} cannot be written: {error.strerror}") from None
    return True
