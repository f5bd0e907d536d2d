"""Cross-entropy over the supervised positions, and its gradient."""

from __future__ import annotations

import torch
from torch import Tensor


def position_weights(targets: Tensor, dtype: torch.dtype) -> Tensor:
    """[E, ...] of 1 / (supervised positions of the member), 0 where the target is -1."""
    valid = targets >= 0
    count = valid.flatten(1).sum(1).clamp_min_(1).to(dtype)
    return valid.to(dtype) / count.view(-1, *[1] * (targets.dim() - 1))


def log_probabilities(logits: Tensor, targets: Tensor, dim: int, log_softmax: Tensor) -> Tensor:
    """Log-softmax over ``dim`` at the targets; 0 where the target is -1, whatever the logits are there.

    ``log_softmax`` is scratch of the shape of ``logits``.
    """
    torch.log_softmax(logits, dim, out=log_softmax)
    index = targets.clamp_min(0).unsqueeze(dim)
    return log_softmax.gather(dim, index).squeeze(dim).masked_fill_(targets < 0, 0)


def gradient(logits: Tensor, targets: Tensor, weights: Tensor, dim: int, out: Tensor) -> Tensor:
    """d(sum of weights * cross-entropy) / d(logits) into ``out``.

    By softmax, not by exp of the log-softmax: the CPU's exp takes ten times as long where its result underflows.
    """
    w = weights.unsqueeze(dim)
    torch.softmax(logits, dim, out=out).mul_(w)
    return out.scatter_add_(dim, targets.clamp_min(0).unsqueeze(dim), -w)
