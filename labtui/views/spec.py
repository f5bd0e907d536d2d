"""A stored spec, or any JSON document, as keys and values: on the Job and Compare screens and as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from labtui.text import clean
from labtui.views import numbers

DEPTH = 6
"""Tables within tables up to which each leaf has a line: a damaged spec may hold any number of them."""


def literal(value: Any) -> str:
    """Write a value as the spec file has it, a list without its outer brackets."""
    if value is None or value == []:
        return numbers.NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return numbers.rate(value) if 0 < value < 1 else f"{value:g}"
    if isinstance(value, list):
        return ", ".join(f"[{literal(v)}]" if isinstance(v, list) else literal(v) for v in value)
    return json.dumps(value) if isinstance(value, dict) else str(value)


def leaves(document: Mapping[str, Any]) -> dict[str, str]:
    """Collect every value of a document by its keys, joined by dots, in the document's order."""
    return dict(_leaves(document, "", DEPTH))


def _leaves(value: Any, key: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value and depth:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name), depth - 1)
    else:
        yield key, literal(value)


def spec_lines(document: Mapping[str, Any]) -> list[str]:
    """Write a document as lines, one for each leaf: its key, its value."""
    found = leaves(document)
    width = min(32, max(map(len, found), default=0))
    return [f"{clean(key):<{width}}  {clean(value, limit=400)}" for key, value in found.items()]


def spec_rows(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Pair the leaves of two specs as (key, first, second), those that differ before those that agree.

    A key that one spec lacks and the other leaves empty is none that differs.
    """
    a, b = leaves(first), leaves(second)
    rows = [(k, a.get(k, numbers.NONE), b.get(k, numbers.NONE)) for k in dict.fromkeys([*a, *b])]
    return sorted(rows, key=lambda r: r[1] == r[2])
