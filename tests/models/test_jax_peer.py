"""The program in JAX that benchmarks.engine compares with computes what our models do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.models.support import batch, make_job, make_model, named, parameters

jax = pytest.importorskip("jax", reason="extra bench")
optax = pytest.importorskip("optax", reason="extra bench")
V = 5


@pytest.mark.parametrize("hidden", [8, 16])
@pytest.mark.parametrize("kind", ["gru", "rnn"])
def test_a_cell_has_our_loss_and_gradient(kind: str, hidden: int) -> None:
    from benchmarks.jax_peer import recurrent

    job = make_job({"kind": kind, "hidden": hidden}, m=V, fixed=True)
    model = make_model(job, V)
    params = parameters(model, 1)
    tokens, targets = (part[:, :-1] for part in batch(job, 1, 9, m=V))  # the last row has no target
    grad = torch.empty_like(params)
    loss = model.step(params, tokens, targets, grad)
    _, logits = recurrent(kind, job.model, V, V, False)

    def mean(p: Any) -> Any:
        made = logits(p, tokens[0].numpy())
        return optax.softmax_cross_entropy_with_integer_labels(made, targets[0].numpy()).mean()

    value, slopes = jax.value_and_grad(mean)(_theirs(named(model, params[0])))
    torch.testing.assert_close(torch.tensor(float(value)), loss[0], rtol=1e-5, atol=0)
    for name, own in _theirs(named(model, grad[0])).items():
        torch.testing.assert_close(
            torch.tensor(slopes[name].tolist()), torch.tensor(own), rtol=1e-3, atol=1e-6
        )


def _theirs(ours: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Weights in JAX's names, turned round."""
    names = {"head.weight": "head", "head.bias": "bias"}
    return {
        names.get(name, name): (x if name == "embedding" or x.dim() < 2 else x.T).contiguous().numpy()
        for name, x in ours.items()
    }
