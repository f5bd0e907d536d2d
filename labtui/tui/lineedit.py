"""One line of text being edited: plain data and keys, drawn with its caret."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len

from labtui.text import clean
from labtui.views.lines import Line


@dataclass
class LineEdit:
    """Text and caret."""

    text: str = ""
    at: int = 0
    lines: bool = False
    """Line ends that are pasted stay; those that are there stay anyhow. They are drawn as ↵."""

    def set(self, text: str) -> None:
        self.text = text
        self.at = len(text)

    def insert(self, text: str) -> None:
        text = "\n".join(map(clean, text.splitlines())) if self.lines else clean(text)
        self.text = self.text[: self.at] + text + self.text[self.at :]
        self.at += len(text)

    def key(self, key: str, character: str | None, printable: bool) -> bool:
        """Obey a key; False where it is none of editing."""
        t, at = self.text, self.at
        if printable and character:
            self.insert(character)
        elif key == "backspace":
            self.text, self.at = t[: max(0, at - 1)] + t[at:], max(0, at - 1)
        elif key in ("delete", "ctrl+d"):
            self.text = t[:at] + t[at + 1 :]
        elif key == "left":
            self.at = max(0, at - 1)
        elif key == "right":
            self.at = min(len(t), at + 1)
        elif key == "home":
            self.at = 0
        elif key in ("end", "ctrl+e"):
            self.at = len(t)
        elif key == "ctrl+u":
            self.text, self.at = t[at:], 0
        elif key == "ctrl+k":
            self.text = t[:at]
        elif key == "ctrl+w":
            kept = t[:at].rstrip()
            kept = kept[: kept.rfind(" ") + 1]
            self.text, self.at = kept + t[at:], len(kept)
        else:
            return False
        return True

    def line(self, width: int, style: str = "", *, caret: bool = True) -> Line:
        """``width`` cells of it, the caret always in sight."""
        if not caret:
            return (("".join(map(_sign, self.text[:width])), style),)
        before, room = "", width - 1
        for sign in map(_sign, reversed(self.text[max(0, self.at - width) : self.at])):
            room -= cell_len(sign)
            if room < 0:
                break
            before = sign + before
        under = _sign(self.text[self.at : self.at + 1]) or " "
        after = "".join(map(_sign, self.text[self.at + 1 : self.at + width]))
        return ((before, style), (under, "caret"), (after, style))


def _sign(character: str) -> str:
    """How one character is drawn: what is edited may come from a file, and a terminal would obey it."""
    return "↵" if character == "\n" else clean(character)
