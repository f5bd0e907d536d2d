"""labtui: a lab bench in the terminal that finds N*, the smallest training set that works.

``from labtui import Lab`` is the Python API (docs/api.md); it is loaded when it is asked for.
"""

from __future__ import annotations

from labtui.version import __version__

__all__ = ["Lab", "__version__"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from labtui.api import Lab as Lab


def __getattr__(name: str) -> object:
    if name != "Lab":
        raise AttributeError(f"module 'labtui' has no attribute {name!r}")
    from labtui.api import Lab

    return Lab
