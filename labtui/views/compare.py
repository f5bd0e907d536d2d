"""The Compare screen as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labtui.views.grid import grid
from labtui.views.job import summary_lines
from labtui.views.spec import spec_lines
from store.rows import JobRow


def job_lines(a: JobRow, b: JobRow, spec_a: Mapping[str, Any], spec_b: Mapping[str, Any]) -> list[str]:
    """Two jobs side by side: what is told of either, then only what differs in their specs."""
    left, right = _split(summary_lines(a)), _split(summary_lines(b))
    names = list(dict.fromkeys([*left, *right]))
    rows: list[Sequence[object]] = [[name, left.get(name, ""), right.get(name, "")] for name in names]
    first, second = _split(spec_lines(spec_a)), _split(spec_lines(spec_b))
    differing = [k for k in dict.fromkeys([*first, *second]) if first.get(k) != second.get(k)]
    out = grid(["", f"job {a.id}", f"job {b.id}"], rows)
    if not differing:
        return [*out, "", "the specs are equal"]
    table = [[k, first.get(k, "–"), second.get(k, "–")] for k in differing]
    return [*out, "", *grid(["spec differs in", f"job {a.id}", f"job {b.id}"], table)]


def _split(lines: Sequence[str]) -> dict[str, str]:
    pairs = (line.split("  ", 1) for line in lines)
    return {pair[0].strip(): (pair[1].strip() if len(pair) > 1 else "") for pair in pairs}
