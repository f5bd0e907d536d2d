"""A recurrence that is linear in its state, by the kernel of the dense SSM: a row of tables, start and head.

The way from a model's weights to that row is autograd's, and so is the way back.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from runners.models.dense_ssm import DenseSSMModel
from runners.models.layout import aligned
from runners.models.recurrent import Views
from runners.models.shape import Shape
from runners.spec import DenseSSM

Made = Callable[[Views], tuple[Tensor, Tensor]]
"""Weights -> (what a kernel reads of every token [E, V, ...], h_0 [E, h])."""


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
