"""One LSTM layer (Hochreiter, Schmidhuber 1997, with forget gates, as torch.nn.LSTM)
with input size = hidden size.

The vocabulary is small, so the input's part of the gates is a table: W_ih times every embedding, plus the
biases, once per step. The table stands beside W_hh in one matrix, and the token's one-hot column below the
state: a step is one product. Gates stand in the order output, input, forget, cell, so that the three sigmoids
are one block and so are the three gates whose gradient is a multiple of the cell's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from runners.interrupt import check_interrupt
from runners.models.batch import Frame, one_hot_
from runners.models.layout import Layout, constant, flat, gaussian
from runners.models.matmul import Matmul
from runners.models.native import Call, cell_call
from runners.models.recurrent import Recurrent, Views
from runners.models.shape import Shape
from runners.models.workspace import Buffers
from runners.spec import LSTM

TORCH_GATES = (3, 0, 1, 2)
"""Our gates (output, input, forget, cell) are these blocks of torch.nn.LSTM's weights (input, forget,
cell, output).
"""

WIDE = 512
"""Hidden size from which the weight gradient is one product over all steps:
too large for a cache to be added to at each.
"""

State = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class _Step:
    """Views of the work space at one time step, each [E, rows, B]."""

    read: Tensor
    """The state and, below it, the token's one-hot column."""
    read_rows: Tensor
    gates: Tensor
    sigmoids: Tensor
    output: Tensor
    input: Tensor
    forget: Tensor
    raw: Tensor
    """The candidate before its tanh."""
    factors: Tensor
    """What output, input and forget gate multiply: the next three."""
    squashed: Tensor
    candidate: Tensor
    cell: Tensor
    new_cell: Tensor
    new_state: Tensor

    @classmethod
    def of(cls, read: Tensor, gates: Tensor, factors: Tensor, t: int, h: int) -> _Step:
        g, k = gates[t], factors[t]
        return cls(
            read=read[t],
            read_rows=read[t].transpose(1, 2),
            gates=g,
            sigmoids=g[:, : 3 * h],
            output=g[:, :h],
            input=g[:, h : 2 * h],
            forget=g[:, 2 * h : 3 * h],
            raw=g[:, 3 * h :],
            factors=k,
            squashed=k[:, :h],
            candidate=k[:, h : 2 * h],
            cell=k[:, 2 * h :],
            new_cell=factors[t + 1, :, 2 * h :],
            new_state=read[t + 1, :, :h],
        )


