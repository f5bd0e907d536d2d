"""What a list of choices is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Choice(NamedTuple):
    """An entry of a list."""

    label: str
    then: Callable[[], object]
    note: str = ""
    key: str = ""
    off: bool = False
    """It stands there, dim, and does nothing."""
