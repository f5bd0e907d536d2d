"""One command from its words to its exit code; the only place that turns exceptions into sentences."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from labtui.cli.commands import screen
from labtui.cli.context import Context
from labtui.cli.errors import BAD_INPUT, FAILED, INTERRUPTED, OK, BadInput, WorkFailed
from labtui.cli.parse import parse
from store.errors import LabError, NoRoom


def run(argv: Sequence[str]) -> int:
    """Run one command; returns its exit code: 0, 1 (work failed), 2 (bad input).

    Never raises for anything that a person typed or a file holds.
    """
    os.umask(0o077)  # whatever is written for a person (exports, settings, specs) is theirs alone
    try:
        args = parse(argv)
        args.run = args.run or screen.run
        return Context(args).run()
    except SystemExit as end:  # argparse: --help and --version
        return end.code if isinstance(end.code, int) else BAD_INPUT
    except (WorkFailed, NoRoom) as error:
        return _tell(error, FAILED)
    except (BadInput, LabError) as error:
        return _tell(error, BAD_INPUT)
    except ValueError as error:
        if type(error).__name__ != "SpecError":  # known by name: its module loads pydantic
            raise
        return _tell(error, BAD_INPUT)
    except KeyboardInterrupt:
        return _tell("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe has gone: nothing to say, and nobody to say it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _tell(sentence: object, code: int) -> int:
    from labtui.text import clean  # loads rich, which a command that only prints rows as JSON does without

    print(f"labtui: {clean(str(sentence))}", file=sys.stderr)
    return code
