"""Cross-entropy over the supervised positions, and its gradient."""

from __future__ import annotations

import torch
from torch import Tensor


def position_weights(targets: Tensor, dtype: torch.dtype) -> Tensor:
    """[E, ...] of 1 / (supervised positions of the member), 0 where the target is -1."""
    valid = targets >= 0
    count = valid.flatten(1).sum(1).clamp_min_(1).to(dtype)
    return valid.to(dtype) / count.view(-1, *[1] * (targets.dim() - 1))


def picked_log_probabilities(logits: Tensor, targets: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """(log-softmax over ``dim``, its entries at the targets, the index used).

    Where the target is -1 the entry is 0, whatever the logits are there.
    """
    index = targets.clamp_min(0).unsqueeze(dim)
    logp = torch.log_softmax(logits, dim)
    picked = logp.gather(dim, index).squeeze(dim).masked_fill_(targets < 0, 0)
    return logp, picked, index


def backward_(logp: Tensor, index: Tensor, weights: Tensor, dim: int) -> Tensor:
    """d(sum of weights * cross-entropy) / d(logits), in the place of ``logp``."""
    w = weights.unsqueeze(dim)
    return logp.exp_().mul_(w).scatter_add_(dim, index, -w)
