"""What a program would run, as lines that a person reads before saying yes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from labtui.text import clean
from runners.programs import consent

if TYPE_CHECKING:
    from runners.spec import Job

SHOWN = 12


def waiting_for_word(jobs: Iterable[Job]) -> list[Job]:
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
