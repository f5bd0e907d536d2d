"""A screen that sends only the cells that were refreshed.

Textual 8.2 cuts a partial update at its right end alone: eight changed cells at the end of a row send the whole row (its own
note in ``ChopsUpdate`` says so). Over a slow link that is five times the bytes. This cuts at both ends; the rest is Textual's.
"""

from __future__ import annotations

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor
from textual.screen import Screen


class ThriftyUpdate(ChopsUpdate):
    """A partial update, cut at both ends."""

    def render_segments(self, console: Console) -> str:
        out: list[str] = []
        for y, x1, x2 in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= x2 or end <= x1:
                    continue
                start = max(x, x1)
                out.append(Control.move_to(start, y).segment.text)
                out.append(strip.crop(start - x, min(end, x2) - x).render(console))
        return "".join(out)


class ThriftyCompositor(Compositor):
    """Textual's compositor, with the update above."""

    def render_partial_update(self) -> ChopsUpdate | None:
        update = super().render_partial_update()
        return None if update is None else ThriftyUpdate(update.chops, update.spans, update.chop_ends)


class LabScreen(Screen[None], inherit_bindings=False):
    """The one screen of the app."""

    def __init__(self) -> None:
        super().__init__(id="_default")
        self._compositor = ThriftyCompositor()
