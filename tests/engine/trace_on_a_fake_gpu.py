"""Trace steps, evaluations and decoding of the models with kernels of their own on a GPU that is not there;
told by test_fake_tensors.

    python trace_on_a_fake_gpu.py GUARD.so [--all]

Autograd, by which the other models train, refuses to work there. Fake tensors have a device, a shape and no
content. A line is printed for each operation that a capture
would refuse
or that would be slow without a word: one that waits for the host, or that has operands on two devices.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent.parent)]

import torch  # noqa: E402
from fake_gpu import HOST_READS  # noqa: E402
from small_runs import FORMATS, MODELS, tiny  # noqa: E402
from torch import Tensor  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from runners.engine.adam import Adam  # noqa: E402
from runners.engine.evaluate import Validation, parts  # noqa: E402
from runners.models import DropoutKeys, build  # noqa: E402
from runners.spec import Job  # noqa: E402
from runners.tasks import Vocabulary  # noqa: E402

DEVICE = "cuda:0"
LIFTS = ("lift_fresh", "prim.device", "_to_copy", "scalar_tensor", "detach")
"""How fakes make a tensor of a number of Python's: no work of a card's."""


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call, unused-ignore]
    """Collects what a capture would refuse."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bad: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        devices = {
            x.device.type
            for x in tree_leaves((args, kwargs or {}, out))
            if isinstance(x, Tensor) and (x.dim() or x.device.type != "cpu")
        }
        if func._schema.name in HOST_READS:
            self.bad.append(f"{func} waits for the host")
        elif len(devices) > 1 or (devices == {"cpu"} and not any(word in str(func) for word in LIFTS)):
            self.bad.append(f"{func} works on {sorted(devices)}")
        return out


def trace(job: Job, E: int) -> list[str]:
    """What is wrong with a job's step, evaluation, logits and decoding."""
    names = Vocabulary.of(job)
    T, B = job.longest_input, 16
    with FakeTensorMode():
        model = build(job, DEVICE, n_inputs=names.n_inputs, n_outputs=names.n_outputs)
        adam = Adam(torch.zeros(E, model.n_parameters, device=DEVICE), [1e-3 * (1 + e % 2) for e in range(E)])
        tokens, targets = (torch.zeros(E, B, T, dtype=torch.int64, device=DEVICE) for _ in range(2))
        keys = DropoutKeys(*(torch.zeros(E, dtype=torch.int64, device=DEVICE) for _ in range(2)))
        held = torch.zeros(2, 300, T, dtype=torch.int64, device=DEVICE)
        validation = object.__new__(Validation)  # its constructor counts, which a fake cannot
        validation.tokens, validation.targets, validation.positions = held, held, 300
        validation.parts = parts(300, 300)
        sets = torch.zeros(E, dtype=torch.int64, device=DEVICE)
        for _ in range(2):  # the first one makes buffers
            with Watch() as watch:
                dropout = keys if model.uses_dropout else None
                loss = model.step(adam.params, tokens, targets, adam.grad, dropout)
                adam.step()
                losses = validation.full(model, adam.params, sets)
        bad = list(dict.fromkeys(watch.bad))
        if (loss.shape, losses.shape) != ((E,), (E,)):
            bad.append(f"losses of the shapes {tuple(loss.shape)} and {tuple(losses.shape)}")
        if (loss.dtype, losses.dtype) != (torch.float32, torch.float64):
            bad.append(f"losses of the types {loss.dtype} and {losses.dtype}")
        logits = model.logits(adam.params, tokens)
        ids = torch.arange(names.n_outputs, device=DEVICE)
        made = model.generate(adam.params, tokens[:, :, :2], 3, ids)
        if logits.device.type != "cuda" or logits.shape != (E, B, T, names.n_outputs):
            bad.append(f"logits {tuple(logits.shape)} on {logits.device}")
        if made.device.type != "cuda" or made.shape != (E, B, 3):
            bad.append(f"decoded states {tuple(made.shape)} on {made.device}")
    return bad


def main() -> int:
    ctypes.CDLL(sys.argv[1])
    everything = "--all" in sys.argv
    lengths = ((2, 6), (6, 6), (2, 30)) if everything else ((2, 6),)
    precisions = ("fp32", "bf16") if everything else ("fp32",)
    count = found = 0
    for (name, spec), form, length, precision, E in itertools.product(
        MODELS.items(), FORMATS, lengths, precisions, (1, 3) if everything else (3,)
    ):
        job = tiny(format=form, lengths=length, precision=precision).model_copy(update={"model": spec})
        count += 1
        for line in trace(job, E):
            found += 1
            print(f"{name} {form} {length} {precision} E={E}: {line}")
    print(f"{count} traced")
    return int(found > 0)


if __name__ == "__main__":
    raise SystemExit(main())
