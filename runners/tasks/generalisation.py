"""The test at twice the length (docs/science.md, Length generalisation)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from runners import streams
from runners.spec import Job
from runners.tasks.formats import Formatter, Vocabulary
from runners.tasks.tables import TransitionTable

SEQUENCES = 2_000
_PART = 1 << 20
"""Part of the validation stream; lengths, far smaller, name the others."""


class Generalisation(NamedTuple):
    """Random sequences of twice the length, and the state that each ends in."""

    tokens: Tensor
    """int64 [count, 2L]; for cot the prompt [count, 2L + 1], which ends in the separator."""
    final: Tensor
    """int64 [count], s_2L."""
    states: Tensor
    """int64 [count, 2L], s_1..s_2L."""
    length: int
    """2L."""
    chance: float
    """Accuracy of a guess: 1 / number of labels that can be reached."""

    def rescaled(self, accuracy: float) -> float:
        """Accuracy with chance at 0 and perfection at 1."""
        return (accuracy - self.chance) / (1.0 - self.chance) if self.chance < 1.0 else accuracy


def generalisation_batch(
    job: Job,
    seed: int,
    device: str | torch.device = "cpu",
    count: int = SEQUENCES,
    length: int | None = None,
) -> Generalisation:
    """``count`` sequences of ``length`` (None: 2L), every token uniform and independent, from the seed's
    validation stream.
    """
    where = torch.device(device)
    length = length or 2 * job.lengths.length
    counter = torch.arange(count * length, dtype=torch.int64, device=where).reshape(count, length)
    x = streams.below(streams.key(seed, streams.Stream.VALIDATION, _PART), counter, job.task.n_tokens)
    states = Formatter(job, where).states(x)
    separator = Vocabulary.of(job).separator
    tokens = x if separator is None else torch.nn.functional.pad(x, (0, 1), value=separator)
    chance = 1.0 / TransitionTable.of(job.task).reachable_labels
    return Generalisation(tokens, states[:, -1], states, length, chance)
