"""Adam for stacked members: one flat buffer per moment, a learning rate and a step count per member.

Torch's defaults (Kingma and Ba 2015): betas 0.9 and 0.999, eps 1e-8, bias correction, no weight decay. The
arithmetic is torch's own fused kernel, which reads and writes each of the four buffers once; a row never sees
another row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


def update(
    params: list[Tensor],
    grads: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
    rate: float | Tensor,
) -> None:
    """Update rows that share a learning rate, in place; ``steps`` count this update already."""
    torch._fused_adam_(
        params,
        grads,
        means,
        squares,
        [],
        steps,
        lr=rate,
        beta1=BETA1,
        beta2=BETA2,
        weight_decay=0.0,
        eps=EPS,
        amsgrad=False,
        maximize=False,
    )


class Adam:
    """The optimiser of one fused batch.

    Args:
        params: float32 [E, P], updated in place.
        rates: one learning rate per row.
        mean, square: the moments, taken over and updated in place; None: zeros.
    """

    def __init__(
        self, params: Tensor, rates: Sequence[float], mean: Tensor | None = None, square: Tensor | None = None
    ) -> None:
        self.params = params
        self.grad = torch.zeros_like(params)
        self.mean = torch.zeros_like(params) if mean is None else mean
        self.square = torch.zeros_like(params) if square is None else square
        self.steps = torch.zeros(params.shape[0], device=params.device, dtype=torch.float32)
        """Optimiser steps of each row, on the device; a float,
        as torch keeps it (exact to 2^24, no matter beyond).
        """
        rows = tuple(
            zip(*(t.unbind(0) for t in (params, self.grad, self.mean, self.square, self.steps)), strict=True)
        )
        self._groups: list[tuple[float, list[list[Tensor]]]] = []
        for rate in dict.fromkeys(rates):
            chosen = [row for row, own in zip(rows, rates, strict=True) if own == rate]
            self._groups.append((rate, [list(column) for column in zip(*chosen, strict=True)]))

    def step(self) -> None:
        """Update every row once from ``grad`` [E, P]."""
        self.steps.add_(1)
        for rate, (params, grads, means, squares, steps) in self._groups:
            update(params, grads, means, squares, steps, rate)
