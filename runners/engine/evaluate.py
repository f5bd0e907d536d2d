"""Evaluation: the validation loss (dropout off, float32, summed in float64), and the test at twice the
length.

The validation set is summed in fixed parts, so the sum's bits depend neither on which members are evaluated
together
nor on whether the shortcut was taken. The shortcut (docs/science.md): losses are not negative, so a first
part whose
sum already exceeds eps x (positions of the whole set) proves "not below eps", and the rest need not be
computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from runners.engine.device import is_out_of_memory
from runners.engine.types import ByPosition
from runners.interrupt import check_interrupt
from runners.models import StackedModel
from runners.spec import Job
from runners.tasks import Generalisation, Vocabulary, generalisation_batch

PART = 256
"""Sequences of a member that are evaluated at once;
the same on every device and for any number of members.
"""


def parts(size: int, first: int) -> list[tuple[int, int]]:
    """The fixed parts in which a set of ``size`` is summed, the first one apart."""
    edges = (
        [0, *range(min(first, size), size, PART), size] if first <= PART else [*range(0, size, PART), size]
    )
    return [(a, b) for a, b in pairwise(edges) if b > a]


class Validation:
    """The validation sets of several seeds, ready to be summed.

    Args:
        tokens, targets: int64 [D, V, T], one set per seed, each with as many supervised positions.
        first: sequences in the first part.
        whole: count the sequences with an error in place of the cross-entropy of positions: the mean loss is
            the share of sequences that are wrong.
    """

    whole = False

    def __init__(self, tokens: Tensor, targets: Tensor, first: int, *, whole: bool = False) -> None:
        self.tokens, self.targets, self.whole = tokens, targets, whole
        self.parts = parts(tokens.shape[1], first)
        supervised = torch.ones(tokens.shape[1]) if whole else (targets[0] >= 0).sum(1).cpu()
        self.positions = int(supervised.sum())
        """Supervised positions of a whole set."""
        a, b = self.parts[0]
        self.first_positions = int(supervised[a:b].sum())

    def sums(self, model: StackedModel, params: Tensor, sets: Tensor, part: int) -> Tensor:
        """float64 [E]: summed loss of one part; ``sets`` int64 [E] says which set each row is
        evaluated on.
        """
        a, b = self.parts[part]
        tokens, targets = self.tokens[:, a:b], self.targets[:, a:b]
        if len(self.tokens) > 1:
            tokens, targets = tokens.index_select(0, sets), targets.index_select(0, sets)
        if self.whole:
            return wrong_sequences(model, params, tokens, targets)
        return model.loss_sums(params, tokens, targets)[0]

    def full(self, model: StackedModel, params: Tensor, sets: Tensor) -> Tensor:
        """float64 [E]: mean loss over the whole set, without a look at the values (for a CUDA graph)."""
        total = torch.zeros(len(params), dtype=torch.float64, device=params.device)
        for part in range(len(self.parts)):
            total += self.sums(model, params, sets, part)
        return total / self.positions

    def losses(
        self,
        model: StackedModel,
        params: Tensor,
        sets: Tensor,
        *,
        eps: Sequence[float],
        wanted: Sequence[bool],
        best: Sequence[float],
    ) -> tuple[list[float], list[bool]]:
        """Mean loss of each row and whether it is exact.

        A row's whole set is evaluated where that is ``wanted``, where the first part has not decided, or
        where it is below half the ``best`` exact loss so far (so that a trial's best loss is told within
        about a factor of two at any time).
        """
        total = self.sums(model, params, sets, 0)
        if len(self.parts) == 1:
            return (total / self.positions).tolist(), [True] * len(params)
        first = total.tolist()
        out = [value / self.first_positions for value in first]
        exact = [not math.isfinite(value) for value in first]
        rest = [
            e
            for e, value in enumerate(first)
            if not exact[e] and (wanted[e] or not value > eps[e] * self.positions or out[e] < 0.5 * best[e])
        ]
        if not rest:
            return out, exact
        rows = torch.tensor(rest, device=params.device)
        whole = len(rest) == len(params)
        params, sets = (params, sets) if whole else (params.index_select(0, rows), sets.index_select(0, rows))
        total = total if whole else total.index_select(0, rows)
        for part in range(1, len(self.parts)):
            total = total + self.sums(model, params, sets, part)
        for e, value in zip(rest, (total / self.positions).tolist(), strict=True):
            out[e], exact[e] = value, True
        return out, exact


def wrong_sequences(model: StackedModel, params: Tensor, tokens: Tensor, targets: Tensor) -> Tensor:
    """float64 [E]: sequences of which not every supervised position is the most likely one. With cot that is
    the same as decoding: the first error of either is the first error of both."""
    logits = model.logits(params, tokens)
    right = (logits.argmax(-1) == targets) & torch.isfinite(logits).all(-1)
    return (~(right | (targets < 0)).all(-1)).sum(-1).to(torch.float64)


TESTED_AT_ONCE = 250
"""Sequences that are run at once."""


def rescaled_accuracy(job: Job, model: StackedModel, params: Tensor, seed: int) -> float:
    """Accuracy of the state after 2L tokens, on 2,000 random sequences, with chance at 0 and perfection at 1.

    Args:
        params: [P], one trial's; its own seed draws the sequences.
            With cot the 2L states are generated greedily.
    """
    test = generalisation_batch(job, seed, params.device)
    return test.rescaled(float(_right(job, model, params, test)[-1]) / len(test.final))


def accuracy_by_position(job: Job, model: StackedModel, params: Tensor, seed: int) -> ByPosition:
    """The same at each position of the further lengths that the job names.

    Only the longest is run where what is told at a position rests on what was read up to there: then its
    positions are those of every shorter length too. With cot each length is run.
    """
    lengths = sorted(set(job.generalisation_lengths))
    out = []
    for length in lengths if job.format == "cot" else lengths[-1:]:
        test = generalisation_batch(job, seed, params.device, length=length)
        right = _right(job, model, params, test).tolist()
        out.append((length, tuple(test.rescaled(x / len(test.final)) for x in right)))
    return tuple(out)


def _right(job: Job, model: StackedModel, params: Tensor, test: Generalisation) -> Tensor:
    """int64 [n]: how many sequences have the right state at each position."""
    rows = params.unsqueeze(0)
    right = torch.zeros(test.length, dtype=torch.int64)
    at, part = 0, TESTED_AT_ONCE
    while at < len(test.final):
        tokens, states = test.tokens[at : at + part], test.states[at : at + part]
        try:
            right += (_decoded(job, model, rows, tokens, test.length) == states).sum(0).cpu()
        except (MemoryError, RuntimeError) as error:
            if part == 1 or not is_out_of_memory(error, str(params.device)):
                raise
            part = max(1, part // 4)
            continue
        at += len(states)
    return right


def _decoded(job: Job, model: StackedModel, params: Tensor, tokens: Tensor, length: int) -> Tensor:
    """int64 [B, n]: the state at each position, as the model has it."""
    vocabulary = Vocabulary.of(job)
    feed = vocabulary.feed.to(tokens.device)
    if job.format == "cot":
        found = model.generate(params, tokens.unsqueeze(0), length, feed)[0]
    elif job.format == "icot":
        found = _in_turn(model, params, tokens, feed)
    else:
        found = model.logits(params, tokens.unsqueeze(0))[0].argmax(-1)
    return found - vocabulary.label_offset


def _in_turn(model: StackedModel, params: Tensor, x: Tensor, feed: Tensor) -> Tensor:
    """int64 [B, n]: the classes of greedy decoding where each token of x [B, n] is followed by what was
    decoded."""
    read, made = x[:, :1], []
    for i in range(x.shape[1]):
        check_interrupt()
        made.append(model.logits(params, read.unsqueeze(0))[0, :, -1].argmax(-1))
        if i + 1 < x.shape[1]:
            read = torch.cat([read, feed[made[-1]].unsqueeze(1), x[:, i + 1 : i + 2]], 1)
    return torch.stack(made, 1)
