"""Keyed bijections: shuffles of any size whose entry i is computed from i alone, forwards and backwards.

A data set sampled without replacement is the first entries of a random order of all K^n sequences. K^n is
beyond any memory, so the order is a keyed bijection: a true shuffle (sorted random keys) where the space is
small, a Feistel network (Luby, Rackoff 1988) over mixed-radix words where it is not. Distinct indices give
distinct sequences because the map is invertible, not because collisions are unlikely. All arithmetic is exact
on integers, so CPU and CUDA give the same order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from runners import streams

EXACT = 1 << 16
"""Spaces up to this size are shuffled by sorting random keys."""
WORD = 1 << 31
"""Words stay at or below this, where streams.below is unbiased to 2^-22."""
PAIR_ROUNDS = 8
"""Rounds of a two-word network; 4 suffice in theory (Luby, Rackoff), and small halves want more."""

# A longer network starts from (index, 0, 0, ...). Its first pass makes every word but the first two a random
# function of the index; in the second each word is hidden by a random function of all others, which no two
# indices share, but for chance repeats of all other words: with three words of 20 bits such repeats happen,
# so there a third pass follows.
PASSES = {3: 3}
LONG_PASSES = 2

Key = int | Tensor


def _add(word: Tensor, step: Tensor, bound: int | Tensor) -> Tensor:
    total: Tensor = step.add_(word)
    return total.sub_((total >= bound) * bound)


def _subtract(word: Tensor, step: Tensor, bound: int | Tensor) -> Tensor:
    rest = torch.sub(word, step, out=step)
    return rest.add_((rest < 0) * bound)


def feistel(left: Tensor, right: Tensor, a: int, b: int, keys: Sequence[Key]) -> tuple[Tensor, Tensor]:
    """Permute the pairs Z_a x Z_b; keys are used in turn, the first changes ``left``."""
    for r in range(0, len(keys), 2):
        left = _add(left, streams.below(keys[r], right, a), a)
        right = _add(right, streams.below(keys[r + 1], left, b), b)
    return left, right


def unfeistel(left: Tensor, right: Tensor, a: int, b: int, keys: Sequence[Key]) -> tuple[Tensor, Tensor]:
    """The inverse of :func:`feistel`."""
    for r in range(len(keys) - 2, -2, -2):
        right = _subtract(right, streams.below(keys[r + 1], left, b), b)
        left = _subtract(left, streams.below(keys[r], right, a), a)
    return left, right


class Shuffle:
    """A keyed order of all sequences of ``digits`` digits in base ``base``: index <-> words of digits.

    A sequence is held as one or more words, int64 each below base ** (its number of digits):
    see :attr:`split`.
    """

    def __init__(self, base: int, digits: int, key: int, device: torch.device) -> None:
        self.total: int = base**digits
        self.split = _split(base, digits)
        """Digits of each word, the first word first."""
        self.bounds: list[int] = [base**d for d in self.split]
        self.reach = self.reach_of(base, digits)
        """Indices below this may be asked for: all, or the first 2^38 at least of a space beyond 2^62."""
        words = len(self.split)
        self._hash = [streams.key(key, 0, i) for i in range(words)]
        rounds = PAIR_ROUNDS if words == 2 else PASSES.get(words, LONG_PASSES) * words
        self._rounds = [streams.key(key, 1, r) for r in range(rounds)]
        self._order: Tensor | None = None
        if words == 1:
            counter = torch.arange(self.total, dtype=torch.int64, device=device)
            self._order = torch.argsort(streams.bits(key, counter), stable=True).to(torch.int32)

    @staticmethod
    def reach_of(base: int, digits: int) -> int:
        """:attr:`reach` of a shuffle, without making it."""
        reach: int = base ** sum(_split(base, digits)[:2])
        return reach

    def words(self, index: Tensor) -> list[Tensor]:
        """The sequences at these places of the order; ``index`` int64 in 0..reach-1, any shape."""
        if self._order is not None:
            return [self._order[index].long()]
        high = torch.div(index, self.bounds[0], rounding_mode="floor")
        words = [index - high * self.bounds[0], high]
        if len(self.split) == 2:
            return list(feistel(words[0], words[1], self.bounds[0], self.bounds[1], self._rounds))
        words += [torch.zeros_like(index) for _ in self.split[2:]]
        hashes, total = self._hashes(words)
        for r, key in enumerate(self._rounds):
            i = r % len(words)
            total -= hashes[i]
            words[i] = _add(words[i], streams.below(key, total, self.bounds[i]), self.bounds[i])
            hashes[i] = streams.bits(self._hash[i], words[i])
            total += hashes[i]
        return words

    def index(self, words: Sequence[Tensor]) -> Tensor:
        """Where these sequences stand in the order; -1 where that is beyond :attr:`reach`."""
        if self._order is not None:
            place: Tensor = torch.argsort(self._order)[words[0]]
            return place
        if len(self.split) == 2:
            left, right = unfeistel(words[0], words[1], self.bounds[0], self.bounds[1], self._rounds)
            return left + right * self.bounds[0]
        words = list(words)
        hashes, total = self._hashes(words)
        for r in range(len(self._rounds) - 1, -1, -1):
            i = r % len(words)
            total -= hashes[i]
            words[i] = _subtract(
                words[i], streams.below(self._rounds[r], total, self.bounds[i]), self.bounds[i]
            )
            hashes[i] = streams.bits(self._hash[i], words[i])
            total += hashes[i]
        index: Tensor = words[0] + words[1] * self.bounds[0]
        for word in words[2:]:
            index = torch.where(word == 0, index, -1)
        return index

    def _hashes(self, words: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        hashes = [streams.bits(key, word) for key, word in zip(self._hash, words, strict=True)]
        total = hashes[0].clone()
        for h in hashes[1:]:
            total += h
        return hashes, total


def _split(base: int, digits: int) -> list[int]:
    """Digits per word: one word for a small space, else the fewest (two at least) that stay within WORD,
    evenly filled.
    """
    if base**digits <= EXACT:
        return [digits]
    longest = 1
    while base ** (longest + 1) <= WORD:
        longest += 1
    words = max(2, -(-digits // longest))
    each, more = divmod(digits, words)
    return [each + (i < more) for i in range(words)]


class Digits:
    """Writes words as digits, several at a time through a table."""

    LIMB = 1 << 16

    def __init__(self, base: int, dtype: torch.dtype, device: torch.device) -> None:
        self.base = base
        self.step = 1
        while base ** (self.step + 1) <= self.LIMB:
            self.step += 1
        value = torch.arange(base**self.step, dtype=torch.int64, device=device)
        columns = []
        for _ in range(self.step):
            columns.append(value % base)
            value = torch.div(value, base, rounding_mode="floor")
        self._table = torch.stack(columns, 1).to(dtype)

    def write(self, word: Tensor, digits: int, out: Tensor) -> None:
        """Digits of ``word`` [R], the least significant first, into ``out`` [R, digits];
        ``word`` may be overwritten.
        """
        at = 0
        while at < digits:
            width = min(self.step, digits - at)
            if at + width < digits:
                high = torch.div(word, self.base**width, rounding_mode="floor")
                limb = word.sub_(high * self.base**width)
                word = high
            else:
                limb = word
            out[:, at : at + width] = self._table.index_select(0, limb)[:, :width]
            at += width
