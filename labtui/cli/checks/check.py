"""What ``labtui doctor`` says of one thing that it looked at, and how that is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from labtui.text import clean, wrap

Level = Literal["ok", "note", "problem"]
MARKS: dict[Level, str] = {"ok": " ", "note": "·", "problem": "!"}
COLUMN = 12
"""Cells before the text: the mark, and what was looked at."""


@dataclass(frozen=True)
class Check:
    """One thing looked at: one sentence, and what to do about it."""

    check: str
    level: Level
    text: str
    remedy: str = ""


def lines(found: Sequence[Check], width: int | None) -> list[str]:
    """Write checks as aligned lines, broken at ``width`` cells, in a pipe (None) never.

    Not by ``views.grid``, which cuts what is too long: a remedy has to be copied whole.
    """
    out: list[str] = []
    for f in found:
        head = f"{MARKS[f.level]} {clean(f.check, limit=20):<{COLUMN}}"
        for text in (clean(f.text, limit=400), f"→ {clean(f.remedy, limit=400)}" if f.remedy else ""):
            for part in (wrap(text, max(20, width - len(head))) if width else [text]) if text else []:
                out.append(f"{head}{part}")
                head = " " * len(head)
    return out
