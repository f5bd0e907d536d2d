"""Call a person's function as a trial: ``python -P -m runners.programs.call module:function VALUES``.

It runs in the folder of the program, under its guard, and only after :mod:`runners.programs.consent` said so.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys

from runners.programs.report import report


def main(function: str, values: str) -> None:
    """Import it from the current folder, call it with the values that it takes, report what it returns."""
    module, _, name = function.partition(":")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - the folder that a person has allowed
    found = getattr(importlib.import_module(module), name)
    named = json.loads(values)
    taken = inspect.signature(found).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        named = {key: value for key, value in named.items() if key in taken}
    result = found(**named)
    if isinstance(result, dict):
        report(**result)
    elif result is not None:
        report(None, **{os.environ["LABTUI_METRIC"]: float(result)})


if __name__ == "__main__":
    main(*sys.argv[1:])
