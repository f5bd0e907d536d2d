"""A seed's data: the validation set and the nested training sets,
computed from their indices on the device.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

import torch
from torch import Tensor

from runners import streams
from runners.interrupt import check_interrupt
from runners.spec import Job
from runners.tasks.bijection import Digits, Shuffle
from runners.tasks.formats import Batch, Formatter
from runners.tasks.lengths import layout

TABLE_BYTES = {"cpu": 128 << 20, "cuda": 1 << 30}
"""A training set whose tokens fit is laid out once;
a larger one is computed block by block and costs no memory.
"""
FORMATTED = 1 << 22
"""Positions up to which inputs and targets too are laid out once, so that a batch is one gather."""


class LengthStream:
    """The sequences of one length for one seed: which are held out, and the order of all others.

    Validation sequences are the first V_n of a shuffle keyed by the validation stream; the training order is
    a shuffle of all sequences keyed by the data stream, with the held-out ones taken out. Both depend on
    (tokens, length, seed) and V_n only: a fixed-length job and a mixture see the same order, but for what the
    larger validation share takes out.
    """

    def __init__(self, n_tokens: int, length: int, held: int, seed: int, device: torch.device) -> None:
        self.length = length
        shuffle = Shuffle(n_tokens, length, streams.key(seed, streams.Stream.VALIDATION, length), device)
        self.held = shuffle.words(torch.arange(held, dtype=torch.int64, device=device))
        self._shuffle = Shuffle(n_tokens, length, streams.key(seed, streams.Stream.DATA, length), device)
        at = self._shuffle.index(self.held)
        at = at[at >= 0].sort().values
        self._shift = at - torch.arange(len(at), dtype=torch.int64, device=device)

    def training(self, rank: Tensor) -> list[Tensor]:
        """Words of the training sequences with these ranks, int64 [R]:
        as many held-out ones are skipped as stand before.
        """
        return self._shuffle.words(rank + torch.searchsorted(self._shift, rank, right=True))

    def write(self, words: list[Tensor], digits: Digits, out: Tensor) -> None:
        """Write the tokens of ``words`` into ``out`` [R, n]."""
        at = 0
        for word, width in zip(words, self._shuffle.split, strict=True):
            digits.write(word, width, out[:, at : at + width])
            at += width


_streams: WeakValueDictionary[tuple[int, int, int, int, torch.device], LengthStream] = WeakValueDictionary()
"""Those in use. A stream lives as long as a source that reads it: a GPU's memory of it is not reused too
soon."""


def _length_stream(n_tokens: int, length: int, held: int, seed: int, device: torch.device) -> LengthStream:
    key = (n_tokens, length, held, seed, device)
    found = _streams.get(key)
    if found is None:
        found = _streams[key] = LengthStream(*key)
        if device.type != "cpu":
            # Whoever asks next may work on another of the GPU's streams.
            torch.cuda.current_stream(device).synchronize()
    return found


class DataSource:
    """All data of one seed of a job; nothing of it depends on N, on the learning rate or on the model.

    Args:
        job: its task, format, lengths and validation size count.
        seed: of the trial.
        device: ``cpu``, ``cuda:0``, ...; the data is the same on each.
    """

    def __init__(self, job: Job, seed: int, device: str | torch.device = "cpu") -> None:
        self.job = job
        self.seed = seed
        self.device = torch.device(device)
        self.formatter = Formatter(job, self.device)
        self.dtype = self.formatter.vocabulary.dtype
        self._first = job.lengths.min_length
        self._digits = Digits(job.task.n_tokens, self.dtype, self.device)
        self._layout = layout(job, seed, [s.training for s in job.shares], self.device)
        self._tokens = torch.empty(0, job.lengths.length, dtype=self.dtype, device=self.device)
        self._streams: dict[int, LengthStream] = {}

    def _stream(self, place: int) -> LengthStream:
        if place not in self._streams:
            share = self.job.shares[place]
            self._streams[place] = _length_stream(
                self.job.task.n_tokens, share.length, share.validation, self.seed, self.device
            )
        return self._streams[place]

    def validation(self) -> Batch:
        """The validation set, [V, T], ordered by length; the same for every N."""
        x, lengths = self.validation_sequences()
        return Batch(*self.formatter(x, lengths), lengths)

    def validation_sequences(self) -> tuple[Tensor, Tensor]:
        """(tokens x [V, L] of the smallest integer type, lengths int64 [V])."""
        shares = self.job.shares
        total = sum(s.validation for s in shares)
        x = torch.zeros(total, self.job.lengths.length, dtype=self.dtype, device=self.device)
        counts = torch.tensor([s.validation for s in shares], device=self.device)
        lengths = torch.arange(self._first, self._first + len(shares), device=self.device).repeat_interleave(
            counts
        )
        at = 0
        for place, share in enumerate(shares):
            stream = self._stream(place)
            words = [w.clone() for w in stream.held]
            stream.write(words, self._digits, x[at : at + share.validation, : share.length])
            at += share.validation
        return x, lengths

    def training(self, n: int) -> TrainingSet:
        """The first ``n`` entries of the seed's stream.

        Raises:
            ValueError: n is not in 1..training_space.
        """
        if not 1 <= n <= self.job.training_space:
            raise ValueError(
                f"n is {n}; expected 1 to {self.job.training_space}, the sequences that may train"
            )
        for share in self.job.shares:
            reach = Shuffle.reach_of(self.job.task.n_tokens, share.length) - share.validation
            if share.training > reach and n > reach:
                raise ValueError(f"n is {n}; expected at most {reach} at length {share.length}")
        self._layout.extend(n)
        return TrainingSet(self, n)

    def sequences(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """(tokens x [R, L] of the smallest integer type, lengths int64 [R]) of entries of the stream,
        computed afresh.

        Args:
            index: int64 [R], below an n that :meth:`training` was asked for.
        """
        which, rank = self._layout.locate(index)
        x = torch.zeros(len(index), self.job.lengths.length, dtype=self.dtype, device=self.device)
        if len(self.job.shares) == 1:
            stream = self._stream(0)
            stream.write(stream.training(rank), self._digits, x)
            return x, which + self._first
        order = torch.argsort(which, stable=True)
        rank = rank[order]
        at = 0
        for place, count in enumerate(torch.bincount(which, minlength=len(self.job.shares)).tolist()):
            if count:
                stream = self._stream(place)
                stream.write(
                    stream.training(rank[at : at + count]), self._digits, x[at : at + count, : stream.length]
                )
                at += count
        return torch.empty_like(x).index_copy_(0, order, x), which + self._first

    def lay_out(self, n: int) -> Tensor:
        """Tokens of the first ``n`` entries, [n, L] of the smallest integer type;
        what is laid out already is kept.
        """
        done = len(self._tokens)
        if n > done:
            self._layout.extend(n)
            tokens = torch.empty(n, self.job.lengths.length, dtype=self.dtype, device=self.device)
            tokens[:done] = self._tokens
            chunk = self.chunk
            for at in range(done, n, chunk):
                check_interrupt()
                end = min(at + chunk, n)
                tokens[at:end] = self.sequences(torch.arange(at, end, dtype=torch.int64, device=self.device))[
                    0
                ]
            self._tokens = tokens  # only now: another thread may be reading a smaller set
        return self._tokens[:n]

    @property
    def chunk(self) -> int:
        """Entries computed at once: temporaries of one length stay within a core's cache."""
        if self.device.type != "cpu":
            return 1 << 20
        words = -(-self.job.lengths.length * (self.job.task.n_tokens - 1).bit_length() // 31)
        return max(64, (min(len(self.job.shares), 16) << 15) * 2 // max(2, words))

    def lengths(self, index: Tensor) -> Tensor:
        """int64 lengths of these entries."""
        return self._layout.locate(index)[0] + self._first


class TrainingSet:
    """The first ``n`` entries of a seed's stream; a batch is gathered,
    or computed where the set is too large to hold.
    """

    def __init__(self, source: DataSource, n: int) -> None:
        self.source = source
        self.n = n
        job = source.job
        size = n * job.lengths.length * source.dtype.itemsize
        drawn = job.training.steps * job.training.batch_size
        self.held = size <= TABLE_BYTES.get(source.device.type, TABLE_BYTES["cpu"]) and n <= drawn
        """The tokens are laid out in memory on first use;
        not where a whole training would not draw them all.
        """
        self._formatted: tuple[Tensor, Tensor] | None = None
        self._small = self.held and n * job.longest_input <= FORMATTED

    def sequences(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """(tokens x [.., L], lengths int64 [..]) of entries; ``index`` int64 in 0..n-1, any shape."""
        flat = index.reshape(-1)
        if self.held:
            x, lengths = self.source.lay_out(self.n).index_select(0, flat), self.source.lengths(flat)
        else:
            x, lengths = self.source.sequences(flat)
        return x.reshape(*index.shape, -1), lengths.reshape(index.shape)

    def batch(self, index: Tensor) -> Batch:
        """Inputs and targets [.., T] of entries; ``index`` int64 [..]."""
        lengths = self.source.lengths(index.reshape(-1)).reshape(index.shape)
        return Batch(*self.formatted(index, torch.int64), lengths)

    def formatted(self, index: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(inputs, targets) of entries, [.., T] of ``dtype``; ``index`` int64 [..]."""
        tokens, targets = self._gather(index.reshape(-1))
        shape = (*index.shape, self.source.formatter.positions)
        return tokens.reshape(shape).to(dtype), targets.reshape(shape).to(dtype)

    def _gather(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        formatter = self.source.formatter
        if not self._small:
            return formatter(*self.sequences(flat))
        if self._formatted is None:
            everything = torch.arange(self.n, dtype=torch.int64, device=self.source.device)
            tokens, targets = formatter(*self.sequences(everything))
            self._formatted = tokens.to(self.source.dtype), targets.to(self.source.dtype)
        return self._formatted[0].index_select(0, flat), self._formatted[1].index_select(0, flat)
