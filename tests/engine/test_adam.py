from __future__ import annotations

import pytest
import torch

from runners.engine.adam import Adam


@pytest.mark.parametrize("width", [1, 17, 1000])
@pytest.mark.parametrize("rates", [(1e-3,), (1e-2, 1e-3, 1e-2, 0.5)])
def test_is_torchs_adam_for_every_row(width: int, rates: tuple[float, ...]) -> None:
    torch.manual_seed(width)
    start = torch.randn(len(rates), width)
    ours = Adam(start.clone(), rates)
    fused = [torch.nn.Parameter(row.clone()) for row in start]
    plain = [torch.nn.Parameter(row.clone()) for row in start]
    optimisers = [
        *(torch.optim.Adam([p], lr=rate, fused=True) for p, rate in zip(fused, rates, strict=True)),
        *(torch.optim.Adam([p], lr=rate, foreach=False) for p, rate in zip(plain, rates, strict=True)),
    ]
    for _ in range(30):
        grads = torch.randn_like(start) * 10.0 ** torch.randint(-6, 3, start.shape)
        ours.grad.copy_(grads)
        ours.step()
        for parameters in (fused, plain):
            for p, g in zip(parameters, grads, strict=True):
                p.grad = g.clone()
        for optimiser in optimisers:
            optimiser.step()
    assert torch.equal(ours.params, torch.stack([p.detach() for p in fused]))
    torch.testing.assert_close(ours.params, torch.stack([p.detach() for p in plain]), rtol=1e-4, atol=1e-5)


def test_a_row_that_is_not_finite_harms_no_other() -> None:
    start = torch.randn(3, 40)
    together, alone = Adam(start.clone(), (1e-2,) * 3), Adam(start[2:].clone(), (1e-2,))
    for _ in range(3):
        grads = torch.randn(3, 40)
        grads[1] = torch.nan
        together.grad.copy_(grads)
        alone.grad.copy_(grads[2:])
        together.step()
        alone.step()
    assert torch.equal(together.params[2:], alone.params)
    assert together.params[1].isnan().all()


def test_a_row_keeps_its_own_step_count() -> None:
    start = torch.randn(2, 9)
    mixed, late = Adam(start.clone(), (1e-2, 1e-2)), Adam(start[:1].clone(), (1e-2,))
    mixed.steps[0] = late.steps[0] = 100.0
    grads = torch.randn(2, 9)
    mixed.grad.copy_(grads)
    late.grad.copy_(grads[:1])
    mixed.step()
    late.step()
    assert torch.equal(mixed.params[:1], late.params)
    assert mixed.steps.tolist() == [101.0, 1.0]
