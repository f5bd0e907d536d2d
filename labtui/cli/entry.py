"""From the words on the command line to an exit code; the one place where errors become sentences."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

OK, FAILED, BAD_INPUT = 0, 1, 2


class BadInput(Exception):  # noqa: N818 - the names are the exit codes
    """Wrong arguments: one sentence, exit code 2."""


class WorkFailed(Exception):  # noqa: N818
    """What was asked for was tried and did not succeed: one sentence, exit code 1."""


def run(argv: Sequence[str]) -> int:
    """Run a command; never raises for anything a person typed or a file holds."""
    from labtui.cli.parser import parse
    from store.errors import LabError, NoRoom

    try:
        context = parse(argv)
        return context.run()
    except SystemExit as end:  # argparse: --help and --version
        return end.code if isinstance(end.code, int) else BAD_INPUT
    except WorkFailed as error:
        return _tell(error, FAILED)
    except NoRoom as error:
        return _tell(error, FAILED)
    except (BadInput, LabError) as error:
        return _tell(error, BAD_INPUT)
    except ValueError as error:
        if type(error).__name__ != "SpecError":
            raise
        return _tell(error, BAD_INPUT)
    except KeyboardInterrupt:
        return _tell("interrupted", 130)
    except BrokenPipeError:  # the reader of a pipe has gone: nothing to say, and nobody to say it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _tell(sentence: object, code: int) -> int:
    from labtui.text import clean

    print(f"labtui: {clean(str(sentence))}", file=sys.stderr)
    return code
