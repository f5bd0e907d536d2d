"""A lab with a few jobs, and a supervisor's writer on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.write import Writer, create_or_open, queue_spec
from store.write import lab as lab_rows
from tests.store.lab_steps import IDENTITY, lone, study


@pytest.fixture
def lab(lab_path: Path) -> Path:
    """A lab with the study's five jobs (n = 2, 3, 4 and two joint ones) and one alone, ids 1 to 6."""
    create_or_open(lab_path)
    with Writer(lab_path) as writer, writer.transaction() as tx:
        assert queue_spec(tx, study()).new == 5
        assert queue_spec(tx, lone()).new == 1
    return lab_path


@pytest.fixture
def writer(lab: Path) -> Iterator[Writer]:
    """The writer of a supervisor that has claimed the lab."""
    with Writer(lab) as found:
        with found.transaction() as tx:
            lab_rows.claim(tx, IDENTITY)
        yield found
