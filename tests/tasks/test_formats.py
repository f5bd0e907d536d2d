"""Inputs and targets against sequences that are written out one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from runners.spec import Dihedral, Job, PermutationComposition
from runners.tasks import DataSource, TransitionTable, Vocabulary
from tests.tasks.helpers import LAMP, job, rows

TASKS: list[Any] = [2, 5, PermutationComposition(k=3), Dihedral(n=3), LAMP]


def written_out(of: Job, x: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """(input ids, targets) of one sequence by docs/science.md's words, padded to the job's longest input."""
    table = TransitionTable.of(of.task)
    k, states, s = table.n_tokens, [], table.start
    for token in x:
        s = int(table.table[s, token])
        states.append(s)
    if of.format == "outcome":
        tokens, targets = list(x), [-1] * (len(x) - 1) + states[-1:]
    elif of.format == "acot":
        tokens, targets = list(x), states
    else:
        own = 0 if table.shared else k + 1
        tokens = [*x, k, *(own + s for s in states[:-1])]
        targets = [-1] * len(x) + states
    pad = of.longest_input - len(tokens)
    return tokens + [0] * pad, targets + [-1] * pad


@pytest.mark.parametrize("form", ["outcome", "cot", "acot"])
@pytest.mark.parametrize("task", TASKS, ids=str)
@pytest.mark.parametrize("distribution", ["fixed", "uniform", "short_to_long"])
def test_every_position_is_as_written(task: Any, form: Any, distribution: Any) -> None:
    of = job(task, form, distribution, longest=5, batch=7)
    source = DataSource(of, 10)
    held = source.validation()
    n = min(200, of.training_space) // 2 * 2
    trained = source.training(n).batch(torch.arange(n).reshape(2, n // 2))
    assert trained.tokens.shape == trained.targets.shape == (2, n // 2, of.longest_input)
    for tokens, targets, lengths in (held, [part.flatten(0, 1) for part in trained]):
        for row, due, length in zip(tokens.tolist(), targets.tolist(), lengths.tolist(), strict=True):
            assert (row, due) == written_out(of, tuple(row[:length]))


def test_a_cot_input_is_twice_its_length() -> None:
    of = job(3, "cot", "fixed", longest=4)
    batch = DataSource(of, 1).validation()
    assert batch.tokens.shape[1] == of.longest_input == 8
    assert (batch.targets >= 0).sum(1).eq(4).all()
    assert batch.tokens[:, 4].eq(3).all()


@pytest.mark.parametrize("small", [True, False], ids=["laid out", "computed"])
def test_a_set_too_large_to_hold_gives_the_same_batches(small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from runners.tasks import data

    of = job(3, "cot", longest=8, steps=100_000)
    n = 5_000
    index = torch.randint(n, (3, 50), generator=torch.Generator().manual_seed(1))
    want = DataSource(of, 4).training(n).batch(index)
    monkeypatch.setattr(data, "FORMATTED", 0)
    if not small:
        monkeypatch.setattr(data, "TABLE_BYTES", {"cpu": 0})
    source = DataSource(of, 4)
    got = source.training(n).batch(index)
    assert (len(source._tokens) > 0) is small
    for a, b in zip(want, got, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("task", "form", "ids"),
    [
        (3, "outcome", (3, 3, None, 0)),
        (3, "acot", (3, 3, None, 0)),
        (3, "cot", (4, 3, 3, 0)),
        (PermutationComposition(k=5), "cot", (121, 120, 120, 0)),
        (LAMP, "acot", (3, 4, None, 0)),
        (LAMP, "cot", (8, 4, 3, 4)),
    ],
)
def test_ids(task: Any, form: Any, ids: tuple[Any, ...]) -> None:
    v = Vocabulary.of(job(task, form))
    assert (v.n_inputs, v.n_outputs, v.separator, v.state_offset) == ids


def test_tokens_are_kept_in_the_smallest_type() -> None:
    small, large = DataSource(job(100, "acot", longest=3), 1), DataSource(job(200, "acot", longest=3), 1)
    assert small.training(9).sequences(torch.arange(9))[0].dtype == torch.int8
    assert large.training(9).sequences(torch.arange(9))[0].dtype == torch.int16
    assert max(max(r) for r in rows(*large.training(900).sequences(torch.arange(900)))) > 127
