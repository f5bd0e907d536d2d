"""Training and validation data of the members, kept between probes."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from runners.engine.device import is_gpu, total_bytes
from runners.interrupt import check_interrupt
from runners.spec import Job
from runners.tasks import Batch, DataSource, TrainingSet

CACHE_BYTES = {"cpu": 1 << 30, "cuda": 24 << 30}
CARD_SHARE = 0.2
"""Of a card's memory at most so much is kept for data, however large it is."""
WAIT_S = 0.1
SETS_KEPT = 4
"""Training sets of different N that a seed keeps; they share the tokens of the largest."""


@dataclass
class Entry:
    """The data of one seed."""

    source: DataSource
    validation: Batch
    largest: int = 0
    sets: OrderedDict[int, TrainingSet] = field(default_factory=OrderedDict)

    @property
    def nbytes(self) -> int:
        """About what it holds: tokens (1-2 bytes), places in the stream (6)
        and the validation set's int64 ids and labels.
        """
        length = self.source.job.lengths.length
        return self.largest * (6 + 2 * length) + 16 * self.validation.tokens.numel()


class DataCache:
    """Data sets of recent seeds. They are nested, so a larger one serves every smaller N.

    Thread-safe: a hint may prepare the next probe's data while the current one trains.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._building: dict[tuple[str, int, str], threading.Lock] = {}
        self._entries: OrderedDict[tuple[str, int, str], Entry] = OrderedDict()

    def validation(self, job: Job, seed: int, device: str) -> Batch:
        """The validation set of a seed, [V, T], ordered by length."""
        return self._get(job, seed, None, device).validation

    def training(self, job: Job, seed: int, n: int, device: str) -> TrainingSet:
        """The training set of N = ``n`` sequences of a seed, laid out and ready."""
        return self._get(job, seed, n, device).sets[n]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._building.clear()

    def forget(self, device: str) -> int:
        """Forget what lies on a device; about how many bytes that was."""
        with self._lock:
            gone = [self._entries.pop(key) for key in tuple(self._entries) if key[2] == device]
        return sum(entry.nbytes for entry in gone)

    def _get(self, job: Job, seed: int, n: int | None, device: str) -> Entry:
        key = (_data_key(job), seed, device)
        with self._lock:
            if n is None and key in self._entries:
                return self._entries[key]
            building = self._building.setdefault(key, threading.Lock())
        # Whoever makes it (a hint does so in another thread) may take long.
        while not building.acquire(timeout=WAIT_S):
            check_interrupt()
        try:
            with self._lock:
                entry = self._entries.get(key)
            # On a GPU a set that is being read must not be laid out anew from another thread:
            # two streams would race.
            if entry is None or (n is not None and entry.largest < n and is_gpu(device)):
                source = DataSource(job, seed, device)
                entry = Entry(source, source.validation())
            if n is not None:
                self._add(entry, n)
            with self._lock:
                self._entries[key] = entry
                self._entries.move_to_end(key)
                self._trim(device)
        finally:
            building.release()
        return entry

    def _add(self, entry: Entry, n: int) -> None:
        if n not in entry.sets:
            made = entry.source.training(n)
            made.batch(torch.zeros(1, dtype=torch.int64, device=entry.source.device))
            if is_gpu(entry.source.device):
                torch.cuda.current_stream(entry.source.device).synchronize()
            entry.sets[n] = made
            entry.largest = max(entry.largest, n)
        entry.sets.move_to_end(n)
        while len(entry.sets) > SETS_KEPT:
            entry.sets.popitem(last=False)

    def _trim(self, device: str) -> None:
        limit = CACHE_BYTES["cpu"]
        if is_gpu(device):
            limit = min(CACHE_BYTES["cuda"], int(CARD_SHARE * total_bytes(device)))
        here = [key for key in self._entries if key[2] == device]
        total = sum(self._entries[key].nbytes for key in here)
        for key in here[:-1]:
            if total <= limit:
                return
            total -= self._entries.pop(key).nbytes


CACHE = DataCache()
"""The worker's data, shared by all its probes."""


def prepare(job: Job, n: int, seeds: Iterable[int], device: str) -> None:
    """Have the data of a probe ready before it begins. Safe in another thread."""
    for seed in seeds:
        CACHE.training(job, seed, n, device)


def validation_stack(job: Job, seeds: Sequence[int], device: str) -> tuple[Tensor, Tensor]:
    """The validation sets of these seeds in one fixed mixed order: tokens and targets, int64 [D, V, T].

    A data source orders a set by length; here its sequences are spread evenly, so that any first part of it
    is a fair sample of all lengths. The order depends on V alone: the bits of a sum do not depend on the
    seed's company.
    """
    batches = [CACHE.validation(job, seed, device) for seed in seeds]
    order = _spread(len(batches[0].tokens)).to(device)
    tokens = torch.stack([b.tokens.index_select(0, order) for b in batches]).to(torch.int64)
    return tokens, torch.stack([b.targets.index_select(0, order) for b in batches]).to(torch.int64)


def _spread(size: int) -> Tensor:
    """0..size-1 ordered by the golden-ratio sequence: every prefix covers the range evenly."""
    return torch.argsort((torch.arange(size, dtype=torch.float64) * 0.6180339887498949) % 1.0)


def _data_key(job: Job) -> str:
    parts = job.model_dump_json(
        include={"task": True, "format": True, "lengths": True, "training": {"validation_size"}}
    )
    return hashlib.sha256(parts.encode()).hexdigest()[:32]
