"""How many inputs, and from which seed: the short form with every ``make test``,
the long one with LABTUI_FUZZ=10 or more.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

FACTOR = float(os.environ.get("LABTUI_FUZZ", "1"))
"""1,000 gives at least 100,000 specs and messages, 10,000 lab files and checkpoints."""
SEED = int(os.environ.get("LABTUI_FUZZ_SEED", "0"))
ROUND = 2_000


def try_all(
    counts: Counter[str],
    what: str,
    inputs: st.SearchStrategy[Any],
    contract: Callable[[Any], None],
    short: int,
) -> None:
    """Give ``short`` * LABTUI_FUZZ inputs to a contract; the same ones for the same seed.

    A failing one is shrunk and printed.

    In rounds, because hypothesis remembers all that it has tried in one.
    """
    left = round(short * FACTOR)
    for number in range(-(-left // ROUND)):

        @seed(SEED * 1_000_003 + number)
        @settings(
            max_examples=min(ROUND, left - number * ROUND),
            database=None,
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(inputs)
        def one(value: Any) -> None:
            counts[what] += 1
            contract(value)

        one()
