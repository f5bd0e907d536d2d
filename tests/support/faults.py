"""How often each fault is tried, and the counts that the run prints at its end."""

from __future__ import annotations

import os
from collections import Counter

COUNTS: Counter[str] = Counter()


def long(short: int, whole: int) -> int:
    """How often: the short form runs with every `make test`,
    the whole one with `make test-faults` (LABTUI_FAULTS=long).
    """
    return whole if os.environ.get("LABTUI_FAULTS") == "long" else short
