"""How a Python process of ours is started: the current folder is data, so no module is ever taken from it;
and how it takes its modules in and ends.

Standard library alone. ``-P`` keeps the current folder off the module path; the user's PYTHONPATH stays, but
for empty entries, which would mean the current folder again.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the packages labtui, runners and store."""


def module_command(module: str, *words: str) -> list[str]:
    """The command line that runs a module of ours with this interpreter."""
    return [sys.executable, "-P", "-m", module, *words]


def environment(**more: str) -> dict[str, str]:
    """This process's environment for a child that imports the same labtui, wherever it is started."""
    named = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    path = os.pathsep.join(dict.fromkeys([str(ROOT), *named]))
    return {**os.environ, "PYTHONPATH": path, **more}


@contextmanager
def importing() -> Iterator[None]:
    """Nothing that is imported is garbage: no look for it meanwhile (a tenth of the time that torch takes),
    nor ever again (a collection between two assignments takes 1 ms instead of 100).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def end_process(code: int) -> NoReturn:
    """End this process at once, everything being written: to take torch apart takes 0.3 s."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
