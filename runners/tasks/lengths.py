"""Which length each entry of a training stream has,
and which of its sequences it is (docs/science.md, Length distributions).

A stream is one order of the whole training space; the training set of size N is its first N entries,
so the sets are nested. An entry is (length, rank): the rank-th of that length's own shuffled stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from runners import streams
from runners.interrupt import check_interrupt
from runners.spec import Job


class Layout(Protocol):
    """The lengths and ranks of a stream's entries."""

    def locate(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """(place of the length in the job's range, rank), int64 of the shape of ``index``."""

    def extend(self, n: int) -> None:
        """Make entries 0..n-1 available."""


class InOrder:
    """``fixed`` and ``short_to_long``: all of the first length, then all of the second, ..."""

    def __init__(self, capacities: Sequence[int], device: torch.device) -> None:
        ends, total = [], 0
        for capacity in capacities:
            total = min(total + capacity, (1 << 63) - 1)
            ends.append(total)
        self._ends = torch.tensor(ends, dtype=torch.int64, device=device)
        self._starts = torch.tensor([0, *ends[:-1]], dtype=torch.int64, device=device)

    def extend(self, n: int) -> None:
        """Nothing to do: entries are computed from their index."""

    def locate(self, index: Tensor) -> tuple[Tensor, Tensor]:
        which = torch.searchsorted(self._ends, index, right=True)
        return which, index - self._starts[which]


class Uniform:
    """``uniform``: every entry draws its length evenly from those that still have sequences.

    A length drops out with the entry that takes its last sequence. An entry's rank is the number of earlier
    entries of its length, so the entries are laid out in turn and kept: 6 bytes each.
    """

    CHUNK = 1 << 17

    def __init__(self, capacities: Sequence[int], key: int, device: torch.device) -> None:
        self._key = key
        self._device = device
        self._capacity = torch.tensor([min(c, 1 << 62) for c in capacities], dtype=torch.int64, device=device)
        self._used = torch.zeros_like(self._capacity)
        self._active = (self._capacity > 0).nonzero().squeeze(1)
        self._which = torch.empty(0, dtype=torch.int16, device=device)
        self._rank = torch.empty(0, dtype=torch.int32, device=device)
        self._done = 0

    def locate(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self._which[index].long(), self._rank[index].long()

    def extend(self, n: int) -> None:
        if n <= self._done:
            return
        which = torch.empty(n, dtype=torch.int16, device=self._device)
        rank = torch.empty(n, dtype=torch.int32 if n < 1 << 31 else torch.int64, device=self._device)
        which[: self._done] = self._which[: self._done]
        rank[: self._done] = self._rank[: self._done]
        self._which, self._rank = which, rank
        while self._done < n:
            check_interrupt()
            self._draw(min(self.CHUNK, n - self._done))

    def _draw(self, count: int) -> None:
        """Lay out up to ``count`` entries, ending with the one that exhausts a length."""
        at = self._done
        counter = torch.arange(at, at + count, dtype=torch.int64, device=self._device)
        which = self._active[streams.below(self._key, counter, len(self._active))]
        order = torch.argsort(which, stable=True)
        ordered = which[order]
        drawn = torch.bincount(which, minlength=len(self._capacity))
        first = torch.cumsum(drawn, 0) - drawn
        rank = torch.empty_like(which)
        rank[order] = torch.arange(count, device=self._device) - first[ordered] + self._used[ordered]
        last = (rank + 1 == self._capacity[which]).nonzero()
        if len(last):
            count = int(last[0]) + 1
            which, rank = which[:count], rank[:count]
            drawn = torch.bincount(which, minlength=len(self._capacity))
        self._used += drawn
        if len(last):
            self._active = (self._used < self._capacity).nonzero().squeeze(1)
        self._which[at : at + count] = which
        self._rank[at : at + count] = rank
        self._done = at + count


def layout(job: Job, seed: int, capacities: Sequence[int], device: torch.device) -> Layout:
    """The layout of a seed's stream; ``capacities`` are the training sequences of each length."""
    if job.lengths.distribution == "uniform" and len(capacities) > 1:
        return Uniform(capacities, streams.key(seed, streams.Stream.DATA, 0), device)
    return InOrder(capacities, device)
