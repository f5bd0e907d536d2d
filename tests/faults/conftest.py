"""Faults are counted, and the counts are printed."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.support.faults import COUNTS


def pytest_configure(config: pytest.Config) -> None:
    """`make test-faults` asks for the long form by its marker expression."""
    if config.getoption("markexpr", "") == "faults or not faults":
        os.environ.setdefault("LABTUI_FAULTS", "long")


@pytest.fixture
def counts() -> Counter[str]:
    """What was done to the bench, over all tests."""
    return COUNTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS:
        told = ", ".join(f"{n} {what}" for what, n in sorted(COUNTS.items()))
        terminalreporter.write_line(f"faults: {told}")
