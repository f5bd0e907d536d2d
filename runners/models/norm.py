"""Layer normalisation over the last axis with a gain and a bias for each member."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

EPS = 1e-5
"""As GPT-2."""

Statistics = tuple[Tensor, Tensor]
_BACKWARD: Callable[..., tuple[Tensor, Tensor, Tensor]] = torch.ops.aten.native_layer_norm_backward


def forward(x: Tensor, gain: Tensor, bias: Tensor) -> tuple[Tensor, Statistics]:
    """x [E, N, d], gain and bias [E, d] -> the normalised [E, N, d] and (mean, 1 / standard deviation)."""
    d = [x.shape[-1]]
    if x.shape[0] == 1:
        y, mean, rstd = torch.native_layer_norm(x, d, gain[0], bias[0], EPS)
        return y, (mean, rstd)
    y, mean, rstd = torch.native_layer_norm(x, d, None, None, EPS)
    return torch.addcmul(bias.unsqueeze(1), y, gain.unsqueeze(1)), (mean, rstd)


def backward(
    dy: Tensor, x: Tensor, statistics: Statistics, gain: Tensor, d_gain: Tensor, d_bias: Tensor
) -> Tensor:
    """d(x) [E, N, d]; the gradients of gain and bias are written into d_gain and d_bias [E, d]."""
    d = [x.shape[-1]]
    mean, rstd = statistics
    if x.shape[0] == 1:
        dx, dg, db = _BACKWARD(dy, x, d, mean, rstd, gain[0], gain[0], [True, True, True])
        d_gain.copy_(dg)
        d_bias.copy_(db)
        return dx
    normal = (x - mean).mul_(rstd)
    d_gain.copy_(normal.mul_(dy).sum(1))
    d_bias.copy_(dy.sum(1))
    dx, _, _ = _BACKWARD(dy * gain.unsqueeze(1), x, d, mean, rstd, None, None, [True, False, False])
    return dx
