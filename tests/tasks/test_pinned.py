"""Exact numbers of this SCIENCE_VERSION.

Where one of them changes, every stored result was made with other data:
raise SCIENCE_VERSION, then pin the new ones.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch

from runners.spec import SCIENCE_VERSION, PermutationComposition
from runners.tasks import BatchOrder, DataSource, generalisation_batch
from tests.tasks.helpers import job


def digest(*parts: torch.Tensor) -> str:
    h = hashlib.sha256()
    for part in parts:
        h.update(part.to(torch.int64).contiguous().numpy().astype("<i8").tobytes())
    return h.hexdigest()[:16]


CASES: dict[str, tuple[Any, ...]] = {
    "sorted keys": (3, "acot", "uniform", 7, 2),
    "two words": (5, "cot", "fixed", 20, 20),
    "many words": (100, "outcome", "short_to_long", 40, 38),
    "S5": (PermutationComposition(k=5), "cot", "uniform", 5, 2),
}
PINNED: dict[str, tuple[Any, ...]] = {
    "sorted keys": (4, "116563bcaafb7938"),
    "two words": (4, "18ed684cf6f2617f"),
    "many words": (4, "abdb90b016c1ab2a"),
    "S5": (4, "8f706aeda84e32d1"),
    "order": (4, "d448cf44b85229ce", "36c553d7e9e29e9e"),
    "generalisation": (4, "9a5546cabd5dcb69"),
}


@pytest.mark.parametrize("case", CASES)
def test_data_is_what_it_was(case: str) -> None:
    of = job(*CASES[case], validation=100)
    n = min(of.training_space, 2000)
    source = DataSource(of, 10)
    assert (
        SCIENCE_VERSION,
        digest(*source.training(n).batch(torch.arange(n)), *source.validation()),
    ) == PINNED[case]


def test_order_is_what_it_was() -> None:
    small, large = BatchOrder(10, 100, 64).block(5, 4), BatchOrder(10, 1_000_000, 64).block(5, 4)
    assert (SCIENCE_VERSION, digest(small), digest(large)) == PINNED["order"]


def test_generalisation_is_what_it_was() -> None:
    assert (SCIENCE_VERSION, digest(generalisation_batch(job(), 10).tokens)) == PINNED["generalisation"]
