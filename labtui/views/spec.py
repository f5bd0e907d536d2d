"""A stored spec or any JSON document as lines of ``key = value``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from labtui.text import clean


def spec_lines(document: Mapping[str, Any], *, depth: int = 6) -> list[str]:
    """One line for each leaf, its keys joined by dots."""
    leaves = list(_leaves(document, "", depth))
    width = min(32, max((len(key) for key, _ in leaves), default=0))
    return [f"{clean(key):<{width}}  {clean(value, limit=400)}" for key, value in leaves]


def _leaves(value: Any, key: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value and depth:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name), depth - 1)
    else:
        yield key, _leaf(value)


def _leaf(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list) and len(value) <= 64:
        return "[" + ", ".join(_leaf(v) for v in value) + "]"
    return str(value)
