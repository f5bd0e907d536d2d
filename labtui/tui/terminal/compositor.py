"""Textual's compositor, sending only the cells that differ from those that stand on the terminal.

Textual repaints what was refreshed: the whole screen three times at the start and at every change of layout,
and of a row everything up to its end. Over a slow link that is seconds. An update that brings nothing new
sends nothing.

These classes are no public interface of Textual: ``labtui.tui.terminal.screen`` does without where
they are others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS, Console
from textual._compositor import ChopsUpdate, Compositor, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from labtui.tui.terminal.cell_diff import Row, Run, Terminal
from labtui.tui.terminal.sgr import paint


class Difference(CompositorUpdate):
    """Runs to paint, and the rows that stand on the terminal once they are."""

    def __init__(self, terminal: Terminal, runs: list[Run], rows: dict[int, Row | None]) -> None:
        self.terminal, self.runs, self.rows = terminal, runs, rows

    def render_segments(self, console: Console) -> str:
        self.terminal.stands(self.rows)
        return paint(self.runs, COLOR_SYSTEMS.get(console.color_system or "", ColorSystem.TRUECOLOR))


class ThriftyCompositor(Compositor):
    """Knows what was sent."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self.terminal = terminal

    def render_update(self, full: bool = False, *args: Any, **options: Any) -> Any:
        update = super().render_update(full, *args, **options)
        if full or not isinstance(update, LayoutUpdate | ChopsUpdate):
            return update  # a full one is for a picture, not for the terminal
        self.terminal.resize(*self.size)
        runs, rows = self.terminal.compare(strips(update))
        return Difference(self.terminal, runs, rows) if runs else None


def strips(update: LayoutUpdate | ChopsUpdate) -> Iterator[tuple[int, int, Strip]]:
    """(x, y, strip) of an update, in reading order."""
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            yield update.region.x, y, Strip.join(line)
        return
    for y, x1, x2 in sorted(update.spans):
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x < x2 and end > x1:
                yield max(x, x1), y, strip.crop(max(x, x1) - x, min(end, x2) - x)
