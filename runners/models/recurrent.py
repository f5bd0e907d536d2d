"""What the recurrent models share: the linear head, the loss, evaluation in slices, greedy decoding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from runners.interrupt import check_interrupt
from runners.models import loss
from runners.models.batch import Frame, frame, slices
from runners.models.contract import DropoutKeys
from runners.models.layout import Layout
from runners.models.matmul import Matmul, flush_denormals, fold_
from runners.models.native import Call
from runners.models.shape import Shape
from runners.models.workspace import Buffers, Workspace

EVEN = 8
"""Sizes that are multiples of this keep the members' matrices aligned alike (see runners.models.layout)."""
EVALUATED_AT_ONCE = 192
"""Sequences of one slice of an evaluation; fixed, so that sums do not depend on E."""

Views = dict[str, Tensor]


class Recurrent(ABC):
    """A recurrence h_t = f(h_{t-1}, x_t) with a linear head;
    states lie as [T, E, hidden, B], batch innermost.
    """

    max_length: int | None = None
    uses_dropout = False

    def __init__(
        self, shape: Shape, hidden: int, layout: Layout, sizes: tuple[int, ...], *, free: bool = False
    ) -> None:
        """``sizes``: others that enter a matrix product, the vocabulary first; ``free``:
        see runners.models.matmul.
        """
        self.shape = shape
        self.hidden = hidden
        self.layout = layout
        self.names = layout.names
        self.n_parameters = layout.size
        self.n_inputs = shape.n_inputs
        self.n_outputs = shape.n_outputs
        uneven = any(size % EVEN for size in (hidden, *sizes[1:]))
        self.sequential_on_cpu = min(*sizes, hidden, shape.n_outputs) == 1 or uneven or shape.half
        self._train = Matmul(shape.half, small=True, free=free)
        self._exact = Matmul(small=True, free=free)
        self._workspace = Workspace()

    def init(self, seed: int) -> Tensor:
        return self.layout.init(seed)

    def release(self) -> None:
        self._workspace.clear()

    def step(
        self,
        params: Tensor,
        tokens: Tensor,
        targets: Tensor,
        grad: Tensor,
        dropout: DropoutKeys | None = None,
    ) -> Tensor:
        flush_denormals(params)
        call = self._call(params, tokens.shape)
        if call is not None:
            return call.train(params, tokens, targets, grad)
        batch = frame(self.shape, tokens, targets)
        parts = self._parts(batch, params, training=True)
        self.layout.finish(grad)
        return _join([self._step(params[a:b], part, grad[a:b]) for a, b, part in parts])

    def loss_sums(self, params: Tensor, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        flush_denormals(params)
        total = torch.zeros(params.shape[0], dtype=torch.float64, device=params.device)
        count = torch.zeros_like(total)
        for x, y in slices(EVALUATED_AT_ONCE, tokens, targets):
            call = self._call(params, x.shape)
            if call is not None:
                call.evaluate(params, x, y, total, count)
                continue
            batch = frame(self.shape, x, y)
            for a, b, part in self._parts(batch, params):
                self._add_loss(params[a:b], part, total[a:b], count[a:b])
        return total, count

    def logits(self, params: Tensor, tokens: Tensor) -> Tensor:
        flush_denormals(params)
        made = []
        for (x,) in slices(EVALUATED_AT_ONCE, tokens):
            batch = frame(self.shape, x, None)
            parts = self._parts(batch, params)
            made.append(
                _join([self._read(params[a:b], part, None)[0] for a, b, part in parts])[:, : x.shape[1]]
            )
        return torch.cat(made, 1)

    def generate(self, params: Tensor, prompt: Tensor, count: int, feed: Tensor) -> Tensor:
        flush_denormals(params)
        E = params.shape[0]
        members = [(e, e + 1) for e in range(E)] if self._alone(params) else [(0, E)]
        made = []
        for (x,) in slices(EVALUATED_AT_ONCE, prompt):
            whole = frame(self.shape, x, None)
            states = _join([self._decode(params[a:b], whole.members(a, b), count, feed) for a, b in members])
            made.append(states[:, : x.shape[1]])
        return torch.cat(made, 1)

    # What a recurrence defines

    @abstractmethod
    def _weights(self, views: Views, buffers: Buffers, matmul: Matmul) -> Views:
        """The operands of the recurrence, made of the parameters once per step."""

    @abstractmethod
    def _run(
        self, w: Views, batch: Frame, buffers: Buffers, matmul: Matmul, state: Any = None
    ) -> tuple[Tensor, Any]:
        """States [T, E, hidden, B] after each step (in this order of memory,
        or with the last two axes exchanged), and the last in the form in which it can be passed as ``state``.
        """

    @abstractmethod
    def _back(
        self, w: Views, batch: Frame, buffers: Buffers, matmul: Matmul, d_states: Tensor, grads: Views
    ) -> None:
        """Gradients of the recurrence's parameters into ``grads``;
        d_states lies as the states do and may be used up.
        """

    def _call(self, params: Tensor, shape: Sequence[int]) -> Call | None:
        """The kernel for batches [Et, B, T] of this shape with its work space; None where there is none."""
        return None

    # What they share

    def _alone(self, params: Tensor) -> bool:
        """A size of one reaches matrix-vector kernels, whose choice depends on E, and an uneven one makes the
        alignment of a member's matrices depend on its place: such members run one at a time."""
        return self.sequential_on_cpu and params.shape[0] > 1 and params.device.type == "cpu"

    def _parts(self, batch: Frame, params: Tensor, *, training: bool = False) -> list[tuple[int, int, Frame]]:
        """Runs of members a..b-1 that are computed together, each with its part of the batch."""
        E = params.shape[0]
        if self._alone(params):
            return [(e, e + 1, batch.members(e, e + 1)) for e in range(E)]
        return [(0, E, batch)]

    def _group(self, what: str, params: Tensor, batch: Frame) -> Buffers:
        key = (
            what,
            params.shape[0],
            batch.tokens.shape,
            batch.window,
            batch.before,
            batch.ranks is None,
            batch.order is None,
        )
        return self._workspace.group(key, params)

    def _step(self, params: Tensor, batch: Frame, grad: Tensor) -> Tensor:
        matmul, buffers = self._train, self._group("step", params, batch)
        views, grads = self.layout.views(params), self.layout.views(grad)
        w = self._weights(views, buffers, matmul)
        states, _ = self._run(w, batch, buffers, matmul)
        window = states[states.shape[0] - batch.window :]
        logits, head = self._head(views, window, buffers, matmul)
        W, E, _, B = window.shape
        wanted = loss.Wanted.of(self._wanted(batch, E))
        weights = wanted.weights(params.dtype, member=1)
        wanted = loss.Wanted(wanted.absent.flatten(0, 1), wanted.index.flatten(0, 1))
        d_logits = buffers("d_logits", *logits.shape)
        picked = loss.log_probabilities(logits, wanted, 1, d_logits)
        mean = fold_(picked.view(W, E, B).mul_(weights).sum(-1)).neg()
        loss.gradient(logits, wanted, weights.view(W * E, B), 1, d_logits)
        d_states = self._head_back(d_logits, head, window, buffers, matmul, grads)
        self._back(w, batch, buffers, matmul, d_states, grads)
        return mean

    def _add_loss(self, params: Tensor, batch: Frame, total: Tensor, count: Tensor) -> None:
        matmul, buffers, views = (
            self._exact,
            self._group("evaluate", params, batch),
            self.layout.views(params),
        )
        states, _ = self._run(self._weights(views, buffers, matmul), batch, buffers, matmul)
        window = states[states.shape[0] - batch.window :]
        logits, _ = self._head(views, window, buffers, matmul)
        W, E, _, B = window.shape
        wanted = loss.Wanted.of(self._wanted(batch, E).flatten(0, 1))
        picked = loss.log_probabilities(logits, wanted, 1, buffers("log_softmax", *logits.shape))
        total -= fold_(picked.view(W, E, B).to(torch.float64).sum(-1))
        count += (~wanted.absent).view(W, E, B).sum((0, 2))

    def _decode(self, params: Tensor, batch: Frame, count: int, feed: Tensor) -> Tensor:
        made: list[Tensor] = []
        state = None
        for _ in range(count):
            check_interrupt()
            logits, state = self._read(params, batch, state, last=True)
            made.append(logits[:, :, 0].argmax(-1))
            batch = frame(self.shape, feed[made[-1]].unsqueeze(-1), None)
        return torch.stack(made, -1)

    def _read(self, params: Tensor, batch: Frame, state: Any, *, last: bool = False) -> tuple[Tensor, Any]:
        """Logits [E, B, T or 1, n_outputs] in memory of their own, and the state after the last token."""
        matmul, buffers, views = self._exact, self._group("read", params, batch), self.layout.views(params)
        states, state = self._run(self._weights(views, buffers, matmul), batch, buffers, matmul, state)
        states = states[-1:] if last else states
        logits, _ = self._head(views, states, buffers, matmul)
        logits = logits.view(states.shape[0], states.shape[1], self.n_outputs, -1)
        return logits.permute(1, 3, 0, 2).contiguous(), state

    def _head(self, views: Views, states: Tensor, buffers: Buffers, matmul: Matmul) -> tuple[Tensor, Tensor]:
        """(logits [W E, n_outputs, B], the head's weight repeated for every step
        [W E, n_outputs, hidden]).
        """
        W, E, h, B = states.shape
        S = self.n_outputs
        weight = buffers("head", W, E, S, h).copy_(views["head.weight"]).view(W * E, S, h)
        bias = buffers("head_bias", W, E, S, 1).copy_(views["head.bias"].unsqueeze(-1)).view(W * E, S, 1)
        return matmul.affine(bias, weight, states.flatten(0, 1), buffers("logits", W * E, S, B)), weight

    def _head_back(
        self, d_logits: Tensor, weight: Tensor, states: Tensor, buffers: Buffers, matmul: Matmul, grads: Views
    ) -> Tensor:
        W, E, h, B = states.shape
        S = self.n_outputs
        per_step = buffers("d_head", W * E, S, h)
        buffers.views(
            "head's", lambda: matmul.bound(per_step, d_logits, states.flatten(0, 1).transpose(1, 2))
        )()
        grads["head.weight"].copy_(fold_(per_step.view(W, E, S, h)))
        grads["head.bias"].copy_(fold_(d_logits.sum(-1).view(W, E, S)))
        if states.stride(3) == 1:
            columns = buffers("d_states", W * E, h, B)
            buffers.views("to states", lambda: matmul.bound(columns, weight.transpose(1, 2), d_logits))()
            return columns.view(W, E, h, B)
        rows = buffers("d_states", W * E, B, h)
        buffers.views("to states", lambda: matmul.bound(rows, d_logits.transpose(1, 2), weight))()
        return rows.view(W, E, B, h).transpose(2, 3)

    def _wanted(self, batch: Frame, E: int) -> Tensor:
        """Targets int64 [W, E, B]."""
        assert batch.targets is not None
        return batch.targets.expand(-1, E, -1)


def _join(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
