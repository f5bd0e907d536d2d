"""Tell labtui how training goes: one line of JSON in the file that ``LABTUI_REPORT`` names."""

from __future__ import annotations

import json
import os
from typing import Any


def report(step: int | None = None, **metrics: Any) -> None:
    """Report metrics, such as ``labtui.report(step=100, accuracy=0.91)``; does nothing outside labtui.

    Args:
        step: how far training is; None: one more than the last.
        metrics: numbers by name, whatever has ``__float__``.
    """
    place = os.environ.get("LABTUI_REPORT")
    if not place:
        return
    line: dict[str, Any] = {} if step is None else {"step": int(step)}
    line |= {name: float(value) for name, value in metrics.items()}
    with open(place, "a", encoding="utf-8") as f:  # noqa: PTH123 - pathlib is not imported for this
        f.write(json.dumps(line) + "\n")
