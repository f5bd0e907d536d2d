"""Dropout masks as a function of (seed, step, site, place in the member's batch):
the same in any packing, chunk or resume.
"""

from __future__ import annotations

import torch
from torch import Tensor

from runners.models.contract import DropoutKeys
from runners.streams import bits

LEVELS = 1 << 16
"""One 64-bit draw decides four entries with 16 bits each, so the probability is a multiple of 2^-16."""


class Dropout:
    """Masks of one training step; ``site`` counts the places in the network."""

    def __init__(self, probability: float, keys: DropoutKeys) -> None:
        self._dropped = round(probability * LEVELS)
        self._keys = bits(keys.keys, keys.step)

    def mask(self, site: int, *shape: int, dtype: torch.dtype) -> Tensor:
        """[E, *shape]: 0 where dropped, else 1 / (the probability to be kept, as it is after rounding)."""
        key = bits(self._keys, torch.full_like(self._keys, site)).unsqueeze(1)
        count = 1
        for size in shape:
            count *= size
        counter = torch.arange((count + 3) // 4, dtype=torch.int64, device=key.device)
        draws = bits(key, counter).view(torch.int16)[:, :count]
        kept = (draws >= self._dropped - LEVELS // 2).to(dtype)
        return kept.mul_(LEVELS / (LEVELS - self._dropped)).view(-1, *shape)
