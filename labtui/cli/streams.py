"""stdin, stdout and stderr as they may be: closed, full, at their size limit, without a reader."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

from labtui.cli.errors import WorkFailed


class Stdout:
    """stdout, or what stands for it where it is closed: what cannot be written is told in one sentence."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def write(self, text: str) -> int:
        """Write ``text``.

        Raises:
            WorkFailed: it cannot be written.
            BrokenPipeError: its reader has gone.
        """
        if self._stream is None:
            raise WorkFailed("stdout is closed; expected a terminal, a file or a pipe")
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _unwritable(error) from None

    def flush(self) -> None:
        """Write what is held back; raises as :meth:`write` does."""
        try:
            if self._stream is not None:
                self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _unwritable(error) from None

    def writelines(self, lines: Iterable[str]) -> None:
        """Write every text of an iterable."""
        for line in lines:
            self.write(line)


def _unwritable(error: OSError) -> WorkFailed:
    return WorkFailed(f"stdout cannot be written: {error.strerror}; what was written is not whole")


def open_streams() -> None:
    """Make the three standard streams safe to use.

    A closed file number would be given to the next file that is opened, a lab perhaps, and what is written
    to stdout would end up there. A name that is not UTF-8 is written as the bytes that it is.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    if sys.stdin is None:
        sys.stdin = io.StringIO()
    if sys.stdout is None:
        sys.stdout = open_stdout()
    if sys.stderr is None:  # where print() would turn to stdout
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="surrogateescape")


def open_stdout() -> TextIO:
    """Open stdout of this process, as a command writes to it."""
    stream: object = sys.stdout
    return cast(TextIO, stream if isinstance(stream, Stdout) else Stdout(sys.stdout))


def drop_stdout() -> None:
    """Let nothing more be written to stdout: Python would try again, and complain, when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        sys.stdout.flush()
