"""The bar of work that a notebook waits for: one HTML element that is updated, where there is one."""

from __future__ import annotations

import sys
from html import escape
from typing import Any


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook; loads nothing."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "ipykernel" in sys.modules and hasattr(shell, "kernel")


class NotebookBar:
    """How far it is, and one line about it."""

    def __init__(self) -> None:
        from IPython.display import HTML, display  # of the kernel that this runs in

        self._html = HTML
        self._handle: Any = display(HTML(self._text(0.0, "")), display_id=True)
        self._shown = ""

    def update(self, fraction: float, words: str) -> None:
        """Show it anew where it reads otherwise."""
        text = self._text(fraction, words)
        if text != self._shown:
            self._shown = text
            self._handle.update(self._html(text))

    @staticmethod
    def _text(fraction: float, words: str) -> str:
        return f'<progress max="100" value="{100 * fraction:.0f}"></progress> {escape(words)}'
