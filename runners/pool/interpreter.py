"""How a Python process of ours is started: the current folder is data, so no module is ever taken from it;
and how it takes its modules in and ends.

Standard library alone. ``-P`` keeps the current folder off the module path; the user's PYTHONPATH stays, but
for empty entries, which would mean the current folder again.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import weakref
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
    """Look for no garbage while modules are imported (a tenth of the time that torch takes), and never again
    among what they made (a collection between two assignments takes 1 ms instead of 100).
    """
    collected, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        if collected:
            gc.enable()


def forget_exit_hooks() -> None:
    """In a forked process: what was registered for the end is the parent's to do, temporary folders too."""
    atexit._clear()
    for one in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        one.detach()
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]


def end_process(code: int) -> NoReturn:
    """Do what was registered for the end, flush, and end this process: taking torch apart takes 0.3 s."""
    with suppress(Exception):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
