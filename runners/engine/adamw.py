"""Adam with what published protocols add: decoupled weight decay, clipping of the gradient, a schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import cos, pi

import torch
from torch import Tensor

from runners.engine.adam import Adam, update
from runners.spec import Training

TABLES = ("embedding", "wte", "wpe")
"""How models call their tables of tokens and positions."""
FINEST = 1 << 20
"""Values of the learning rate over a training at most; more steps share them."""


def optimiser(
    training: Training,
    params: Tensor,
    rates: Sequence[float],
    mean: Tensor | None = None,
    square: Tensor | None = None,
    *,
    names: Mapping[str, tuple[slice, tuple[int, ...]]],
) -> Adam | AdamW:
    """What a training asks for; plain Adam where it asks for nothing more.

    Args:
        names: where each parameter of the model lies in a row.
    """
    plain = Adam(params, rates, mean, square)
    if training.plain_adam:
        return plain
    spared = [] if training.decay_embeddings else [at for name, (at, _) in names.items() if name in TABLES]
    return AdamW(training, plain, rates, spared)


def rate_share(training: Training, step: float) -> float:
    """The share of its learning rate that a trial has at a step (from 1)."""
    warm = training.warmup * training.steps
    if step < warm:
        return step / warm
    if training.schedule == "constant":
        return 1.0
    done = (step - warm) / max(1.0, training.steps - warm)
    return training.final_rate + (1 - training.final_rate) * (1 + cos(pi * done)) / 2


class AdamW:
    """Decoupled weight decay (Loshchilov, Hutter 2019), the gradient's norm clipped for each member by
    itself, and a learning rate that follows a schedule. A row never sees another row.

    Args:
        adam: holds parameters, gradient and moments.
        rates: one learning rate per row.
        spared: parts of a row that do not decay.
    """

    def __init__(
        self, training: Training, adam: Adam, rates: Sequence[float], spared: Sequence[slice] = ()
    ) -> None:
        self._adam = adam
        self.params, self.grad, self.mean, self.square = adam.params, adam.grad, adam.mean, adam.square
        self.steps = adam.steps
        self._clip, self._decay = training.clip, training.weight_decay
        self._budget, self._places = training.steps, min(training.steps, FINEST)
        device = self.params.device
        self._decaying: Tensor | None = None
        if spared:
            self._decaying = torch.ones(self.params.shape[1], device=device)
            for part in spared:
                self._decaying[part] = 0.0
        self._rates = torch.tensor(list(rates), dtype=torch.float32, device=device)
        self._now = self._rates.clone()
        self._table: Tensor | None = None
        if training.schedule != "constant" or training.warmup > 0:
            # A table, not a formula: a CPU's vectors and what is left beside them round a cosine differently.
            shares = [rate_share(training, i * self._budget / self._places) for i in range(self._places + 1)]
            self._table = torch.tensor(shares, dtype=torch.float32, device=device)
        self._rows = list(
            zip(
                *(t.unbind(0) for t in (self.params, self.grad, self.mean, self.square, self.steps)),
                self._now.unbind(0),
                strict=True,
            )
        )

    def step(self) -> None:
        """Update every row once from ``grad`` [E, P], which is clipped in place."""
        if self._clip is not None:
            self._shorten(self._clip)
        if self._table is not None:
            place = torch.div((self.steps + 1).long() * self._places, self._budget, rounding_mode="floor")
            torch.mul(self._rates, self._table.index_select(0, place), out=self._now)
        if self._decay:
            share = (self._now * self._decay).unsqueeze(1)
            self.params.mul_(1 - (share if self._decaying is None else share * self._decaying))
        if self._table is None:
            self._adam.step()
            return
        self.steps.add_(1)
        for params, grad, mean, square, steps, rate in self._rows:
            update([params], [grad], [mean], [square], [steps], rate)

    def _shorten(self, most: float) -> None:
        if self.grad.device.type == "cpu":  # one by one: the order of a sum must not depend on company
            norms = torch.stack([torch.linalg.vector_norm(row) for row in self.grad.unbind(0)])
        else:
            norms = torch.linalg.vector_norm(self.grad, dim=1)
        self.grad.mul_((most / (norms + 1e-6)).clamp_(max=1.0).unsqueeze(1))
