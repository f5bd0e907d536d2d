from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from runners.engine.data import CACHE, validation_stack
from runners.engine.evaluate import PART, Validation, parts
from runners.tasks.data import DataSource
from runners.verdict import Thoroughness
from tests.engine.small_runs import tiny


class Known:
    """A model whose loss at a position is params[token]."""

    calls = 0

    def loss_sums(self, params: Tensor, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        tokens, targets = (t.expand(len(params), -1, -1) for t in (tokens, targets))
        own = params.gather(1, tokens.reshape(len(params), -1)).view(tokens.shape).double()
        keep = targets >= 0
        return torch.where(keep, own, 0.0).sum((1, 2)), keep.sum((1, 2)).double()


def make(size: int, first: int, sets: int = 1) -> tuple[Validation, Tensor, Tensor]:
    torch.manual_seed(size)
    tokens = torch.randint(0, 5, (sets, size, 4))
    targets = torch.where(torch.arange(4) < torch.arange(size)[:, None] % 4 + 1, 0, -1).expand(sets, -1, -1)
    return Validation(tokens, targets, first), tokens, targets


def truth(params: Tensor, tokens: Tensor, targets: Tensor) -> float:
    keep = targets >= 0
    return float(params.double()[tokens][keep].sum() / keep.sum())


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_the_parts_cover_a_set_once(size: int, first: int) -> None:
    edges = parts(size, first)
    assert [x for a, b in edges for x in range(a, b)] == list(range(size))
    assert all(b - a <= PART for a, b in edges)
    assert edges[0][1] == min(first, size, PART)


@given(
    st.integers(1, 700),
    st.integers(1, 300),
    st.lists(st.sampled_from([0.0, 1e-5, 1e-3, 0.5, 3.0, math.nan, math.inf]), min_size=5, max_size=5),
    st.sampled_from([1e-4, 1e-2, 1.0]),
    st.booleans(),
    st.sampled_from([math.inf, 1e-3, 0.0]),
)
def test_the_shortcut_changes_no_verdict(
    size: int, first: int, losses: list[float], eps: float, wanted: bool, best: float
) -> None:
    validation, tokens, targets = make(size, first)
    params = torch.tensor([losses, [0.25] * 5], dtype=torch.float32)
    found, exact = validation.losses(
        Known(),  # type: ignore[arg-type]
        params,
        torch.zeros(2, dtype=torch.int64),
        eps=[eps, 1.0],
        wanted=[wanted, False],
        best=[best, math.inf],
    )
    real = truth(params[0], tokens[0], targets[0])
    assert (exact[0] and found[0] < eps) == (real < eps)
    assert exact[0] or not wanted or not math.isfinite(real)
    if exact[0] and math.isfinite(real):
        assert found[0] == pytest.approx(real)
    elif exact[0]:
        assert not math.isfinite(found[0])
    else:
        assert found[0] > 0
    assert found[1] == pytest.approx(0.25)


def test_rows_are_evaluated_on_their_own_sets_and_only_as_far_as_needed() -> None:
    validation, tokens, targets = make(600, 32, sets=3)
    params = torch.rand(4, 5)
    model = Known()
    sets = torch.tensor([2, 0, 1, 2])
    far = validation.losses(model, params, sets, eps=[1e-9] * 4, wanted=[False] * 4, best=[0.0] * 4)  # type: ignore[arg-type]
    assert far[1] == [False] * 4
    assert model.calls == 1
    near = validation.losses(model, params, sets, eps=[9.0] * 4, wanted=[False] * 4, best=[0.0] * 4)  # type: ignore[arg-type]
    assert near[1] == [True] * 4
    for e in range(4):
        assert near[0][e] == pytest.approx(truth(params[e], tokens[sets[e]], targets[sets[e]]))
    whole = validation.full(model, params, sets).tolist()  # type: ignore[arg-type]
    assert whole == near[0], "to the bit: a sum does not depend on the shortcut"
    eps = [9.0, 0.0, 9.0, 0.0]
    some = validation.losses(model, params, sets, eps=eps, wanted=[False] * 4, best=[0.0] * 4)  # type: ignore[arg-type]
    assert some[1] == [True, False, True, False]
    assert [some[0][0], some[0][2]] == [near[0][0], near[0][2]]


@given(st.integers(1, 5000), st.integers(1, 512), st.integers(1, 1000))
def test_thoroughness_keeps_to_its_share(size: int, batch: int, interval: int) -> None:
    policy = Thoroughness.of(size, batch, interval)
    share = size / (3 * batch * interval)
    assert 1 <= policy.first <= max(size, 16)
    if policy.every == 1:
        assert share <= 0.03
    else:
        assert share / policy.every <= 0.0201
        assert sum(policy.wanted(k, last=False) for k in range(policy.every * 4)) == 4
    assert policy.wanted(0, last=True)


def test_the_paper_preset_is_always_exact() -> None:
    assert Thoroughness.of(2000, 64, 500).every == 1


def test_every_first_part_is_a_fair_sample_of_the_lengths() -> None:
    job = tiny(lengths=(3, 6), validation_size=160)
    _, targets = validation_stack(job, [1, 2], "cpu")
    lengths = (targets >= 0).sum(2)
    assert targets.shape[0] == 2
    assert torch.equal(lengths[0], lengths[1])
    share = [s.validation / sum(x.validation for x in job.shares) for s in job.shares]
    for first in (16, 32, 64):
        counts = torch.bincount(lengths[0, :first], minlength=7)[3:] / first
        assert (counts - torch.tensor(share)).abs().max() < 0.1


def test_the_stack_holds_each_seeds_set() -> None:
    CACHE.clear()
    job = tiny()
    tokens, targets = validation_stack(job, [3, 4], "cpu")
    for d, seed in enumerate((3, 4)):
        batch = DataSource(job, seed).validation()
        wanted = sorted(map(tuple, torch.cat((batch.tokens, batch.targets), 1).tolist()))
        assert sorted(map(tuple, torch.cat((tokens[d], targets[d]), 1).tolist())) == wanted
