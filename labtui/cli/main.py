"""One command from its words to its exit code; the only place that turns exceptions into sentences."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress

from labtui.cli.commands import screen
from labtui.cli.context import Context
from labtui.cli.errors import BAD_INPUT, FAILED, INTERRUPTED, OK, BadInput, WorkFailed
from labtui.cli.parse import parse
from labtui.cli.streams import drop_stdout, open_stdout, open_streams
from store.errors import LabError, NoRoom

NAMED_WRONGLY = frozenset(
    (errno.ENAMETOOLONG, errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.EEXIST)
)
"""What the system says of a name that cannot be used: bad input; of all else, work that failed."""


STRANGERS = ("SOURCE_DATE_EPOCH", "MPLBACKEND", "MATPLOTLIBRC")
"""Variables with which numpy and matplotlib cannot be loaded where they are strange, and that mean nothing
here: no date is stamped, and figures look alike everywhere.
"""

LONG_WORD = re.compile(r"\S{1000,}")
"""What was typed may be as long as it likes; the sentence about it is to be read to its end."""


def run(argv: Sequence[str]) -> int:
    """Run one command; returns its exit code: 0, 1 (work failed), 2 (bad input).

    Never raises for anything that a person typed, a file holds or the system refuses.
    """
    os.umask(0o077)  # whatever is written for a person (exports, settings, specs) is theirs alone
    for name in STRANGERS:
        os.environ.pop(name, None)
    open_streams()
    try:
        code = _run(argv)
        open_stdout().flush()
    except (WorkFailed, NoRoom) as error:
        code = _tell(error, FAILED)
    except (BadInput, LabError) as error:
        code = _tell(error, BAD_INPUT)
    except UnicodeEncodeError as error:
        code = _tell(f"{error.object!r} is not UTF-8; expected text in UTF-8", BAD_INPUT)
    except ValueError as error:
        if type(error).__name__ != "SpecError":  # known by name: its module loads pydantic
            raise
        code = _tell(error, BAD_INPUT)
    except KeyboardInterrupt:
        code = _tell("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe has gone: nothing to say, and nobody to say it to
        code = OK
    except OSError as error:
        code = _tell(*_refused(error))
    else:
        return code
    drop_stdout()
    return code


def _run(argv: Sequence[str]) -> int:
    try:
        if "_ARGCOMPLETE" in os.environ:
            from labtui.cli.completion import complete  # loads argcomplete, for a shell that asks alone

            complete(os.environ)
        args = parse(argv)
        args.run = args.run or screen.run
        return Context(args).run()
    except SystemExit as end:  # argparse: --help, --version, what it has told on stderr; run: a signal
        return end.code if isinstance(end.code, int) else BAD_INPUT


def _refused(error: OSError) -> tuple[str, int]:
    """What the system refused in one sentence, and the exit code."""
    told = error.strerror or str(error)
    if error.errno == errno.ENOENT and error.filename is None and not _has_folder():
        return "the current folder is gone; change to one that is there", BAD_INPUT
    if error.filename is None:
        return told, FAILED
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    return f"{name}: {told}", BAD_INPUT if error.errno in NAMED_WRONGLY else FAILED


def _has_folder() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd() is the same call
    except OSError:
        return False
    return True


def _tell(sentence: object, code: int) -> int:
    from labtui.text import clean  # loads rich, which a command that only prints rows as JSON does without

    text = LONG_WORD.sub(lambda word: f"{word[0][:100]}…{word[0][-20:]}", str(sentence))
    with suppress(OSError):  # stderr may be closed or full as well
        print(f"labtui: {clean(text)}", file=sys.stderr, flush=True)
    return code
