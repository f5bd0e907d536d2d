"""What the engine may ask of a model: E members of one shape, their parameters stacked in one flat buffer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from runners.streams import Stream, key


@dataclass(frozen=True)
class DropoutKeys:
    """What a dropout mask is a function of: the member's seed and the optimiser step, nothing else."""

    keys: Tensor
    """int64 [E], from :func:`dropout_keys`."""
    step: Tensor
    """int64, 0-dim or [E]: the optimiser step. Overwrite it in place between replays of a CUDA graph."""


def dropout_keys(seeds: Sequence[int], device: str | torch.device) -> Tensor:
    """int64 [E]: the key of each seed's dropout stream."""
    return torch.tensor([key(seed, Stream.DROPOUT) for seed in seeds], dtype=torch.int64, device=device)


class StackedModel(Protocol):
    """One instance per shape. It holds no parameters, only work space: one caller at a time.

    ``params`` and ``grad`` are [E, P], contiguous in each row (a slice ``buffer[a:b]`` will do), float32, or
    float64 in tests. Row e of every result depends on row e of the inputs alone; on the CPU to the bit, for
    any E.
    """

    n_parameters: int
    """P."""
    n_inputs: int
    n_outputs: int
    max_length: int | None
    """The most input positions; None: any number."""
    uses_dropout: bool
    sequential_on_cpu: bool
    """On a CPU members run one after another, so that company gains nothing there."""

    @property
    def names(self) -> Mapping[str, tuple[slice, tuple[int, ...]]]:
        """Where each parameter lies in [P], and its shape."""
        ...

    def init(self, seed: int) -> Tensor:
        """Draw float32 [P] on the CPU, of the seed's PARAMETERS stream."""
        ...

    def step(
        self,
        params: Tensor,
        tokens: Tensor,
        targets: Tensor,
        grad: Tensor,
        dropout: DropoutKeys | None = None,
    ) -> Tensor:
        """Compute loss and gradient of one batch.

        Args:
            params: [E, P].
            tokens: [E or 1, B, T] of any integer dtype; 1: all members read the same.
            targets: the same shape; -1 where nothing is supervised.
                The supervised positions of a sequence are one run; with icot every second one of a run.
            grad: [E, P], overwritten with the gradient of each member's mean loss.
            dropout: None turns dropout off.

        Returns:
            [E], the mean cross-entropy (nats) over the member's supervised positions.
        """
        ...

    def loss_sums(self, params: Tensor, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluation without dropout: float64 [E] summed cross-entropy and float64 [E] number of
        supervised positions.
        """
        ...

    def logits(self, params: Tensor, tokens: Tensor) -> Tensor:
        """[E, B, T, n_outputs] for tokens [E or 1, B, T], all of them read as input."""
        ...

    def generate(self, params: Tensor, prompt: Tensor, count: int, feed: Tensor) -> Tensor:
        """Greedy decoding: int64 [E, B, count] states.

        Args:
            params: [E, P].
            prompt: [E or 1, B, T0], all of one length; its last position predicts the first state.
            count: how many states.
            feed: int64 [n_outputs], the input id of each state.
        """
        ...

    def release(self) -> None:
        """Free the work space. CUDA graphs captured before must not be replayed after."""
        ...
