"""What the recurrent models share: the linear head, the loss, evaluation in slices, greedy decoding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from runners.models import loss
from runners.models.contract import DropoutKeys
from runners.models.frame import Frame, frame, slices
from runners.models.gemm import Gemm, flush_denormals
from runners.models.layout import Layout
from runners.models.shape import Shape
from runners.models.workspace import Buffers, Workspace

ALIGN = 32
"""A member's plane of h x B values is a multiple of this: the CPU's vector loops then never split a member's values into a
vector part and a differently rounded scalar rest, which would make them depend on the member's place."""
EVALUATED_AT_ONCE = 256
"""Sequences of one slice of an evaluation; fixed, so that sums do not depend on E."""

Views = dict[str, Tensor]


class Recurrent(ABC):
    """A recurrence h_t = f(h_{t-1}, x_t) with a linear head; states lie as [T, E, hidden, B], batch innermost."""

    max_length: int | None = None
    uses_dropout = False

    def __init__(self, shape: Shape, hidden: int, layout: Layout, smallest: int) -> None:
        """``smallest``: the least of the sizes that enter a matrix product."""
        self.shape = shape
        self.hidden = hidden
        self.layout = layout
        self.names = layout.names
        self.n_parameters = layout.size
        self.n_inputs = shape.n_inputs
        self.n_outputs = shape.n_outputs
        self._one_by_one = min(smallest, hidden, shape.n_outputs) == 1 or shape.half
        self._train = Gemm(shape.half)
        self._exact = Gemm()
        self._workspace = Workspace()

    def init(self, seed: int) -> Tensor:
        return self.layout.init(seed)

    def release(self) -> None:
        self._workspace.clear()

    def step(
        self, params: Tensor, tokens: Tensor, targets: Tensor, grad: Tensor, dropout: DropoutKeys | None = None
    ) -> Tensor:
        flush_denormals(params)
        if self._alone(params):
            apart = enumerate(_apart(params, tokens, targets))
            return torch.cat([self._step(p, x, y, grad[e : e + 1]) for e, (p, x, y) in apart])
        return self._step(params, tokens, targets, grad)

    def loss_sums(self, params: Tensor, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        flush_denormals(params)
        if self._alone(params):
            each = [self._loss_sums(p, x, y) for p, x, y in _apart(params, tokens, targets)]
            return torch.cat([s for s, _ in each]), torch.cat([c for _, c in each])
        return self._loss_sums(params, tokens, targets)

    def logits(self, params: Tensor, tokens: Tensor) -> Tensor:
        flush_denormals(params)
        if self._alone(params):
            return torch.cat([self._logits(p, x) for p, x in _apart(params, tokens)])
        return self._logits(params, tokens)

    def generate(self, params: Tensor, prompt: Tensor, count: int, feed: Tensor) -> Tensor:
        flush_denormals(params)
        if self._alone(params):
            return torch.cat([self._generate(p, x, count, feed) for p, x in _apart(params, prompt)])
        return self._generate(params, prompt, count, feed)

    # What a recurrence defines

    @abstractmethod
    def _weights(self, views: Views, buffers: Buffers, gemm: Gemm) -> Views:
        """The operands of the recurrence, made of the parameters once per step."""

    @abstractmethod
    def _run(self, w: Views, batch: Frame, buffers: Buffers, gemm: Gemm, state: Any = None) -> tuple[Tensor, Any]:
        """States [T, E, hidden, Bp] after each step, and the last in the form in which it can be passed as ``state``."""

    @abstractmethod
    def _back(self, w: Views, batch: Frame, buffers: Buffers, gemm: Gemm, d_states: Tensor, grads: Views) -> None:
        """Gradients of the recurrence's parameters into ``grads``; d_states [W, E, hidden, Bp] may be used up."""

    # What they share

    def _alone(self, params: Tensor) -> bool:
        """Degenerate sizes reach matrix-vector kernels, whose choice depends on E: such members run one at a time."""
        return self._one_by_one and params.shape[0] > 1 and params.device.type == "cpu"

    def _columns(self, B: int) -> int:
        """B, or what it is padded to."""
        B = max(B, 2)
        while self.hidden * B % ALIGN:
            B += 1
        return B

    def _step(self, params: Tensor, tokens: Tensor, targets: Tensor, grad: Tensor) -> Tensor:
        E, T = params.shape[0], tokens.shape[-1]
        gemm = self._train
        batch = frame(self.shape, tokens, targets)
        buffers = self._workspace.group(("step", E, tokens.shape), params)
        views, grads = self.layout.views(params), self.layout.views(grad)
        w = self._weights(views, buffers, gemm)
        states, _ = self._run(w, batch, buffers, gemm)
        window = states[T - batch.window :]
        logits, head = self._head(views, window, buffers, gemm)
        wanted = self._wanted(batch, E, window.shape[3], buffers)
        weights = loss.position_weights(wanted.transpose(0, 1), params.dtype).transpose(0, 1)
        flat = wanted.flatten(0, 1)
        d_logits = buffers("d_logits", *logits.shape)
        picked = loss.log_probabilities(logits, flat, 1, d_logits)
        mean = -(picked.view_as(wanted) * weights).transpose(0, 1).flatten(1).sum(1)
        loss.gradient(logits, flat, weights.reshape(flat.shape), 1, d_logits)
        d_states = self._head_back(d_logits, head, window, buffers, gemm, grads)
        self._back(w, batch, buffers, gemm, d_states, grads)
        return mean

    def _loss_sums(self, params: Tensor, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        E = params.shape[0]
        total = torch.zeros(E, dtype=torch.float64, device=params.device)
        count = torch.zeros(E, dtype=torch.float64, device=params.device)
        gemm, views = self._exact, self.layout.views(params)
        for x, y in slices(EVALUATED_AT_ONCE, tokens, targets):
            batch = frame(self.shape, x, y)
            buffers = self._workspace.group(("evaluate", E, x.shape), params)
            states, _ = self._run(self._weights(views, buffers, gemm), batch, buffers, gemm)
            window = states[x.shape[-1] - batch.window :]
            logits, _ = self._head(views, window, buffers, gemm)
            wanted = self._wanted(batch, E, window.shape[3], buffers)
            picked = loss.log_probabilities(logits, wanted.flatten(0, 1), 1, buffers("log_softmax", *logits.shape))
            total -= picked.view_as(wanted).transpose(0, 1).flatten(1).to(torch.float64).sum(1)
            count += (wanted >= 0).transpose(0, 1).flatten(1).sum(1)
        return total, count

    def _logits(self, params: Tensor, tokens: Tensor) -> Tensor:
        parts = []
        gemm, views, E = self._exact, self.layout.views(params), params.shape[0]
        for (x,) in slices(EVALUATED_AT_ONCE, tokens):
            buffers = self._workspace.group(("evaluate", E, x.shape), params)
            w = self._weights(views, buffers, gemm)
            states, _ = self._run(w, frame(self.shape, x, None), buffers, gemm)
            parts.append(self._read(views, states, buffers, x.shape[1]))
        return torch.cat(parts, 1)

    def _generate(self, params: Tensor, prompt: Tensor, count: int, feed: Tensor) -> Tensor:
        parts = []
        gemm, views, E = self._exact, self.layout.views(params), params.shape[0]
        for (x,) in slices(EVALUATED_AT_ONCE, prompt):
            made: list[Tensor] = []
            state, following = None, x
            for _ in range(count):
                buffers = self._workspace.group(("generate", E, following.shape), params)
                w = self._weights(views, buffers, gemm)
                states, state = self._run(w, frame(self.shape, following, None), buffers, gemm, state)
                made.append(self._read(views, states[-1:], buffers, x.shape[1])[:, :, 0].argmax(-1))
                following = feed[made[-1]].unsqueeze(-1)
            parts.append(torch.stack(made, -1))
        return torch.cat(parts, 1)

    def _read(self, views: Views, states: Tensor, buffers: Buffers, B: int) -> Tensor:
        """Logits [E, B, T, n_outputs] of states [T, E, hidden, Bp], in memory of their own."""
        logits, _ = self._head(views, states, buffers, self._exact)
        return logits.view(states.shape[0], states.shape[1], self.n_outputs, -1)[..., :B].permute(1, 3, 0, 2).contiguous()

    def _head(self, views: Views, states: Tensor, buffers: Buffers, gemm: Gemm) -> tuple[Tensor, Tensor]:
        """(logits [W E, n_outputs, Bp], the head's weight repeated for every step [W E, n_outputs, hidden])."""
        W, E, h, Bp = states.shape
        S = self.n_outputs
        weight = buffers("head", W, E, S, h).copy_(views["head.weight"]).view(W * E, S, h)
        bias = buffers("head_bias", W, E, S, 1).copy_(views["head.bias"].unsqueeze(-1)).view(W * E, S, 1)
        return gemm.affine(bias, weight, states.flatten(0, 1), buffers("logits", W * E, S, Bp)), weight

    def _head_back(
        self, d_logits: Tensor, weight: Tensor, states: Tensor, buffers: Buffers, gemm: Gemm, grads: Views
    ) -> Tensor:
        W, E, h, Bp = states.shape
        S = self.n_outputs
        per_step = gemm(d_logits, states.flatten(0, 1).transpose(1, 2), buffers("d_head", W * E, S, h))
        grads["head.weight"].copy_(_fold_(per_step.view(W, E, S, h)))
        grads["head.bias"].copy_(_fold_(d_logits.sum(-1).view(W, E, S)))
        d_states = gemm(weight.transpose(1, 2), d_logits, buffers("d_states", W * E, h, Bp))
        return d_states.view(W, E, h, Bp)

    def _wanted(self, batch: Frame, E: int, Bp: int, buffers: Buffers) -> Tensor:
        """Targets int64 [W, E, Bp]; -1 in the columns that pad the batch."""
        assert batch.targets is not None
        B = batch.targets.shape[2]
        wanted = buffers("wanted", batch.window, E, Bp, dtype=torch.int64)
        wanted[..., B:] = -1
        wanted[..., :B] = batch.targets
        return wanted


def _fold_(x: Tensor) -> Tensor:
    """Sum over the first axis by halves, in place. A reduction would choose its order by the other sizes, E among them."""
    n = x.shape[0]
    while n > 1:
        half = n // 2
        x[:half].add_(x[n - half : n])
        n -= half
    return x[0]


def _apart(params: Tensor, *batches: Tensor) -> list[tuple[Tensor, ...]]:
    """One tuple per member, each with a member axis of 1."""
    return [(params[e : e + 1], *(b[e : e + 1] if b.shape[0] > 1 else b for b in batches)) for e in range(params.shape[0])]
