"""Sequences drawn anew at each evaluation (docs/science.md): random, and no part of any set."""

from __future__ import annotations

import torch
from torch import Tensor

from runners import streams
from runners.spec import Job
from runners.tasks.formats import Formatter

_PART = 1 << 21
"""Part of the validation stream; lengths and the test at twice the length have others."""


class FreshSequences:
    """Every length of the job equally likely, every token uniform and independent: a function of (seed,
    optimiser step) alone.
    """

    def __init__(self, job: Job, device: str | torch.device) -> None:
        assert job.search.fresh is not None
        self.count = job.search.fresh
        self._lengths = job.lengths.range
        self._tokens = job.task.n_tokens
        self._device = torch.device(device)
        self._formatter = Formatter(job, self._device)

    def draw(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Draw (tokens, targets), both int64 [count, T]."""
        longest = self._lengths[-1]
        key = streams.key(seed, streams.Stream.VALIDATION, _PART)
        size = self.count * (longest + 1)
        counter = torch.arange(step * size, (step + 1) * size, dtype=torch.int64, device=self._device)
        counter = counter.view(self.count, longest + 1)
        lengths = self._lengths[0] + streams.below(key, counter[:, 0], len(self._lengths))
        x = streams.below(key, counter[:, 1:], self._tokens)
        x = x * (torch.arange(longest, device=self._device) < lengths[:, None])
        return self._formatter(x, lengths)
