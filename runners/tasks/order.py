"""The order of training: epoch permutations laid end to end,
computed from the place (docs/science.md, Length distributions).
"""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor

from runners import streams
from runners.tasks.bijection import PAIR_ROUNDS, feistel

EXACT_EPOCH = 1 << 12
"""Epochs up to this size are shuffled by sorting random keys, larger ones by a keyed bijection."""


class BatchOrder:
    """Batch t is entries [B t, B (t+1)) of the epochs' permutations laid end to end, B = min(batch, n).

    Nothing is kept: a batch is a function of (seed, n, batch, step),
    so any step can be asked for at any time.
    """

    def __init__(self, seed: int, n: int, batch: int, device: str | torch.device = "cpu") -> None:
        self.n = n
        self.size = min(batch, n)
        self.device = torch.device(device)
        self._key = streams.key(seed, streams.Stream.BATCHES)
        # a * b is just above n, so that the bijection on pairs hardly ever leaves 0..n-1 and has to
        # be walked on
        self._a = isqrt(n - 1) + 1
        self._b = -(-n // self._a)

    def indices(self, step: int) -> Tensor:
        """int64 [B]: which entries of the training set batch ``step`` (from 0) is made of."""
        return self.block(step, 1)[0]

    def block(self, step: int, count: int) -> Tensor:
        """int64 [count, B]: the batches ``step`` .. ``step + count - 1``."""
        begin, end = step * self.size, (step + count) * self.size
        place = torch.arange(begin, end, dtype=torch.int64, device=self.device)
        entries = self._sorted(begin, end) if self.n <= EXACT_EPOCH else self._computed(place)
        return entries.reshape(count, self.size)

    def _sorted(self, begin: int, end: int) -> Tensor:
        first, last = begin // self.n, (end - 1) // self.n
        epochs = torch.arange(first, last + 1, dtype=torch.int64, device=self.device)
        entry = torch.arange(self.n, dtype=torch.int64, device=self.device)
        ranks = streams.bits(streams.bits(self._key, epochs)[:, None], entry)
        return torch.argsort(ranks, dim=1, stable=True).reshape(-1)[
            begin - first * self.n : end - first * self.n
        ]

    def _computed(self, place: Tensor) -> Tensor:
        epoch = torch.div(place, self.n, rounding_mode="floor")
        entry = self._permute(place - epoch * self.n, epoch)
        while True:  # walk on along the cycle until it is back in 0..n-1 (Black, Rogaway 2002)
            outside = (entry >= self.n).nonzero().squeeze(1)
            if not len(outside):
                return entry
            entry[outside] = self._permute(entry[outside], epoch[outside])

    def _permute(self, entry: Tensor, epoch: Tensor) -> Tensor:
        epochs, which = torch.unique(epoch, return_inverse=True)  # few: their keys are made once and gathered
        rounds = torch.arange(PAIR_ROUNDS, dtype=torch.int64, device=self.device)[:, None]
        keys = streams.bits(streams.bits(self._key, epochs), rounds)[:, which].unbind(0)
        high = torch.div(entry, self._a, rounding_mode="floor")
        left, right = feistel(entry - high * self._a, high, self._a, self._b, keys)
        return right * self._a + left
