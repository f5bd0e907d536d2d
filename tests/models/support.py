"""Jobs, batches and parameters for the tests of the models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from runners.models import StackedModel, build
from runners.spec import Job

SMALL: dict[str, dict[str, Any]] = {
    "dense_ssm": {"kind": "dense_ssm", "hidden": 8, "d": 16},
    "lstm": {"kind": "lstm", "hidden": 8},
    "transformer": {"kind": "transformer", "layers": 2, "d": 8, "heads": 2, "init_std": 0.3},
}
FORWARD: dict[str, dict[str, Any]] = {
    "rnn": {"kind": "rnn", "hidden": 8},
    "gru": {"kind": "gru", "hidden": 8},
    "slstm": {"kind": "slstm", "hidden": 8},
    "diagonal real": {"kind": "diagonal", "hidden": 8, "additive": True},
    "diagonal positive": {"kind": "diagonal", "hidden": 8, "range": "[0,1]"},
    "diagonal complex": {"kind": "diagonal", "hidden": 4, "d": 8, "range": "complex"},
    "dense_ssm full": {"kind": "dense_ssm", "hidden": 4, "d": 8, "additive": True},
    "dense_ssm near": {"kind": "dense_ssm", "hidden": 4, "init": "near_identity"},
    "dense_ssm block": {"kind": "dense_ssm", "hidden": 4, "structure": "block", "additive": True},
    "dense_ssm rotation": {"kind": "dense_ssm", "hidden": 4, "structure": "rotation"},
    "dense_ssm diagonal": {
        "kind": "dense_ssm", "hidden": 4, "structure": "diagonal", "init": "near_identity"
    },
    "dense_ssm factored": {"kind": "dense_ssm", "hidden": 4, "structure": "factored", "rank": 3},
    "pd_ssm": {"kind": "pd_ssm", "hidden": 4},
    "deltanet": {"kind": "deltanet", "d": 8, "heads": 2, "householders": 2},
    "deltanet gated": {
        "kind": "deltanet", "d": 8, "range": "[0,1]", "gate": True, "convolution": True, "layers": 2
    },
    "mamba": {"kind": "mamba", "d": 8, "states": 4},
    "mamba negative": {"kind": "mamba", "d": 8, "states": 3, "range": "[-1,1]", "layers": 2},
    "transformer rope": SMALL["transformer"] | {"position": "rope"},
    "transformer nope": SMALL["transformer"] | {"position": "nope", "layers": 1, "loops": 2},
    "transformer alibi": SMALL["transformer"] | {"position": "alibi"},
    "transformer sinusoidal": SMALL["transformer"] | {"position": "sinusoidal"},
}  # fmt: skip
"""Models that are written as one forward function."""
ALL = SMALL | FORWARD
PAPER: dict[str, dict[str, Any]] = {
    "dense_ssm": {"kind": "dense_ssm", "hidden": 256},
    "lstm": {"kind": "lstm", "hidden": 768},
    "transformer": {"kind": "transformer", "layers": 6, "d": 256, "heads": 8},
}
FORMATS = ("outcome", "cot", "acot", "icot")


def make_job(
    model: dict[str, Any], form: str = "acot", *, m: int = 3, L: int = 5, fixed: bool = False, **more: Any
) -> Job:
    lengths = {"distribution": "fixed" if fixed else "uniform", "length": L}
    return Job.model_validate(
        {
            "task": {"kind": "modular_addition", "m": m},
            "format": form,
            "lengths": lengths,
            "model": model,
            **more,
        }
    )


def make_model(job: Job, m: int = 3) -> StackedModel:
    return build(job, "cpu", n_inputs=m + (job.format == "cot"), n_outputs=m)


def batch(job: Job, E: int, B: int, m: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random right-padded sequences; every member's first is the longest,
    and each member's last row has no target.
    """
    generator = torch.Generator().manual_seed(seed)
    T, L = job.longest_input, job.lengths.length
    tokens = torch.zeros(E, B, T, dtype=torch.int64)
    targets = torch.full((E, B, T), -1)
    for e in range(E):
        for b in range(B):
            short = int(torch.randint(job.lengths.min_length, L + 1, (), generator=generator))
            n = L if b == 0 else short
            x = torch.randint(0, m, (n,), generator=generator)
            s = torch.randint(0, m, (n,), generator=generator)
            read = torch.cat([x, torch.tensor([m]), s[:-1]]) if job.format == "cot" else x
            if job.format == "icot":
                read = torch.stack((x, s), 1).flatten()[:-1]
            tokens[e, b, : len(read)] = read
            if b == B - 1 and B > 2:
                continue
            if job.format == "outcome":
                targets[e, b, n - 1] = s[-1]
            elif job.format == "icot":
                targets[e, b, : 2 * n : 2] = s
            else:
                targets[e, b, len(read) - n : len(read)] = s
    return tokens, targets


def parameters(
    model: StackedModel, E: int, *, seed: int = 0, dtype: torch.dtype = torch.float32, moved: float = 0.05
) -> Tensor:
    """Different members: initial values, moved so that no bias is zero."""
    rows = torch.stack([model.init(seed + e) for e in range(E)]).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    return rows + moved * torch.randn(rows.shape, generator=generator, dtype=dtype)


def named(model: StackedModel, row: Tensor) -> dict[str, Tensor]:
    """The parameters of one member by name."""
    return {name: row[where].view(shape) for name, (where, shape) in model.names.items()}
