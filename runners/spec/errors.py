"""The one error that bad input raises: a sentence a person can act on."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` on one line with every control, format and bidirectional character written as an escape."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text
    )


class SpecError(ValueError):
    """Bad input in a spec: what is wrong, where, and what was expected.

    ``str(error)`` is one line, safe to print: ``FILE, line 12: lengths.length is 1; expected at least 2``.
    """

    def __init__(self, problem: str, *, source: str = "", line: int | None = None) -> None:
        problem, source = printable(problem), printable(source)
        place = source + (f", line {line}" if line is not None else "")
        super().__init__(f"{place.removeprefix(', ')}: {problem}" if place else problem)
        self.problem = problem
        self.source = source
        self.line = line
