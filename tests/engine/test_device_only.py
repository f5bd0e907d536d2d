"""What a CUDA graph captures stays on the device: no operand on the host, no copy from or to it,
nothing that waits for it.

Needs no GPU: the device is torch's ``meta``, whose tensors have a shape and no numbers,
and which the models take for a GPU (it is not the CPU).
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from runners.engine.adam import Adam
from runners.engine.evaluate import Validation
from runners.models import DropoutKeys, build
from runners.spec import LSTM, DenseSSM, Job, Transformer
from runners.tasks import Vocabulary
from tests.engine.fake_gpu import HOST_READS
from tests.engine.small_runs import FORMATS, tiny

CARD = "meta"
E, B, V = 3, 32, 300
MODELS = {
    "dense_ssm": DenseSSM(hidden=32),
    "lstm": LSTM(hidden=32),
    "transformer": Transformer(layers=2, d=16, heads=2, dropout=0.1),
}


class Watch(TorchDispatchMode):
    """Every tensor that an operation reads or makes is on the card."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func._schema.name not in HOST_READS, f"{func} waits for the device"
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, out)):
            assert not isinstance(tensor, Tensor) or tensor.device.type == CARD, f"{func} touches the host"
        self.seen += 1
        return out


def fake(job: Job) -> tuple[Any, Adam, Tensor, Tensor, DropoutKeys]:
    vocabulary = Vocabulary.of(job)
    model = build(job, CARD, n_inputs=vocabulary.n_inputs, n_outputs=vocabulary.n_outputs)
    adam = Adam(torch.zeros(E, model.n_parameters, device=CARD), [1e-3, 1e-2, 1e-3])
    tokens, targets = (torch.zeros(E, B, job.longest_input, dtype=torch.int64, device=CARD) for _ in range(2))
    keys = DropoutKeys(*(torch.zeros(E, dtype=torch.int64, device=CARD) for _ in range(2)))
    return model, adam, tokens, targets, keys


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("lengths", [(2, 6), (6, 6)])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", MODELS)
def test_a_step_and_an_evaluation(name: str, format: str, lengths: tuple[int, int], precision: str) -> None:
    job = tiny(format=format, lengths=lengths, precision=precision).model_copy(update={"model": MODELS[name]})
    model, adam, tokens, targets, keys = fake(job)
    held = torch.zeros(1, V, job.longest_input, dtype=torch.int64, device=CARD)
    validation = object.__new__(Validation)
    validation.tokens, validation.targets, validation.positions = held, held, V
    validation.parts = [(0, 256), (256, V)]
    for watch in (None, Watch()):  # as a capture: what the first call sets up is there at the second
        with watch or torch.no_grad():
            loss = model.step(adam.params, tokens, targets, adam.grad, keys)
            adam.step()
            losses = validation.full(model, adam.params, torch.zeros(E, dtype=torch.int64, device=CARD))
    assert watch is not None
    assert watch.seen > 50
    assert loss.shape == losses.shape == (E,)
    assert (loss.dtype, losses.dtype) == (torch.float32, torch.float64)


def test_a_constant_of_the_host_is_found() -> None:
    x = torch.zeros(3, device=CARD)
    with Watch(), pytest.raises(AssertionError, match="touches the host"):
        x.add_(torch.tensor(1.5))
    with Watch(), pytest.raises(AssertionError, match="waits for the device"):
        x.sum().item()
