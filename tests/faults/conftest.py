"""Faults are counted, and the counts are printed."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.faults import COUNTS


@pytest.fixture
def counts() -> Counter[str]:
    """What was done to the bench, over all tests."""
    return COUNTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS:
        told = ", ".join(f"{n} {what}" for what, n in sorted(COUNTS.items()))
        terminalreporter.write_line(f"faults: {told}")
