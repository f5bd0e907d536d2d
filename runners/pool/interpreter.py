"""How a Python process of ours is started: the current folder is data, so no module is ever taken from it.

Standard library alone. ``-P`` keeps the current folder off the module path; the user's PYTHONPATH stays, but
for empty entries, which would mean the current folder again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

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
