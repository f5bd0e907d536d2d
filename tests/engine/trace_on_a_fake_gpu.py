"""Trace steps, evaluations and decoding of every model on a GPU that is not there; told by
test_fake_tensors.

    python -m tests.engine.trace_on_a_fake_gpu CARD.so [--all]

Fake tensors have a device, a shape and no content. A line is printed for each operation that a capture
would refuse or that would be slow without a word: one that waits for the host, or that has operands on two
devices. CARD.so is fake_card.cpp, compiled: torch must find it when it is imported.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

if __name__ == "__main__":
    ctypes.CDLL(sys.argv[1])

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from runners.engine.adam import Adam
from runners.engine.adamw import AdamW
from runners.engine.evaluate import Validation, parts
from runners.models import DropoutKeys, build
from runners.spec import Job, Training
from runners.tasks import Vocabulary
from tests.engine.fake_gpu import HOST_READS
from tests.models.support import ALL, FORMATS, FORWARD, SMALL, make_job

DEVICE = "cuda:0"
LIFTS = ("lift_fresh", "prim.device", "_to_copy", "scalar_tensor", "detach")
"""How fakes make a tensor of a number of Python's: no work of a card's."""


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call, unused-ignore]
    """Collects what a capture would refuse."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
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


def _fused_by_tensor(*columns: list[Tensor], lr: Tensor, **_: object) -> None:
    """torch's fused Adam with a learning rate on the device, of which fakes know nothing."""
    assert {x.device.type for column in (*columns, [lr]) for x in column if isinstance(x, Tensor)} == {"cuda"}


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
        # What published protocols add.
        everything = Training(weight_decay=0.1, clip=1.0, schedule="cosine", warmup=0.1, steps=50)
        adamw = AdamW(everything, adam, [1e-3] * E)
        with Watch() as asked, mock.patch.object(torch, "_fused_adam_", _fused_by_tensor):
            adamw.step()
            validation.whole = True
            wrong = validation.full(model, adam.params, sets)
        bad = list(dict.fromkeys(watch.bad + asked.bad))
        if (wrong.shape, wrong.dtype) != ((E,), torch.float64):
            bad.append(f"wrong sequences {tuple(wrong.shape)} of the type {wrong.dtype}")
        if (loss.shape, losses.shape) != ((E,), (E,)):
            bad.append(f"losses of the shapes {tuple(loss.shape)} and {tuple(losses.shape)}")
        if (loss.dtype, losses.dtype) != (torch.float32, torch.float64):
            bad.append(f"losses of the types {loss.dtype} and {losses.dtype}")
        logits = model.logits(adam.params, tokens)
        ids = torch.arange(names.n_outputs, device=DEVICE)
        made = model.generate(adam.params, tokens[:, :, :2], 2, ids)
        if logits.device.type != "cuda" or logits.shape != (E, B, T, names.n_outputs):
            bad.append(f"logits {tuple(logits.shape)} on {logits.device}")
        if made.device.type != "cuda" or made.shape != (E, B, 2):
            bad.append(f"decoded states {tuple(made.shape)} on {made.device}")
    return bad


def cases(everything: bool) -> Iterator[tuple[str, str, int, bool, str, int]]:
    """(model, format, L, one length, precision, members): each kind of model once, or every variant in
    every format, in two shapes.
    """
    if everything:
        for name, form in itertools.product(ALL, (*FORMATS, "icot")):
            yield name, form, 6, False, "fp32", 3
            yield name, form, 9, True, "bf16", 1
        return
    names = {name.split()[0]: name for name in FORWARD} | {name: name for name in SMALL}
    formats = (*FORMATS, "icot")
    for i, name in enumerate(names.values()):
        yield name, formats[i % len(formats)], 3, False, "fp32", 3


def main() -> int:
    count = found = 0
    for name, form, L, fixed, precision, E in cases("--all" in sys.argv):
        model = ALL[name] | ({"dropout": 0.1} if name == "transformer" else {})
        training = {"precision": precision, "validation_size": 300}
        count += 1
        for line in trace(make_job(model, form, L=L, fixed=fixed, training=training), E):
            found += 1
            print(f"{name} {form} L={L} {precision} E={E}: {line}")
    print(f"{count} traced")
    return int(found > 0)


if __name__ == "__main__":
    raise SystemExit(main())
