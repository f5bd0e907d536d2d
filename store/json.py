"""JSON that stands in a lab: a file that nobody may trust, so it is read whole, bounded, or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

MAX_DEPTH = 64
"""Far beyond any spec, plan or provenance of ours, and far below what Python's own recursion bears."""


def document(text: str | bytes) -> Any:
    """What a JSON text holds; None where it is none, or nested beyond ``MAX_DEPTH``."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    level = [found]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return found
    return None


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def mapping(text: str | bytes) -> dict[str, Any]:
    """The same, where an object is expected; empty where there is none."""
    found = document(text)
    return found if isinstance(found, dict) else {}
