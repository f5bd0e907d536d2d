"""The test at twice the training length (docs/science.md, Length generalisation)."""

from __future__ import annotations

import torch
from torch import Tensor

from runners.engine.memory import is_out_of_memory
from runners.models import StackedModel
from runners.spec import Job
from runners.tasks import Vocabulary, generalisation_batch

PART = 250
"""Sequences that are run at once."""


def rescaled_accuracy(job: Job, model: StackedModel, params: Tensor, seed: int) -> float:
    """Accuracy of the state after 2L tokens, on 2,000 random sequences, with chance at 0 and perfection at 1.

    Args:
        params: [P], one trial's; its own seed draws the sequences.
            With cot the 2L states are generated greedily.
    """
    test = generalisation_batch(job, seed, params.device)
    rows = params.unsqueeze(0)
    right = at = 0
    part = PART
    while at < len(test.final):
        tokens, final = test.tokens[at : at + part], test.final[at : at + part]
        try:
            right += int((_final(job, model, rows, tokens, test.length) == final).sum())
        except (MemoryError, RuntimeError) as error:
            if part == 1 or not is_out_of_memory(error, str(params.device)):
                raise
            part = max(1, part // 4)
            continue
        at += len(final)
    return test.rescaled(right / len(test.final))


def _final(job: Job, model: StackedModel, params: Tensor, tokens: Tensor, length: int) -> Tensor:
    if job.format != "cot":
        return model.logits(params, tokens.unsqueeze(0))[0, :, -1].argmax(-1)
    vocabulary = Vocabulary.of(job)
    ids = torch.arange(vocabulary.n_outputs, device=tokens.device) + vocabulary.state_offset
    return model.generate(params, tokens.unsqueeze(0), length, ids)[0, :, -1]
