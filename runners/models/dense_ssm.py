"""The bilinear RNN: h_t = A(x_t) h_{t-1} with A linear in the token's embedding, no additive term,
h_0 learned.

A(x) depends on the token alone, so it is computed once per token of the vocabulary and step. What is left is
the product of each state with the transition of its token, in one of two ways: see ``dense_one_hot`` and
``dense_rows``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import torch
from torch import Tensor

from runners.kernels.codes import PANEL, padded
from runners.models import batch as batches
from runners.models import dense_one_hot, dense_rows
from runners.models.batch import Frame
from runners.models.layout import Layout, flat, gaussian
from runners.models.matmul import Matmul
from runners.models.native import Call, kernel_for, lying
from runners.models.recurrent import Recurrent, Views
from runners.models.shape import Shape
from runners.models.workspace import Buffers
from runners.spec import DenseSSM

GROUPED_FROM = 24
"""Hidden size from which grouping pays in any vocabulary; and from half as many tokens in any hidden size."""


class DenseSSMModel(Recurrent):
    """Parameters: ``embedding`` [V, d] from N(0, 1); ``transition`` [d, h, h] with A(x)[out, in] = sum_k
    embedding[x, k] transition[k, in, out], from N(0, init_scale^2 / (d h)), so that the entries of A(x) have
    variance init_scale^2 / h; ``h0`` [h] from N(0, 1), so that the state's entries are of order one at every
    step; the head as torch.nn.Linear."""

    def __init__(self, spec: DenseSSM, shape: Shape) -> None:
        h, d, V, S = spec.hidden, spec.embedding, shape.n_inputs, shape.n_outputs
        layout = Layout(
            {
                "embedding": ((V, d), gaussian(1.0)),
                "transition": ((d, h, h), gaussian(spec.init_scale / sqrt(d * h))),
                "h0": ((h,), gaussian(1.0)),
                "head.weight": ((S, h), flat(1 / sqrt(h))),
                "head.bias": ((S,), flat(1 / sqrt(h))),
            }
        )
        self._may_group = h >= GROUPED_FROM or 2 * V >= GROUPED_FROM
        super().__init__(shape, h, layout, (V, d), free=self._may_group)
        self.d = d

    def _call(self, params: Tensor, shape: Sequence[int]) -> Call | None:
        h, d, V, S = self.hidden, self.d, self.n_inputs, self.n_outputs
        kernel = None if self.shape.half else kernel_for("dense_ssm", params, h)
        if kernel is None:
            return None
        Et, B, T = shape
        W, wide, panels = self.shape.window(T), padded(S), padded(h, PANEL)
        buffers = self._workspace.group(("kernel", Et, B, T), params)

        def make() -> Call:
            sizes = [T, B, W, h, V, S, d, Et, self.n_parameters, lying(self.shape, T)]
            integers = [torch.empty(n, dtype=torch.int64) for n in (T * B, W * B, T * B, T * (V + 2))]
            scratch = [
                params.new_empty(n)
                for n in (
                    V * h * h,  # transitions
                    V * panels * h,  # and turned round
                    V * h * h,  # their gradients
                    (T + 1) * B * h,  # states
                    (T + 1) * B * h,  # their gradients
                    W * B * h,  # of which the head gives these
                    T * B * h,  # a group
                    T * B * h,  # what becomes of it
                    h * wide,  # the head turned round
                    W * B * wide,  # logits
                    3 * W * B,
                )
            ]
            return Call(kernel, [*sizes, *[0] * 6, *integers, *scratch], 13, 6.0 * h**2)

        return buffers.views("call", make)

    def _parts(self, batch: Frame, params: Tensor, *, training: bool = False) -> list[tuple[int, int, Frame]]:
        T, Et, B = batch.tokens.shape
        step, whole = batches.capacity(self.n_inputs, B), batches.capacity(self.n_inputs, T * B)
        enough = whole if training else step
        if not self._may_group or enough is None or self.sequential_on_cpu or params.device.type != "cpu":
            return super()._parts(batch, params)
        fits, ranks, order = [True] * Et, None, None
        if step is not None:
            ranks = batches.ranks(batch.tokens, self.n_inputs)
            fits = (ranks.amax((0, 2)) < step).tolist()
        if training and whole is not None:
            order = batches.Order.of(batch.tokens, self.n_inputs)
            fits = [a and b for a, b in zip(fits, order.fits(whole), strict=True)]
        if Et == 1:
            fits = fits * params.shape[0]
        parts, start = [], 0
        for e in range(1, len(fits) + 1):
            if e == len(fits) or fits[e] != fits[start]:
                part = batch.members(start, e)
                if fits[start]:
                    own_ranks = ranks if ranks is None or Et == 1 else ranks[:, start:e]
                    part = replace(part, ranks=own_ranks, order=order and order.members(start, e))
                parts.append((start, e, part))
                start = e
        return parts

    def _weights(self, views: Views, buffers: Buffers, matmul: Matmul) -> Views:
        E, h, V = views["h0"].shape[0], self.hidden, self.n_inputs
        transition = views["transition"].view(E, self.d, h * h)
        A = matmul(views["embedding"], transition, buffers("A", E, V, h * h)).view(E, V, h, h)
        return {"A": A, **views}

    def _run(
        self, w: Views, batch: Frame, buffers: Buffers, matmul: Matmul, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if batch.ranks is not None or batch.order is not None:
            return dense_rows.run(w["A"], w["h0"], batch, buffers, matmul)
        return dense_one_hot.run(w["A"], w["h0"], batch, buffers, matmul, state)

    def _back(
        self, w: Views, batch: Frame, buffers: Buffers, matmul: Matmul, d_states: Tensor, grads: Views
    ) -> None:
        E, h, V = w["h0"].shape[0], self.hidden, self.n_inputs
        back = dense_one_hot.back if batch.order is None else dense_rows.back
        d_A, d_h0 = back(w["A"], batch, buffers, matmul, d_states)
        grads["h0"].copy_(d_h0)
        d_A = d_A.view(E, V, h * h)
        transition = w["transition"].view(E, self.d, h * h)
        matmul.into(grads["transition"].view(E, self.d, h * h), w["embedding"].transpose(1, 2), d_A)
        matmul.into(grads["embedding"], d_A, transition.transpose(1, 2))