class LSTMModel(Recurrent):
    """Parameters: ``embedding`` [V, h], ``w_ih`` and ``w_hh`` [4h, h], ``b_ih`` and ``b_hh`` [4h] (two, as in
    torch: under Adam a pair learns twice as fast as one), the head. By default as torch makes them: embedding
    N(0, 1), all else uniform in +-1/sqrt(h); with ``init_std`` weights and embedding N(0, init_std^2) and
    biases zero. h_0 = c_0 = 0."""

    def __init__(self, spec: LSTM, shape: Shape) -> None:
        h, V, S = spec.hidden, shape.n_inputs, shape.n_outputs
        std = spec.init_std
        weight = flat(1 / sqrt(h)) if std is None else gaussian(std)
        bias = flat(1 / sqrt(h)) if std is None else constant(0.0)
        layout = Layout(
            {
                "embedding": ((V, h), gaussian(1.0 if std is None else std)),
                "w_ih": ((4 * h, h), weight),
                "w_hh": ((4 * h, h), weight),
                "b_ih": ((4 * h,), bias),
                "b_hh": ((4 * h,), bias),
                "head.weight": ((S, h), weight),
                "head.bias": ((S,), bias),
            }
        )
        super().__init__(shape, h, layout, (V,), free=h >= WIDE)

    def _call(self, params: Tensor, shape: Sequence[int]) -> Call | None:
        return cell_call("lstm", self.shape, self.hidden, params, shape, self._workspace)

    def _weights(self, views: Views, buffers: Buffers, matmul: Matmul) -> Views:
        E, h, V = views["b_ih"].shape[0], self.hidden, self.n_inputs
        gates = buffers("weights", E, 4 * h, h + V)
        gates[:, :, :h].copy_(views["w_hh"])
        bias = (views["b_ih"] + views["b_hh"]).unsqueeze(-1)
        table = matmul.affine(
            bias, views["w_ih"], views["embedding"].transpose(1, 2), buffers("table", E, 4 * h, V)
        )
        gates[:, :, h:].copy_(table)
        return {"gates": gates, **views}

    def _run(
        self, w: Views, batch: Frame, buffers: Buffers, matmul: Matmul, state: State | None = None
    ) -> tuple[Tensor, State]:
        """A step without a token has gates of exactly zero while the state is zero, and leaves it zero:
        the cell's candidate is tanh(0). So a sequence may begin late."""
        T, _, B = batch.tokens.shape
        E, h, V = w["gates"].shape[0], self.hidden, self.n_inputs
        read = buffers("read", T + 1, E, h + V, B)
        one_hot_(read[:T, :, h:], batch.tokens.expand(T, E, B))
        gates = buffers("gates", T, E, 4 * h, B)
        # Planes of what the three sigmoids multiply: tanh(c_t), tanh(candidate), c_{t-1}.
        factors = buffers("factors", T + 1, E, 3 * h, B)
        if state is None:
            read[0, :, :h].zero_()
            factors[0, :, 2 * h :].zero_()
        else:
            read[0, :, :h].copy_(state[0])
            factors[0, :, 2 * h :].copy_(state[1])
        views = buffers.views("steps", lambda: [_Step.of(read, gates, factors, t, h) for t in range(T)])
        products = buffers.views(
            "products", lambda: [matmul.bound(s.gates, w["gates"], s.read) for s in views]
        )
        for s, product in zip(views, products, strict=True):
            check_interrupt()
            product()
            s.sigmoids.sigmoid_()
            torch.tanh(s.raw, out=s.candidate)
            torch.mul(s.forget, s.cell, out=s.new_cell)
            s.new_cell.addcmul_(s.input, s.candidate)
            torch.tanh(s.new_cell, out=s.squashed)
            torch.mul(s.output, s.squashed, out=s.new_state)
        states, cell = read[1:, :, :h], factors[T, :, 2 * h :]
        return states, (states[-1], cell) if batch.targets is not None else (states[-1].clone(), cell.clone())

    def _back(
        self, w: Views, batch: Frame, buffers: Buffers, matmul: Matmul, d_states: Tensor, grads: Views
    ) -> None:
        W, E, h, B = d_states.shape
        T, V = batch.tokens.shape[0], self.n_inputs
        read, gates = buffers("read", T + 1, E, h + V, B), buffers("gates", T, E, 4 * h, B)
        factors = buffers("factors", T + 1, E, 3 * h, B)
        slopes, cell_slope = buffers("slopes", E, 4 * h, B), buffers("cell_slope", E, h, B)
        d_cell = buffers("d_cell", E, h, B).zero_()
        d_weights = buffers("d_weights", E, 4 * h, h + V).zero_()
        every_slope = buffers("every_slope", E, 4 * h, T, B) if h >= WIDE else None
        recurrent = w["gates"][:, :, :h].transpose(1, 2)
        sigmoid_slope = torch.ops.aten.sigmoid_backward.grad_input
        tanh_slope = torch.ops.aten.tanh_backward.grad_input
        views = buffers.views("steps", lambda: [_Step.of(read, gates, factors, t, h) for t in range(T)])
        two, scratch = buffers("two", 2, E, h, B), buffers("scratch", E, h, B)

        def back() -> list[tuple[Callable[[], object], Tensor]]:
            """For each step but the first: the product that goes to, or is added to,
            the gradient of the state before it.
            """
            made = []
            for t in range(1, T):
                earlier = t - 1 - (T - W)
                into = d_states[earlier] if earlier >= 0 else two[t % 2]
                made.append((matmul.bound(into, recurrent, slopes, scratch if earlier >= 0 else None), into))
            return made

        products = buffers.views("products back", back)
        slope_out, slope_in, slope_candidate = slopes[:, :h], slopes[:, : 3 * h], slopes[:, 3 * h :]
        slope_cell, d_cell_3 = slopes[:, h:].view(E, 3, h, B), d_cell.unsqueeze(1)
        d = d_states[W - 1]
        for t in range(T - 1, -1, -1):
            check_interrupt()
            s = views[t]
            sigmoid_slope(s.factors, s.sigmoids, grad_input=slope_in)
            tanh_slope(s.input, s.candidate, grad_input=slope_candidate)
            tanh_slope(s.output, s.squashed, grad_input=cell_slope)
            d_cell.addcmul_(d, cell_slope)
            slope_out.mul_(d)
            slope_cell.mul_(d_cell_3)
            if every_slope is None:
                matmul.add_(d_weights, slopes, s.read_rows)
            else:
                every_slope[:, :, t].copy_(slopes)
            if t:
                d_cell.mul_(s.forget)
                product, d = products[t - 1]
                product()
        if every_slope is not None:
            every_row = buffers("every_row", E, T, B, h + V).copy_(read[:T].permute(1, 0, 3, 2))
            matmul(every_slope.view(E, 4 * h, T * B), every_row.view(E, T * B, h + V), d_weights)
        grads["w_hh"].copy_(d_weights[:, :, :h])
        d_table = buffers("table", E, 4 * h, V).copy_(d_weights[:, :, h:])
        d_bias = d_table.sum(-1)
        grads["b_ih"].copy_(d_bias)
        grads["b_hh"].copy_(d_bias)
        matmul.into(grads["w_ih"], d_table, w["embedding"])
        matmul.into(grads["embedding"], d_table.transpose(1, 2), w["w_ih"])
