"""Recurrences that are linear in their state, as the kernels take them: a row of tables, start and head.

The way from a model's weights to that row is autograd's, and so is the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from runners.kernels.codes import padded
from runners.models.batch import slices
from runners.models.dense_ssm import DenseSSMModel
from runners.models.layout import aligned
from runners.models.native import Call, kernel_for, lying
from runners.models.recurrent import EVALUATED_AT_ONCE, Views
from runners.models.shape import Shape
from runners.models.workspace import Workspace
from runners.spec import DenseSSM

Made = Callable[[Views], tuple[Tensor, Tensor]]
"""Weights -> (what a kernel reads of every token [E, V, ...], h_0 [E, h])."""


class LinearKernel(Protocol):
    """A way to train a recurrence that is linear in its state."""

    made: Made

    def serves(self, params: Tensor) -> bool:
        """Whether it can, for these parameters."""
        ...

    def row(self, made: list[tuple[Tensor, Tensor]], head: Views) -> Tensor:
        """The row [E, P] of what was made for all members."""
        ...

    def step(self, row: Tensor, tokens: Tensor, targets: Tensor, d_row: Tensor) -> Tensor:
        """Compute the mean losses [E] and the row's gradient."""
        ...

    def loss_sums(self, row: Tensor, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Summed losses and supervised positions, float64 [E]."""
        ...

    def back(self, d_row: Tensor, into: Views) -> tuple[Tensor, Tensor]:
        """Gradients of what was made; those of the head go ``into`` their places."""
        ...

    def release(self) -> None: ...


class DenseRecurrence:
    """A recurrence by its transitions A [E, V, h in, h out], as a dense SSM whose embeddings are the tokens,
    one-hot: its A(x) is the table itself, exactly. A state of uneven size has zeros at its end.
    """

    def __init__(self, made: Made, shape: Shape, width: int) -> None:
        self.made = made
        self.width = width
        self.model = DenseSSMModel(DenseSSM(hidden=aligned(width), d=shape.n_inputs), shape)
        self.step = self.model.step
        self.loss_sums = self.model.loss_sums
        self.release = self.model.release

    def serves(self, params: Tensor) -> bool:
        return params.dtype == torch.float32

    def row(self, made: list[tuple[Tensor, Tensor]], head: Views) -> Tensor:
        h, weight = self.width, head["head.weight"]
        row = weight.new_zeros(weight.shape[0], self.model.n_parameters)
        w = self.model.layout.views(row)
        w["embedding"].diagonal(dim1=1, dim2=2).fill_(1.0)
        torch.cat([A for A, _ in made], out=w["transition"][..., :h, :h])
        torch.cat([start for _, start in made], out=w["h0"][:, :h])
        w["head.weight"][..., :h].copy_(weight)
        if "head.bias" in head:
            w["head.bias"].copy_(head["head.bias"])
        return row

    def back(self, d_row: Tensor, into: Views) -> tuple[Tensor, Tensor]:
        h, d = self.width, self.model.layout.views(d_row)
        into["head.weight"].copy_(d["head.weight"][..., :h])
        if "head.bias" in into:
            into["head.bias"].copy_(d["head.bias"])
        return d["transition"][..., :h, :h], d["h0"][:, :h]


class Turning:
    """A recurrence by factors [E, V, width] of each number of the state, or by the cosines and then the sines
    of its pairs (see runners.kernels.turning).
    """

    def __init__(self, made: Made, shape: Shape, width: int, *, pairs: bool) -> None:
        self.made = made
        self.shape = shape
        self.width, self.padded = width, aligned(width)
        self.parts = 2 if pairs else 1
        S = shape.n_outputs
        sizes = (shape.n_inputs * width, self.padded, S * self.padded, S)
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        self._where = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        self._size = aligned(ends[-1])
        self._workspace = Workspace()

    def serves(self, params: Tensor) -> bool:
        return kernel_for("turning", params) is not None

    def release(self) -> None:
        self._workspace.clear()

    def row(self, made: list[tuple[Tensor, Tensor]], head: Views) -> Tensor:
        weight = head["head.weight"]
        row = weight.new_zeros(weight.shape[0], self._size)
        table, start, into, bias = self._views(row)
        torch.cat([factors.flatten(1) for factors, _ in made], out=table)
        torch.cat([first for _, first in made], out=start)
        into.copy_(weight)
        if "head.bias" in head:
            bias.copy_(head["head.bias"])
        return row

    def back(self, d_row: Tensor, into: Views) -> tuple[Tensor, Tensor]:
        table, start, weight, bias = self._views(d_row)
        into["head.weight"].copy_(weight)
        if "head.bias" in into:
            into["head.bias"].copy_(bias)
        return table.unflatten(1, (self.shape.n_inputs, self.width)), start

    def step(self, row: Tensor, tokens: Tensor, targets: Tensor, d_row: Tensor) -> Tensor:
        return self._call(row, tokens.shape).train(row, tokens, targets, d_row, self._operations())

    def loss_sums(self, row: Tensor, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        total = torch.zeros(row.shape[0], dtype=torch.float64)
        count = torch.zeros_like(total)
        for x, y in slices(EVALUATED_AT_ONCE, tokens, targets):
            self._call(row, x.shape).evaluate(row, x, y, total, count, self._operations())
        return total, count

    def _views(self, row: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Table [E, V width], start [E, width], the head's weight [E, S, width] and bias."""
        table, start, weight, bias = (row[:, where] for where in self._where)
        weight = weight.unflatten(1, (self.shape.n_outputs, self.padded))
        return table, start[:, : self.width], weight[..., : self.width], bias

    def _operations(self) -> float:
        return 6.0 * self.width * (self.parts + self.shape.n_outputs)

    def _call(self, row: Tensor, batch: Sequence[int]) -> Call:
        kernel = kernel_for("turning", row)
        assert kernel is not None, "whoever calls this asked before"
        h, V, S = self.padded, self.shape.n_inputs, self.shape.n_outputs
        Et, B, T = batch
        W, wide, n = self.shape.window(T), padded(S), self.width // self.parts
        buffers = self._workspace.group(("kernel", Et, B, T), row)

        def make() -> Call:
            sizes = [T, B, W, h, V, S, n, self.parts, Et, self._size, lying(self.shape, T)]
            integers = [torch.empty(T, B, dtype=torch.int64), torch.empty(W, B, dtype=torch.int64)]
            scratch = [
                row.new_empty(size)
                for size in (
                    (T + 1) * B * h,  # states
                    W * B * h,  # their gradients, of which the head gives these
                    B * h,
                    V * self.width,  # a part of the table's gradient
                    h * wide,  # the head turned round
                    W * B * wide,  # logits
                    3 * W * B,
                )
            ]
            return Call(kernel, [*sizes, *[0] * 6, *integers, *scratch], 14)

        return buffers.views("call", make)
