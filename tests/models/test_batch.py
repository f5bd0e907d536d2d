"""The dense SSM's two ways give one answer, and which is taken is a matter of the member's own batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from runners.models import batch as batches
from runners.models.workspace import Workspace
from tests.models.references import dense_ssm
from tests.models.support import FORMATS, batch, make_job, make_model, named, parameters

SIZES = {"kind": "dense_ssm", "hidden": 24, "d": 8}
M = 12


@given(st.data())
def test_ranks(data: st.DataObject) -> None:
    V = data.draw(st.sampled_from([2, 5, 8, 9, 40]))
    B = data.draw(st.sampled_from([1, 7, 255, 300]))
    seed = data.draw(st.integers(0, 1000))
    tokens = torch.randint(-1, V, (2, 1, B), generator=torch.Generator().manual_seed(seed))
    ranks = batches.ranks(tokens, V)
    for t in range(2):
        seen: dict[int, int] = {}
        for token, rank in zip(tokens[t, 0].tolist(), ranks[t, 0].tolist(), strict=True):
            assert rank == (seen.get(token, 0) if token >= 0 else 0)
            seen[token] = seen.get(token, 0) + 1


def test_capacity() -> None:
    assert batches.capacity(5, 64) == 28
    assert batches.capacity(5, 16) is None
    assert batches.capacity(2, 64) is None
    assert batches.capacity(100, 16) == 4


@pytest.mark.parametrize("form", FORMATS)
def test_against_the_reference(form: str) -> None:
    """Member 1 reads one token only: its group overflows."""
    job = make_job(SIZES, form, m=M, L=4)
    model = make_model(job, M)
    params = parameters(model, 3, dtype=torch.float64)
    tokens, targets = batch(job, 3, 48, M)
    tokens[1, :, 0] = 7
    grad = torch.full_like(params, float("nan"))
    losses = model.step(params, tokens, targets, grad)
    sums, counts = model.loss_sums(params, tokens, targets)
    logits = model.logits(params, tokens)
    for e in range(3):
        row = params[e].clone().requires_grad_()
        expected = dense_ssm(named(model, row), tokens[e])
        loss = cross_entropy(expected.flatten(0, 1), targets[e].flatten(), ignore_index=-1)
        loss.backward()
        torch.testing.assert_close(logits[e], expected.detach(), rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(losses[e], loss.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(sums[e] / counts[e], loss.detach(), rtol=1e-10, atol=1e-12)
        assert row.grad is not None
        torch.testing.assert_close(grad[e], row.grad, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("form", FORMATS)
def test_a_neighbour_that_overflows_changes_nothing(form: str) -> None:
    job = make_job(SIZES, form, m=M, L=4)
    model = make_model(job, M)
    params = parameters(model, 4)
    tokens, targets = batch(job, 4, 48, M)
    grad, other = torch.empty_like(params), torch.empty_like(params)
    loss = model.step(params, tokens, targets, grad)
    crowded = tokens.clone()
    crowded[2, :, 0] = 7
    after = model.step(params, crowded, targets, other)
    for e in (0, 1, 3):
        assert torch.equal(loss[e], after[e])
        assert torch.equal(grad[e], other[e])
    alone = torch.empty_like(params[:1])
    assert torch.equal(model.step(params[2:3], crowded[2:3], targets[2:3], alone)[0], after[2])
    assert torch.equal(alone[0], other[2])


@given(st.data())
def test_everywhere(data: st.DataObject) -> None:
    """Each place holds one row of its member and token, in the order of the steps;
    the rest holds the empty row.
    """
    V, B = data.draw(st.sampled_from([(5, 16), (7, 48)]))
    T, E = 9, 3
    Et = data.draw(st.sampled_from([1, E]))
    seed = data.draw(st.integers(0, 1000))
    tokens = torch.randint(-1, V, (T, Et, B), generator=torch.Generator().manual_seed(seed))
    order = batches.Order.of(tokens, V)
    C = batches.capacity(V, T * B)
    assert C is not None
    assert order.fits(C) == [
        int(torch.bincount(tokens[:, e].flatten() + 1)[1:].max()) <= C for e in range(Et)
    ]
    buffers = Workspace().group("test", torch.zeros(1))
    index = batches.everywhere(order, E, T, B, V, buffers).view(E, V, C)
    for e in range(E):
        for v in range(V):
            t, b = (tokens[:, e % Et] == v).nonzero().unbind(1)
            rows = (t * E * B + e * B + b)[:C]
            assert index[e, v, : len(rows)].equal(rows)
            assert (index[e, v, len(rows) :] == (T + 1) * E * B).all()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("B", [16, 48])
def test_rows_against_the_reference(form: str, B: int) -> None:
    """With few sequences a step is not grouped; the gradient of the transitions is, over all steps."""
    job = make_job(SIZES, form, m=5, L=9)
    model = make_model(job, 5)
    params = parameters(model, 3, dtype=torch.float64)
    tokens, targets = batch(job, 3, B, 5)
    grad = torch.full_like(params, float("nan"))
    losses = model.step(params, tokens, targets, grad)
    for e in range(3):
        row = params[e].clone().requires_grad_()
        loss = cross_entropy(
            dense_ssm(named(model, row), tokens[e]).flatten(0, 1), targets[e].flatten(), ignore_index=-1
        )
        loss.backward()
        torch.testing.assert_close(losses[e], loss.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(grad[e], row.grad, rtol=1e-8, atol=1e-10)
