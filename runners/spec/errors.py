"""The one error that bad input raises: a sentence a person can act on."""

from __future__ import annotations


class SpecError(ValueError):
    """Bad input in a spec: what is wrong, where, and what was expected.

    ``str(error)`` is one line, safe to print: ``FILE, line 12: lengths.length is 1; expected an integer of at least 2``.
    """

    def __init__(self, problem: str, *, source: str = "", line: int | None = None) -> None:
        place = source + (f", line {line}" if line is not None else "")
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem = problem
        self.source = source
        self.line = line
