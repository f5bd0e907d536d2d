"""The one widget that draws: lines in, only the cells that differ out.

A pane asks its ``draw`` for lines, compares them with what stands on the screen and refreshes the differing
columns of the differing rows. Nothing equal is sent again, and a hidden pane draws nothing.
A span whose styles hold a word such as ``@pause`` does that at a click.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from labtui.text import clean, to_ascii, to_blocks
from labtui.tui.theme import Palette
from labtui.views.lines import Line, changed_spans, crop, text_line

if TYPE_CHECKING:
    from labtui.tui.host import Host


class Pane(Widget, inherit_bindings=False):
    """A widget of lines. Subclasses override :meth:`draw`."""

    DEFAULT_CSS = "Pane { width: 1fr; height: 1fr; }"
    can_focus_children = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Line] = []
        self._strips: dict[int, Strip] = {}
        self._drawn_at = (0, 0)

    @property
    def lab_app(self) -> Host:
        return cast("Host", self.app)

    def draw(self, width: int, height: int) -> Sequence[Line]:
        """At most ``height`` lines; they are cropped and padded to the pane."""
        return ()

    def redraw(self) -> None:
        """Draw, compare, and send what differs. Does nothing while the pane is hidden."""
        if not self.is_attached or not self.display or self.size.area == 0:
            return
        old, drawn_at = self._lines, self._drawn_at
        self._draw_lines()
        if self._drawn_at != drawn_at:
            self.refresh()
            return
        regions = []
        for y, (before, after) in enumerate(zip(old, self._lines, strict=True)):
            spans = changed_spans(before, after)
            if spans:
                self._strips.pop(y, None)
                regions += [Region(x, y, end - x, 1) for x, end in spans]
        if regions:
            self.refresh(*regions)

    def _draw_lines(self) -> None:
        """Draw at the present size; strips that no longer hold are dropped where the size is another."""
        width, height = self.size
        lines = [crop(line, width) for line in list(self._safe_draw(width, height))[:height]]
        blank: Line = ((" " * width, ""),)
        self._lines = lines + [blank] * (height - len(lines))
        if self._drawn_at != (width, height):
            self._drawn_at = (width, height)
            self._strips.clear()

    def _safe_draw(self, width: int, height: int) -> Sequence[Line]:
        """One bad value costs a sentence, not the app; tests set ``strict`` and see the fault itself."""
        try:
            return self.draw(width, height)
        except Exception as error:
            if self.lab_app.strict:
                raise
            self.log.error(f"{type(self).__name__} could not be drawn: {error!r}")
            told = clean(f" this part cannot be drawn: {type(error).__name__}: {error}")
            return [text_line(told, "bad")]

    def recolour(self) -> None:
        """Draw everything afresh, in the present theme's colours."""
        self._drawn_at = (0, 0)
        self.redraw()

    def text(self) -> str:
        """What stands on the pane, as plain text."""
        from labtui.views.lines import plain

        return "\n".join(plain(line) for line in self._lines)

    def on_resize(self, event: events.Resize) -> None:
        self.redraw()

    def link_at(self, x: int, y: int) -> str:
        """What a click at a cell does: the word after ``@`` among its span's styles; empty: nothing."""
        if 0 <= y < len(self._lines):
            for text, key in self._lines[y]:
                x -= len(text) if text.isascii() else cell_len(text)
                if x < 0:
                    return next((word[1:] for word in key.split() if word.startswith("@")), "")
        return ""

    def follow(self, link: str) -> None:
        """Do what a drawn span stands for: ``click_<name>`` of this pane with what follows the colon,
        else the action of that name.
        """
        name, _, value = link.partition(":")
        own = getattr(self, f"click_{name}", None)
        if own is not None:
            own(value)
        else:
            self.lab_app.click(name)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        link = self.link_at(event.x, event.y)
        if link:
            self.follow(link)
        else:
            self.click(event.x, event.y)

    def click(self, x: int, y: int) -> None:
        """Take a click at a cell that stands for nothing of its own."""

    def render_line(self, y: int) -> Strip:
        app = self.lab_app
        width, height = self.size
        if self._drawn_at != (width, height):
            # The first frame of a new size is the right one: a blank one would be sent for nothing
            self._draw_lines()
        strip = self._strips.get(y)
        if strip is None:
            line = self._lines[y] if y < len(self._lines) else ()
            strip = self._strips[y] = to_strip(line, width, app.palette, app.glyphs)
        return strip


def to_strip(line: Line, width: int, palette: Palette, glyphs: str = "unicode") -> Strip:
    """A line as Textual draws it, in the signs that the terminal has."""
    change = {"ascii": to_ascii, "blocks": to_blocks}.get(glyphs)
    segments: list[Segment] = []
    for text, key in crop(line, width):
        style = palette.style(key)
        if change:
            text = change(text)
        if segments and _same(segments[-1], text, style):
            segments[-1] = Segment(segments[-1].text + text, segments[-1].style)
        else:
            segments.append(Segment(text, style))
    return Strip(segments, width)


def _same(before: Segment, text: str, style: Style) -> bool:
    """Whether ``text`` may be sent in the style before it:
    the same one, or a gap whose ink nobody sees (40 bytes each).
    """
    old = before.style
    if old is None or old == style:
        return old is not None
    flat = not (old.underline or old.reverse or style.underline or style.reverse)
    return flat and not text.strip() and old.bgcolor == style.bgcolor
