"""Loss curves in bounded memory: a trial may be evaluated a million times,
nobody looks at more than a few hundred points.
"""

from __future__ import annotations

import math

MOST = 128
Point = tuple[int, float, float, bool]
Columns = tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...], tuple[bool, ...]]


class ThinCurve:
    """Points of one trial, thinned by doubling the stride;
    the first, the best exact one and the last are always kept.
    """

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._stride = 1
        self._seen = 0
        self._best: Point | None = None
        self._last: Point | None = None

    def add(self, step: int, train: float, validation: float, exact: bool) -> None:
        """Take one evaluation; steps come in rising order (after a resume,
        one may come again and replaces nothing).
        """
        if self._last is not None and step <= self._last[0]:
            return
        point = (step, train, validation, exact)
        if self._seen % self._stride == 0:
            self._points.append(point)
            if len(self._points) > MOST:
                del self._points[1::2]
                self._stride *= 2
        self._seen += 1
        self._last = point
        if exact and math.isfinite(validation) and (self._best is None or validation < self._best[2]):
            self._best = point

    def columns(self) -> Columns:
        """(steps, training losses, validation losses, whether the latter are exact), by rising step."""
        kept = {p[0]: p for p in (*self._points, *(p for p in (self._best, self._last) if p is not None))}
        rows = [kept[step] for step in sorted(kept)]
        return (
            tuple(r[0] for r in rows),
            tuple(r[1] for r in rows),
            tuple(r[2] for r in rows),
            tuple(r[3] for r in rows),
        )
