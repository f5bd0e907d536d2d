"""The test at twice the length."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from runners.spec import PermutationComposition
from runners.tasks import DataSource, TransitionTable, generalisation_batch
from tests.tasks.helpers import LAMP, job


@pytest.mark.parametrize("form", ["outcome", "cot", "acot"])
@pytest.mark.parametrize("task", [3, PermutationComposition(k=3), LAMP], ids=str)
def test_sequences_of_twice_the_length_with_their_final_state(task: object, form: str) -> None:
    of = job(task, form, longest=5)  # type: ignore[arg-type]
    found = generalisation_batch(of, 10)
    assert found.length == 10
    assert found.tokens.shape == (2000, 11 if form == "cot" else 10)
    if form == "cot":
        assert (found.tokens[:, -1] == of.task.n_tokens).all()
    table = TransitionTable.of(of.task)
    states = torch.from_numpy(table.run(found.tokens[:, :10].numpy()))
    assert torch.equal(found.states, states)
    assert torch.equal(found.final, states[:, -1])
    assert found.chance == 1 / len(table.reachable)
    assert found.rescaled(1.0) == 1.0
    assert found.rescaled(found.chance) == 0.0


def test_tokens_are_even_and_independent_and_the_seeds() -> None:
    one = generalisation_batch(job(3, longest=5), 10).tokens
    assert stats.chisquare(torch.bincount(one.reshape(-1))).pvalue > 1e-4
    assert stats.chisquare(torch.bincount((one[:, :-1] * 3 + one[:, 1:]).reshape(-1))).pvalue > 1e-4
    assert torch.equal(one, generalisation_batch(job(3, "cot", "fixed", longest=5), 10).tokens[:, :10])
    assert not torch.equal(one, generalisation_batch(job(3, longest=5), 20).tokens)


def test_its_part_of_the_stream_is_its_own() -> None:
    of = job(3, "acot", "fixed", longest=10, validation=2000)
    held = DataSource(of, 10).validation().tokens[:, :5]
    longer = generalisation_batch(job(3, longest=5), 10).tokens[: len(held), :5]
    assert (held == longer).float().mean().item() == pytest.approx(1 / 3, abs=0.02)
