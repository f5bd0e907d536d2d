"""The frame's widgets: header, banner, footer, and the polite word where the terminal is too small."""

from __future__ import annotations

from collections.abc import Sequence

from labtui.text import clean, wrap
from labtui.tui.actions import on_pane
from labtui.tui.header import footer_line, tab_line, title_line
from labtui.tui.pane import Pane
from labtui.views.lines import Line, based, crop, text_line


class Header(Pane):
    """Lab, jobs and supervisor; the tabs below."""

    DEFAULT_CSS = "Header { height: 3; }"

    def draw(self, width: int, height: int) -> Sequence[Line]:
        app = self.lab_app
        return [
            title_line(app.lab_path, app.common, width),
            tab_line(app.front.key, app.keymap, width, typing=app.front.typing),
            text_line("─" * width, "faint"),
        ]


class Banner(Pane):
    """One line that is there only while something needs a person."""

    DEFAULT_CSS = "Banner { height: 1; display: none; }"

    def redraw(self) -> None:
        text, _ = self.lab_app.banner()
        if bool(text) != self.display:
            self.display = bool(text)
        super().redraw()

    def draw(self, width: int, height: int) -> Sequence[Line]:
        text, style = self.lab_app.banner()
        return [based(crop(text_line(f" {clean(text)}"), width), style)]


class Footer(Pane):
    """The keys that matter here, or what just happened."""

    DEFAULT_CSS = "Footer { height: 1; }"

    def draw(self, width: int, height: int) -> Sequence[Line]:
        app = self.lab_app
        words = {a.id: app.word(a) for a in on_pane(app.front.key)}
        return [footer_line(app.front.key, app.keymap, width, app.valid(), app.flash, words)]


class TooSmall(Pane):
    """Covers everything below 60 x 16."""

    DEFAULT_CSS = "TooSmall { layer: over; display: none; width: 100%; height: 100%; }"

    def draw(self, width: int, height: int) -> Sequence[Line]:
        words = wrap("labtui needs 60 x 16 cells to be readable.", max(1, width - 2))
        words += [f"This terminal has {width} x {height}.", "The work goes on meanwhile."]
        top = max(0, (height - len(words)) // 2)
        return [()] * top + [
            text_line(" " * max(0, (width - len(w)) // 2) + w, "dim" if i else "strong")
            for i, w in enumerate(words)
        ]
