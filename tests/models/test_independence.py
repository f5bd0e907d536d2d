"""Row e of every result depends on row e of the inputs alone, to the bit, whatever else is in the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from runners.models import DropoutKeys, dropout_keys
from tests.models.support import ALL, FORMATS, SMALL, batch, make_job, make_model, parameters

ODD: dict[str, list[dict[str, Any]]] = {
    "dense_ssm": [
        {"kind": "dense_ssm", "hidden": h, "d": d}
        for h, d in ((1, 1), (7, 3), (8, 16), (16, 16), (24, 8), (33, 1), (64, 64))
    ],
    "lstm": [{"kind": "lstm", "hidden": h} for h in (1, 7, 8, 32, 40, 45)],
    "transformer": [
        {"kind": "transformer", "layers": 1, "d": d, "heads": n, "init_std": 0.2}
        for d, n in ((1, 1), (6, 3), (16, 2), (20, 5), (32, 4))
    ],
}
ODD |= {
    "rnn": [{"kind": "rnn", "hidden": h} for h in (7, 32, 64)],
    "gru": [{"kind": "gru", "hidden": h} for h in (32, 64)],
    "slstm": [{"kind": "slstm", "hidden": h} for h in (8, 32)],
    "diagonal": [{"kind": "diagonal", "hidden": 32, "range": r} for r in ("[0,1]", "complex")],
    "pd_ssm": [{"kind": "pd_ssm", "hidden": h} for h in (16, 64)],
    "structured": [
        {"kind": "dense_ssm", "hidden": 64, "d": 16, "structure": s, "additive": True}
        for s in ("block", "rotation", "diagonal", "factored")
    ],
}
CASES = [(kind, sizes) for kind, variants in ODD.items() for sizes in variants]


@pytest.mark.parametrize("B", [1, 5, 64])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("kind", "sizes"), CASES, ids=lambda x: str(list(x.values())[1:]) if isinstance(x, dict) else x
)
def test_members_alone_and_together(kind: str, sizes: dict[str, Any], form: str, B: int) -> None:
    m = 5 if B == 64 else 3
    job = make_job(sizes, form, m=m)
    model = make_model(job, m)
    E = 7
    params = parameters(model, E)
    tokens, targets = batch(job, E, B, m)
    grad = torch.empty_like(params)
    loss = model.step(params, tokens, targets, grad)
    sums, counts = model.loss_sums(params, tokens, targets)
    logits = model.logits(params, tokens)
    assert torch.isfinite(loss).all()
    for a, b in ((0, 1), (6, 7), (3, 4), (0, 2), (2, 5), (1, 7)):
        part, x, y = params[a:b], tokens[a:b], targets[a:b]
        g = torch.full_like(part, float("nan"))
        assert torch.equal(model.step(part, x, y, g), loss[a:b])
        assert torch.equal(g, grad[a:b])
        s, c = model.loss_sums(part, x, y)
        assert torch.equal(s, sums[a:b])
        assert torch.equal(c, counts[a:b])
        assert torch.equal(model.logits(part, x), logits[a:b])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", sorted(ALL))
def test_a_shared_batch_is_the_same_as_copies_of_it(kind: str, form: str) -> None:
    job = make_job(ALL[kind], form)
    model = make_model(job)
    params = parameters(model, 3)
    tokens, targets = batch(job, 1, 6)
    one, many = torch.empty_like(params), torch.empty_like(params)
    loss = model.step(params, tokens, targets, one)
    assert torch.equal(loss, model.step(params, tokens.repeat(3, 1, 1), targets.repeat(3, 1, 1), many))
    assert torch.equal(one, many)
    shared, copies = (
        model.loss_sums(params, tokens, targets),
        model.loss_sums(params, tokens.repeat(3, 1, 1), targets.repeat(3, 1, 1)),
    )
    assert torch.equal(shared[0], copies[0])
    assert torch.equal(shared[1], copies[1])


@pytest.mark.parametrize("kind", sorted(ALL))
def test_a_member_that_is_not_finite_disturbs_no_other(kind: str) -> None:
    job = make_job(ALL[kind])
    model = make_model(job)
    params = parameters(model, 3)
    tokens, targets = batch(job, 3, 6)
    grad, broken = torch.empty_like(params), torch.empty_like(params)
    loss = model.step(params, tokens, targets, grad)
    params[1] = float("nan")
    after = model.step(params, tokens, targets, broken)
    for e in (0, 2):
        assert torch.equal(loss[e], after[e])
        assert torch.equal(grad[e], broken[e])
    params[1] = model.init(1)
    assert torch.isfinite(model.step(params, tokens, targets, broken)).all()
    assert torch.isfinite(broken).all()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", sorted(ALL))
def test_padding_contributes_nothing(kind: str, form: str) -> None:
    """Whatever stands where nothing is read, and however far the batch is padded, the numbers agree."""
    job = make_job(ALL[kind], form)
    model = make_model(job)
    params = parameters(model, 2, dtype=torch.float64)
    tokens, targets = batch(job, 2, 6)
    grad, other = torch.empty_like(params), torch.empty_like(params)
    loss = model.step(params, tokens, targets, grad)
    noisy = tokens.clone()
    T = tokens.shape[-1]
    last = ((targets >= 0) * torch.arange(T)).amax(-1, keepdim=True)
    noisy[(torch.arange(T) > last) & (last > 0)] = 1
    wider = torch.cat([noisy, torch.full((2, 6, 2), 2)], 2)
    unread = torch.cat([targets, torch.full((2, 6, 2), -1)], 2)
    torch.testing.assert_close(model.step(params, wider, unread, other), loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(grad, other, rtol=1e-10, atol=1e-14)


def test_dropout_is_a_function_of_seed_step_and_place() -> None:
    job = make_job(SMALL["transformer"] | {"dropout": 0.2})
    model = make_model(job)
    assert model.uses_dropout
    params = parameters(model, 3)
    tokens, targets = batch(job, 3, 6)
    keys = dropout_keys([10, 20, 30], "cpu")

    def step(members: list[int], t: int, each: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        at = torch.tensor([t] * len(members)) if each else torch.tensor(t)
        grad = torch.empty_like(params[members])
        drop = DropoutKeys(keys[members], at)
        return model.step(params[members], tokens[members], targets[members], grad, drop), grad

    loss, grad = step([0, 1, 2], 5)
    alone = [step([e], 5) for e in range(3)]
    assert torch.equal(loss, torch.cat([x for x, _ in alone]))
    assert torch.equal(grad, torch.cat([g for _, g in alone]))
    assert torch.equal(loss, step([0, 1, 2], 5, each=True)[0])
    assert not torch.equal(loss, step([0, 1, 2], 6)[0])
    assert not torch.equal(loss, model.step(params, tokens, targets, grad))
