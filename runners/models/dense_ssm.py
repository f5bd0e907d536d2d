"""The bilinear RNN: h_t = A(x_t) h_{t-1} with A linear in the token's embedding, no additive term, h_0 learned.

A(x) depends on the token alone, so it is computed once per token of the vocabulary and step. With the transitions side by
side, [A(0) A(1) ...], and the state multiplied by the token's one-hot vector (so that it stands in the rows of its token
and zeros stand elsewhere), a step of all B sequences is one product of matrices, and so is the sum over steps and sequences
that makes the gradient of every A(x).
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from runners.models.frame import Frame, one_hot_
from runners.models.gemm import Gemm
from runners.models.layout import Layout, flat, gaussian
from runners.models.recurrent import Recurrent, Views
from runners.models.shape import Shape
from runners.models.workspace import Buffers
from runners.spec import DenseSSM


class DenseSSMModel(Recurrent):
    """Parameters: ``embedding`` [V, d] from N(0, 1); ``transition`` [d, h, h] with A(x)[out, in] = sum_k embedding[x, k]
    transition[k, in, out], from N(0, init_scale^2 / (d h)), so that the entries of A(x) have variance init_scale^2 / h;
    ``h0`` [h] from N(0, 1), so that the state's entries are of order one at every step; the head as torch.nn.Linear."""

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
        super().__init__(shape, h, layout, min(d, V))
        self.d = d

    def _weights(self, views: Views, buffers: Buffers, gemm: Gemm) -> Views:
        E, h, V = views["h0"].shape[0], self.hidden, self.n_inputs
        # One row more than the transitions have: where a sequence begins late, its state until then is h0.
        forward = buffers("forward", E, V * h + 1, h)
        transition = views["transition"].view(E, self.d, h * h)
        A = gemm(views["embedding"], transition, buffers("A", E, V, h * h)).view(E, V, h, h)
        forward[:, : V * h].copy_(A.view(E, V * h, h))
        forward[:, V * h].copy_(views["h0"])
        backward = buffers("backward", E, h, V, h).copy_(A.transpose(1, 2)).view(E, h, V * h)
        return {"forward": forward, "backward": backward, "h0": views["h0"], **views}

    def _run(self, w: Views, batch: Frame, buffers: Buffers, gemm: Gemm, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        T, Et, B = batch.tokens.shape
        E, h, V = w["h0"].shape[0], self.hidden, self.n_inputs
        Bp = self._columns(B)
        mask = buffers("mask", T, Et, V, Bp)
        one_hot_(mask, batch.tokens)
        spread = buffers("spread", T, E, V * h + 1, Bp)
        if batch.before:
            spread[:, :, V * h, :B].copy_(batch.tokens < 0)
        operand = w["forward"].transpose(1, 2) if batch.before else w["forward"][:, : V * h].transpose(1, 2)
        rows = V * h + 1 if batch.before else V * h
        states = buffers("states", T, E, h, Bp)
        previous = w["h0"].unsqueeze(-1) if state is None else state
        for t in range(T):
            by_token = spread[t, :, : V * h].view(E, V, h, Bp)
            torch.mul(previous.unsqueeze(1), mask[t].unsqueeze(2), out=by_token)
            previous = gemm(operand, spread[t, :, :rows], states[t])
        return states, states[-1].clone()

    def _back(self, w: Views, batch: Frame, buffers: Buffers, gemm: Gemm, d_states: Tensor, grads: Views) -> None:
        W, E, h, Bp = d_states.shape
        T, V = batch.tokens.shape[0], self.n_inputs
        mask, spread = buffers("mask", T, batch.tokens.shape[1], V, Bp), buffers("spread", T, E, V * h + 1, Bp)
        by_token = buffers("by_token", E, V, h, Bp)
        rows = V * h + 1 if batch.before else V * h
        d_forward = buffers("d_forward", E, rows, h).zero_()
        d = d_states[W - 1]
        for t in range(T - 1, -1, -1):
            gemm.add_(d_forward, spread[t, :, :rows], d.transpose(1, 2))
            torch.mul(d.unsqueeze(1), mask[t].unsqueeze(2), out=by_token)
            earlier = t - 1 - (T - W)
            if earlier >= 0:
                d = gemm.add_(d_states[earlier], w["backward"], by_token.view(E, V * h, Bp))
            else:
                d = gemm(w["backward"], by_token.view(E, V * h, Bp), buffers(f"d{t % 2}", E, h, Bp))
        d_h0 = d.sum(-1)
        grads["h0"].copy_(d_h0 + d_forward[:, V * h] if batch.before else d_h0)
        d_A = d_forward[:, : V * h].reshape(E, V, h * h)
        transition = w["transition"].view(E, self.d, h * h)
        gemm.into(grads["transition"].view(E, self.d, h * h), w["embedding"].transpose(1, 2), d_A)
        gemm.into(grads["embedding"], d_A, transition.transpose(1, 2))
