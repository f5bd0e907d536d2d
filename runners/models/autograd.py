"""A stacked model from one function: parameters with their initial values, and a forward pass over members
[E, ...].

Whoever adds a model writes a :class:`Definition`; :class:`AutogradModel` makes of it all that the engine
asks for. The head and the loss are shared by all: a definition ends in what the head reads at each
position. ``lookup``, ``linear`` and the norms below have backward passes without atomic additions, so a
gradient does not depend on the order in which a GPU's threads arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from runners.interrupt import check_interrupt
from runners.kernels.codes import LONGEST_EVALUATION, LONGEST_STEP
from runners.kernels.library import lanes
from runners.models import loss
from runners.models.batch import slices, window
from runners.models.contract import DropoutKeys
from runners.models.dense_recurrence import DenseRecurrence
from runners.models.layout import Initial, Layout, flat
from runners.models.matmul import flush_denormals
from runners.models.native import Call, cell_call, takes_cell
from runners.models.shape import Shape
from runners.models.stacks import Stack, stack_call
from runners.models.tables import Tables, tables_call
from runners.models.workspace import Workspace

EVALUATED_AT_ONCE = 192
"""Sequences of one slice of an evaluation; fixed, so that sums do not depend on E."""

Weights = dict[str, Tensor]
"""Parameters by name, [E, *shape]."""


@dataclass(frozen=True)
class Definition:
    """A model as its author writes it."""

    parameters: Mapping[str, tuple[tuple[int, ...], Initial]]
    """Name -> (shape of one member, initial values: see runners.models.layout)."""
    forward: Callable[[Weights, Tensor], Tensor]
    """(weights, tokens int64 [E, B, T]) -> [E, B, T, width]: what the head reads at each position. It must
    be causal (sequences are padded on the right), treat each member alone, and neither read a value on
    the host nor depend on data for a shape.
    """
    width: int
    """Numbers that the head reads at a position."""
    head: Initial | None = None
    """Initial weights of the head; None: uniform in +-1/sqrt(width), as torch.nn.Linear."""
    head_bias: bool = True
    max_length: int | None = None
    """The most positions; None: any number."""
    together: bool = False
    """On a CPU members run in one stack. Only for a forward whose members are shown to be the same to the
    bit in any company.
    """
    transitions: Callable[[Weights], tuple[Tensor, Tensor]] | None = None
    """Of a recurrence h_t = A(x_t) h_{t-1} that the head reads, where its size is small: weights -> (A
    [E, V, h in, h out] of every token, h_0 [E, h]). In float32 on a CPU a training step and an evaluation
    then go through the dense SSM's kernel, and autograd has the way from the weights to A alone.
    """
    cell: str = ""
    """The cell of ``runners.kernels.codes.CELLS`` that this model is, its parameters in the kernel's order.
    In float32 on a CPU a training step and an evaluation are then one call of it; ``forward`` does the rest,
    and tells what the kernel has to compute.
    """
    tables: Tables | None = None
    """How this model is a linear recurrence by a table. As with ``cell``; where there is no kernel of its
    own, what ``transitions`` tells of is done.
    """
    stack: Stack | None = None
    """The stack of blocks that this model is, its parameters in the kernel's order. As with ``cell``."""
    tables_together: bool = False
    """On a CPU the transitions of all members are made in one stack; only where that is shown to
    change no bit of any of them.
    """


WHOLE = 32
"""A CPU's element-wise kernels take two vectors of sixteen numbers at a time and what is left one by one,
which rounds otherwise: a member is the same in any company where its part of every tensor is a multiple
of this.
"""


