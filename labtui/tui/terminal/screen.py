"""The one screen of the app, and what it knows of the terminal."""

from __future__ import annotations

from textual.screen import Screen

from labtui.tui.terminal.cell_diff import Terminal


class LabScreen(Screen[None], inherit_bindings=False):
    """Sends what differs. Where Textual has another compositor it keeps its own:
    the same picture for more bytes.
    """

    def __init__(self) -> None:
        super().__init__(id="_default")
        self.terminal = Terminal()
        try:
            from labtui.tui.terminal.compositor import ThriftyCompositor

            self._compositor = ThriftyCompositor(self.terminal)
        except (ImportError, TypeError):
            self.log.warning("this Textual has another compositor: updates are longer than they need be")

    def repaint(self) -> None:
        """Send everything again: something else wrote on the terminal, or it lost what stood there."""
        self.terminal.forget()
        self.refresh()
