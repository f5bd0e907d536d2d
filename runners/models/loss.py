"""Cross-entropy over the supervised positions, and its gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Wanted:
    """The targets of a batch, as the losses need them;
    all have the shape of the logits without their class axis.
    """

    absent: Tensor
    """bool: nothing is supervised here."""
    index: Tensor
    """int64: the target, 0 where there is none."""

    @classmethod
    def of(cls, targets: Tensor) -> Wanted:
        return cls(targets < 0, targets.clamp_min(0))

    def weights(self, dtype: torch.dtype, member: int) -> Tensor:
        """1 / (supervised positions of the member), 0 where nothing is supervised;
        ``member`` is the members' axis.
        """
        present = ~self.absent
        others = [axis for axis in range(present.dim()) if axis != member]
        count = present.sum(others, keepdim=True).clamp_min_(1).to(dtype)
        return present / count


def log_probabilities(logits: Tensor, wanted: Wanted, dim: int, log_softmax: Tensor) -> Tensor:
    """Log-softmax over ``dim`` at the targets; 0 where nothing is supervised, whatever the logits are there.

    ``log_softmax`` is scratch of the shape of ``logits``.
    """
    torch.log_softmax(logits, dim, out=log_softmax)
    picked = log_softmax.gather(dim, wanted.index.unsqueeze(dim)).squeeze(dim)
    return picked.masked_fill_(wanted.absent, 0)


def gradient(logits: Tensor, wanted: Wanted, weights: Tensor, dim: int, out: Tensor) -> Tensor:
    """d(sum of weights * cross-entropy) / d(logits) into ``out``.

    By softmax, not by exp of the log-softmax: the CPU's exp takes ten times as long where its
    result underflows.
    """
    # A comparison and no scatter: on a GPU a scatter that adds in a fixed order sorts its indices first.
    w = weights.unsqueeze(dim)
    classes = torch.arange(logits.shape[dim], device=logits.device).view(
        -1, *[1] * (logits.dim() - 1 - dim % logits.dim())
    )
    torch.softmax(logits, dim, out=out).mul_(w)
    return out.sub_((wanted.index.unsqueeze(dim) == classes) * w)
