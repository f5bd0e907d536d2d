"""Jobs and independent readings of docs/science.md that the tests of tasks and data share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from runners import streams
from runners.spec import Automaton, DenseSSM, Distribution, Format, Job, Lengths, ModularAddition, Training
from runners.tasks import DataSource

LAMP = Automaton(name="lamp", table=((0, 1, 2), (1, 2, 0), (2, 2, 2), (0, 0, 0)), start=0)
"""Three tokens, four states, the last of them unreachable."""


def job(
    task: Any = 3,
    form: Format = "acot",
    distribution: Distribution = "uniform",
    longest: int = 6,
    shortest: int = 2,
    *,
    validation: int = 64,
    batch: int = 16,
    steps: int = 1000,
    **more: Any,
) -> Job:
    """A job on Z_m (``task`` a number) or any task."""
    return Job(
        task=ModularAddition(m=task) if isinstance(task, int) else task,
        format=form,
        lengths=Lengths(distribution=distribution, length=longest, min_length=shortest),
        model=DenseSSM(hidden=4),
        training=Training(batch_size=batch, steps=steps, validation_size=validation),
        **more,
    )


def rows(x: Tensor, lengths: Tensor) -> list[tuple[int, ...]]:
    """Every sequence as a tuple of its tokens, padding cut off."""
    return [tuple(r[:n]) for r, n in zip(x.tolist(), lengths.tolist(), strict=True)]


def training_rows(of: Job, seed: int, n: int) -> list[tuple[int, ...]]:
    """The training set of size n, in the stream's order."""
    return rows(*DataSource(of, seed).training(n).sequences(torch.arange(n)))


def validation_rows(of: Job, seed: int) -> list[tuple[int, ...]]:
    """The validation set of a seed."""
    return rows(*DataSource(of, seed).validation_sequences())


def lengths_one_by_one(of: Job, seed: int, n: int) -> list[int]:
    """The lengths of a uniform stream's first n entries, drawn one at a time."""
    left = {s.length: s.training for s in of.shares}
    key = streams.key(seed, streams.Stream.DATA, 0)
    out = []
    for i in range(n):
        open_lengths = [length for length, rest in left.items() if rest]
        pick = int(streams.below(key, torch.tensor([i]), len(open_lengths)))
        left[open_lengths[pick]] -= 1
        out.append(open_lengths[pick])
    return out
