"""labtui: a lab bench in the terminal that finds N*, the smallest training set that works.

``from labtui import Lab`` is the Python API (docs/api.md); it is loaded when it is asked for.
``labtui.report(step=100, accuracy=0.91)`` is what a program calls (docs/programs.md).
"""

from __future__ import annotations

from labtui.version import __version__

__all__ = ["Lab", "__version__", "program", "report"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from labtui.api import Lab as Lab
    from labtui.api import program as program
    from runners.programs.report import report as report


def __getattr__(name: str) -> object:
    if name == "report":
        from runners.programs.report import report

        return report
    if name not in ("Lab", "program"):
        raise AttributeError(f"module 'labtui' has no attribute {name!r}")
    from labtui import api

    found: object = getattr(api, name)
    return found