class AutogradModel:
    """All of runners.models.contract.StackedModel from a definition; the gradient comes by autograd."""

    uses_dropout = False

    def __init__(self, definition: Definition, shape: Shape, device: torch.device) -> None:
        S, width = shape.n_outputs, definition.width
        parameters = dict(definition.parameters)
        parameters["head.weight"] = ((S, width), definition.head or flat(1 / sqrt(width)))
        if definition.head_bias:
            parameters["head.bias"] = ((S,), flat(1 / sqrt(width)))
        self.definition = definition
        self.shape = shape
        self.layout = Layout(parameters)
        self.names = self.layout.names
        self.n_parameters = self.layout.size
        self.n_inputs, self.n_outputs = shape.n_inputs, S
        self.max_length = definition.max_length
        self._apart = device.type == "cpu" and not definition.together
        in_kernel = definition.stack is not None or definition.tables is not None
        in_kernel |= definition.cell != "" and takes_cell(width)
        in_kernel &= lanes() > 0
        self.sequential_on_cpu = self._apart and not in_kernel
        self._workspace = Workspace()
        self._dense: DenseRecurrence | None = None
        if device.type == "cpu" and not shape.half and definition.transitions is not None:
            self._dense = DenseRecurrence(definition.transitions, shape, width)

    def init(self, seed: int) -> Tensor:
        return self.layout.init(seed)

    def release(self) -> None:
        self._workspace.clear()
        if self._dense is not None:
            self._dense.release()

    def step(
        self,
        params: Tensor,
        tokens: Tensor,
        targets: Tensor,
        grad: Tensor,
        dropout: DropoutKeys | None = None,
    ) -> Tensor:
        flush_denormals(params)
        call = self._call(params, tokens.shape, LONGEST_STEP)
        if call is not None:
            return call.train(params, tokens, targets, grad)
        self.layout.finish(grad)
        if self._dense is not None and self._dense.serves(params):
            return self._dense_step(self._dense, params, tokens, targets, grad)
        parts = [
            self._step(params[a:b], _part(tokens, a, b), _part(targets, a, b), grad[a:b])
            for a, b in self._runs(params)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @torch.no_grad()
    def loss_sums(self, params: Tensor, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        flush_denormals(params)
        dense, row = self._dense, None
        if dense is not None and not dense.serves(params):
            dense = None
        total = torch.zeros(params.shape[0], dtype=torch.float64, device=params.device)
        count = torch.zeros_like(total)
        for x, y in slices(EVALUATED_AT_ONCE, tokens, targets):
            call = self._call(params, x.shape, LONGEST_EVALUATION)
            if call is not None:
                call.evaluate(params, x, y, total, count)
                continue
            if dense is not None:
                if row is None:
                    views = self.layout.views(params)
                    row = dense.row([dense.made(part) for _, _, part in self._made_in_turn(views)], views)
                for into, found in zip((total, count), dense.loss_sums(row, x, y), strict=True):
                    into += found
                continue
            for a, b in self._runs(params):
                logits, wanted = self._window(self.layout.views(params[a:b]), _part(x, a, b), _part(y, a, b))
                picked = loss.log_probabilities(logits, wanted, 2, torch.empty_like(logits))
                total[a:b] -= picked.to(torch.float64).sum(-1)
                count[a:b] += (~wanted.absent).sum(-1)
        return total, count

    @torch.no_grad()
    def logits(self, params: Tensor, tokens: Tensor) -> Tensor:
        flush_denormals(params)
        made = []
        for (x,) in slices(EVALUATED_AT_ONCE, tokens):
            parts = [self._all(params[a:b], _part(x, a, b)) for a, b in self._runs(params)]
            made.append(torch.cat(parts))
        return torch.cat(made, 1)

    @torch.no_grad()
    def generate(self, params: Tensor, prompt: Tensor, count: int, feed: Tensor) -> Tensor:
        """Reads everything again for each state: a definition need not know how to go on from one."""
        E, read = params.shape[0], prompt.to(torch.int64)
        if prompt.shape[0] == 1:
            read = read.expand(E, -1, -1)
        made: list[Tensor] = []
        for _ in range(count):
            check_interrupt()
            made.append(self.logits(params, read)[:, :, -1].argmax(-1))
            read = torch.cat([read, feed[made[-1]].unsqueeze(-1)], 2)
        return torch.stack(made, -1)

    def _call(self, params: Tensor, batch: Sequence[int], longest: float) -> Call | None:
        """The kernel for batches [Et, B, T]; None: torch has to do."""
        cell, stack, tables = self.definition.cell, self.definition.stack, self.definition.tables
        if tables is not None:
            return tables_call(tables, self.layout, self.shape, params, batch, self._workspace)
        if stack is not None:
            return stack_call(stack, self.shape, params, batch, self._workspace, longest)
        if not cell:
            return None
        return cell_call(cell, self.shape, self.definition.width, params, batch, self._workspace)

    def _runs(self, params: Tensor) -> list[tuple[int, int]]:
        """Members a..b-1 that are computed in one stack."""
        E = params.shape[0]
        return [(e, e + 1) for e in range(E)] if self._apart else [(0, E)]

    def _made_in_turn(self, views: Weights) -> list[tuple[int, int, Weights]]:
        """Members a..b-1 whose transitions are made in one stack, each with their weights."""
        E = views["head.weight"].shape[0]
        if self.definition.tables_together:
            return [(0, E, views)]
        return [(e, e + 1, {name: v[e : e + 1] for name, v in views.items()}) for e in range(E)]

    def _dense_step(
        self, dense: DenseRecurrence, params: Tensor, tokens: Tensor, targets: Tensor, grad: Tensor
    ) -> Tensor:
        views, into = self.layout.views(params), self.layout.views(grad)
        runs = [(a, b, _leaves(part)) for a, b, part in self._made_in_turn(views)]
        with torch.enable_grad():
            made = [dense.made(part) for _, _, part in runs]
        row = dense.row([(A.detach(), start.detach()) for A, start in made], views)
        d_row = torch.empty_like(row)
        mean = dense.step(row, tokens, targets, d_row)
        d_A, d_start = dense.back(d_row, into)
        for (a, b, part), outputs in zip(runs, made, strict=True):
            own = [name for name in part if not name.startswith("head.")]
            found = torch.autograd.grad(outputs, [part[name] for name in own], (d_A[a:b], d_start[a:b]))
            for name, one in zip(own, found, strict=True):
                into[name][a:b].copy_(one)
        return mean

    def _step(self, params: Tensor, tokens: Tensor, targets: Tensor, grad: Tensor) -> Tensor:
        leaves = _leaves(self.layout.views(params))
        half: Any = torch.autocast(params.device.type, torch.bfloat16) if self.shape.half else nullcontext()
        with torch.enable_grad(), half:
            logits, wanted = self._window(leaves, tokens, targets)
            logits = logits.to(params.dtype)
        with torch.no_grad():
            weights = wanted.weights(params.dtype, member=0)
            d_logits = torch.empty_like(logits)
            picked = loss.log_probabilities(logits, wanted, 2, d_logits)
            mean = (picked * weights).sum(-1).neg()
            loss.gradient(logits, wanted, weights, 2, d_logits)
        found = torch.autograd.grad(logits, list(leaves.values()), d_logits, allow_unused=True)
        for into, one in zip(self.layout.views(grad).values(), found, strict=True):
            if one is None:
                into.zero_()
            else:
                into.copy_(one)
        return mean

    def _window(self, weights: Weights, tokens: Tensor, targets: Tensor) -> tuple[Tensor, loss.Wanted]:
        """Logits [E, B W, S] at the supervised positions, and their targets."""
        E = weights["head.weight"].shape[0]
        where, wanted = window(self.shape, targets, E)
        x = self._features(weights, tokens).flatten(1, 2)
        if where is not None:
            x = where.select(x)
        return self._head(weights, x), wanted

    def _all(self, params: Tensor, tokens: Tensor) -> Tensor:
        weights = self.layout.views(params)
        x = self._features(weights, tokens)
        return self._head(weights, x.flatten(1, 2)).view(*x.shape[:3], -1)

    def _features(self, weights: Weights, tokens: Tensor) -> Tensor:
        check_interrupt()
        E = weights["head.weight"].shape[0]
        tokens = tokens.to(torch.int64).expand(E, -1, -1)
        return self.definition.forward(weights, tokens)

    def _head(self, weights: Weights, x: Tensor) -> Tensor:
        return linear(x, weights["head.weight"], weights.get("head.bias"))


def _leaves(views: Weights) -> Weights:
    """Leaves of their own: the gradient of a view would be a buffer of all parameters for each of them."""
    return {name: v.detach().requires_grad_() for name, v in views.items()}


def _part(batch: Tensor, a: int, b: int) -> Tensor:
    return batch if batch.shape[0] == 1 else batch[a:b]


# What forward passes are made of


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map x [E, ..., k] by each member's weight [E, m, k] (and bias [E, m]) to [E, ..., m]."""
    rows = x.reshape(x.shape[0], -1, x.shape[-1])
    if bias is None:
        made = torch.bmm(rows, weight.transpose(1, 2))
    else:
        made = torch.baddbmm(bias.unsqueeze(1), rows, weight.transpose(1, 2))
    return made.view(*x.shape[:-1], weight.shape[1])


def lookup(table: Tensor, tokens: Tensor) -> Tensor:
    """Rows of each member's table [E, V, d] at tokens int64 [E, B, T]: [E, B, T, d]."""
    found: Tensor = _Lookup.apply(table, tokens)  # type: ignore[no-untyped-call]
    return found


class _Lookup(torch.autograd.Function):
    """A gather whose gradient is a product with the one-hot tokens, summed in one order."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, tokens: Tensor) -> Tensor:
        ctx.save_for_backward(tokens)
        ctx.vocabulary = table.shape[1]
        E, B, T = tokens.shape
        index = tokens.reshape(E, B * T, 1).expand(-1, -1, table.shape[2])
        return table.gather(1, index).view(E, B, T, -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (tokens,) = ctx.saved_tensors
        E = tokens.shape[0]
        ids = torch.arange(ctx.vocabulary, device=tokens.device).view(1, -1, 1)
        hot = (tokens.reshape(E, 1, -1) == ids).to(grad.dtype)
        return torch.bmm(hot, grad.reshape(E, -1, grad.shape[-1])), None


def rms_norm(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """x [E, ..., d] over the root of its mean square, times each member's weight [E, d]."""
    scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return x * scale * weight.view(weight.shape[0], *[1] * (x.dim() - 2), -1)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Layer norm of x [E, ..., d] with each member's weight and bias [E, d]."""
    view = (weight.shape[0], *[1] * (x.dim() - 2), -1)
    plain = torch.nn.functional.layer_norm(x, (x.shape[-1],), eps=eps)
    return torch.addcmul(bias.view(view), plain, weight.view(view))
