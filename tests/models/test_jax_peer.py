"""The programs in JAX that benchmarks.engine compares with compute what our models do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.models.support import batch, make_job, make_model, named, parameters

jax = pytest.importorskip("jax", reason="extra bench")
optax = pytest.importorskip("optax", reason="extra bench")
V = 5
BY_OUR_NAMES: list[dict[str, Any]] = [
    {"kind": "slstm", "hidden": 8},
    *({"kind": "diagonal", "hidden": 8, "range": r} for r in ("[0,1]", "[-1,1]", "complex")),
    *(
        {"kind": "dense_ssm", "hidden": 8, "structure": s, "init": init}
        for s in ("full", "block", "rotation", "diagonal", "factored")
        for init in ("scaled", "near_identity")
        if (s, init) != ("full", "scaled")
    ),
    {"kind": "pd_ssm", "hidden": 8},
    *({"kind": "deltanet", "layers": 2, "d": 8, "heads": 2, "range": r} for r in ("[0,1]", "[-1,1]")),
    *({"kind": "mamba", "layers": 2, "d": 8, "states": 4, "range": r} for r in ("[0,1]", "[-1,1]")),
    *(
        {"kind": "transformer", "layers": 2, "d": 16, "heads": 2, "position": p}
        for p in ("rope", "nope", "alibi", "sinusoidal")
    ),
    {"kind": "transformer", "layers": 2, "d": 16, "heads": 2, "loops": 2},
]


@pytest.mark.parametrize("hidden", [8, 16])
@pytest.mark.parametrize("kind", ["gru", "rnn"])
def test_a_cell_has_our_loss_and_gradient(kind: str, hidden: int) -> None:
    from benchmarks.jax_models import recurrent

    spec = make_job({"kind": kind, "hidden": hidden}, m=V, fixed=True).model
    _, logits = recurrent(kind, spec, V, V, False)
    _agrees({"kind": kind, "hidden": hidden}, [logits], _theirs)


@pytest.mark.parametrize("spec", BY_OUR_NAMES, ids=str)
def test_every_form_of_another_has_our_loss_and_gradient(spec: dict[str, Any]) -> None:
    from benchmarks.jax_peer import forms, written

    job = make_job(spec, m=V, fixed=True)
    assert written(job)
    made = [logits for _, logits in forms(job, V, job.longest_input, quick=False)]
    _agrees(spec, made, lambda ours: {name: x.numpy() for name, x in ours.items()})


def _agrees(spec: dict[str, Any], programs: list[Any], handed: Any) -> None:
    job = make_job(spec, m=V, fixed=True)
    model = make_model(job, V)
    params = parameters(model, 1)
    tokens, targets = (part[:, :-1] for part in batch(job, 1, 9, m=V))  # the last row has no target
    grad = torch.empty_like(params)
    loss = model.step(params, tokens, targets, grad)
    for logits in programs:

        def mean(p: Any, logits: Any = logits) -> Any:
            made = logits(p, tokens[0].numpy())
            return optax.softmax_cross_entropy_with_integer_labels(made, targets[0].numpy()).mean()

        value, slopes = jax.value_and_grad(mean)(handed(named(model, params[0])))
        torch.testing.assert_close(torch.tensor(float(value)), loss[0], rtol=1e-5, atol=0)
        for name, own in handed(named(model, grad[0])).items():
            torch.testing.assert_close(
                torch.tensor(slopes[name].tolist()), torch.tensor(own), rtol=1e-3, atol=1e-6, msg=name
            )


def _theirs(ours: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Weights in JAX's names, turned round."""
    names = {"head.weight": "head", "head.bias": "bias"}
    return {
        names.get(name, name): (x if name == "embedding" or x.dim() < 2 else x.T).contiguous().numpy()
        for name, x in ours.items()
    }
