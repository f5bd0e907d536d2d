"""Exit codes of the command line, and the two exceptions that carry one sentence and an exit code."""

from __future__ import annotations

OK, FAILED, BAD_INPUT = 0, 1, 2
INTERRUPTED = 130


class BadInput(Exception):  # noqa: N818 - the names are the exit codes
    """Wrong arguments: one sentence, exit code 2."""


class WorkFailed(Exception):  # noqa: N818
    """What was asked for was tried and did not succeed: one sentence, exit code 1."""
