"""Any ``torch.nn.Module`` as a stacked model: the short way for a plugin.

Members run one after another, by autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, pad

from runners.models.batch import slices
from runners.models.contract import DropoutKeys
from runners.models.layout import aligned
from runners.models.matmul import flush_denormals
from runners.models.shape import Shape
from runners.spec import SpecError
from runners.streams import Stream, key

EVALUATED_AT_ONCE = 256
"""Sequences of one slice of an evaluation."""


class ModuleModel:
    """A module that maps tokens int64 [B, T] to logits [B, T, n_outputs] and is causal:
    padding stands on the right.

    Args:
        make: a fresh module. It is called with torch's generator seeded from the trial's PARAMETERS stream,
            so that its own initialisation is reproducible.
        shape: the task's side of the shape.
        device: where it runs.

    Raises:
        SpecError: the module has buffers or dropout: a trial must be a function of its parameters
        and its seed.
    """

    def __init__(self, make: Callable[[], nn.Module], shape: Shape, device: torch.device) -> None:
        self._make = make
        self._device = device
        self._module = self._fresh(0).to(device)
        for module in self._module.modules():
            p = getattr(module, "p", getattr(module, "dropout", 0.0))
            if isinstance(p, int | float) and p > 0:
                raise SpecError(
                    f"the module has dropout {p} in {type(module).__name__}; "
                    "expected a module without dropout"
                )
        if any(True for _ in self._module.buffers()):
            raise SpecError("the module has buffers; expected a module whose parameters are all its state")
        self.names: dict[str, tuple[slice, tuple[int, ...]]] = {}
        start = 0
        for name, parameter in self._module.named_parameters():
            self.names[name] = (slice(start, start + parameter.numel()), tuple(parameter.shape))
            start += parameter.numel()
        self.n_parameters = aligned(start)
        self.n_inputs, self.n_outputs = shape.n_inputs, shape.n_outputs
        self.max_length: int | None = None
        self.uses_dropout = False
        self.sequential_on_cpu = True

    def init(self, seed: int) -> Tensor:
        used = torch.cat([p.detach().flatten() for p in self._fresh(seed).parameters()]).float()
        return pad(used, (0, self.n_parameters - len(used)))

    def step(
        self,
        params: Tensor,
        tokens: Tensor,
        targets: Tensor,
        grad: Tensor,
        dropout: DropoutKeys | None = None,
    ) -> Tensor:
        flush_denormals(params)
        losses = []
        for e, (row, x, y) in enumerate(self._members(params, tokens, targets)):
            row = row.detach().requires_grad_()
            loss = self._loss(row, x, y, "sum") / (y >= 0).sum().clamp_min(1)
            grad[e] = torch.autograd.grad(loss, row)[0]
            losses.append(loss.detach())
        return torch.stack(losses)

    @torch.no_grad()
    def loss_sums(self, params: Tensor, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        flush_denormals(params)
        total = torch.zeros(params.shape[0], dtype=torch.float64, device=params.device)
        count = torch.zeros_like(total)
        for some, some_targets in slices(EVALUATED_AT_ONCE, tokens, targets):
            for e, (row, x, y) in enumerate(self._members(params, some, some_targets)):
                total[e] += self._loss(row, x, y, "none").to(torch.float64).sum()
                count[e] += (y >= 0).sum()
        return total, count

    @torch.no_grad()
    def logits(self, params: Tensor, tokens: Tensor) -> Tensor:
        flush_denormals(params)
        return torch.stack([self._call(row, x) for row, x in self._members(params, tokens)])

    @torch.no_grad()
    def generate(self, params: Tensor, prompt: Tensor, count: int, feed: Tensor) -> Tensor:
        """Reads everything again for each state: a module need not know how to go on."""
        flush_denormals(params)
        made = []
        for row, x in self._members(params, prompt):
            x = x.to(torch.int64)
            states: list[Tensor] = []
            for _ in range(count):
                states.append(self._call(row, x)[:, -1].argmax(-1))
                x = torch.cat([x, feed[states[-1]].unsqueeze(1)], 1)
            made.append(torch.stack(states, 1))
        return torch.stack(made)

    def release(self) -> None:
        """Nothing is kept between steps."""

    def _fresh(self, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(seed, Stream.PARAMETERS) & (2**63 - 1))
            return self._make()

    def _call(self, row: Tensor, tokens: Tensor) -> Tensor:
        weights = {name: row[where].view(shape) for name, (where, shape) in self.names.items()}
        logits: Tensor = functional_call(self._module, weights, (tokens.to(torch.int64),))
        return logits

    def _loss(self, row: Tensor, tokens: Tensor, targets: Tensor, reduction: str) -> Tensor:
        logits = self._call(row, tokens).flatten(0, 1)
        return cross_entropy(logits, targets.flatten().to(torch.int64), ignore_index=-1, reduction=reduction)

    @staticmethod
    def _members(params: Tensor, *batches: Tensor) -> Iterator[tuple[Tensor, ...]]:
        for e in range(params.shape[0]):
            yield params[e], *(b[e] if b.shape[0] > 1 else b[0] for b in batches)
