"""Inputs are counted, and the counts are printed, whichever process tried them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain

import pytest

from tests.fuzz.watch import bounded

Tried = Counter[str]


@pytest.fixture
def tried(record_property: Callable[[str, object], None]) -> Iterator[Tried]:
    """How many inputs of each kind this test has given."""
    counts: Tried = Counter()
    yield counts
    for what, number in counts.items():
        record_property(f"tried {what}", number)


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    with bounded():
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts: Tried = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        for name, number in (
            getattr(report, "user_properties", ()) if getattr(report, "when", "") == "teardown" else ()
        ):
            if name.startswith("tried "):
                counts[name.removeprefix("tried ")] += int(str(number))
    if counts:
        told = ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items()))
        terminalreporter.write_line(f"fuzz: {told}")
