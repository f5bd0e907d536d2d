"""Recurrent networks with a state vector and a linear head: tanh RNN, GRU (Cho et al. 2014) and sLSTM (Beck
et al. 2024).

The input's part of every gate is a table over the vocabulary, made once per step. On a CPU's core they
train by a kernel of ``runners.kernels``.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from runners.interrupt import check_interrupt
from runners.models.autograd import WHOLE, Definition, Weights, linear, lookup
from runners.models.layout import Initial, flat, gaussian
from runners.models.shape import Shape

Parameters = dict[str, tuple[tuple[int, ...], Initial]]


def _parameters(shape: Shape, h: int, gates: int) -> Parameters:
    """As torch makes them: embedding N(0, 1), all else uniform in +-1/sqrt(h)."""
    weight = flat(1 / sqrt(h))
    return {
        "embedding": ((shape.n_inputs, h), gaussian(1.0)),
        "w_ih": ((gates * h, h), weight),
        "w_hh": ((gates * h, h), weight),
        "b_ih": ((gates * h,), weight),
        "b_hh": ((gates * h,), weight),
    }


def rnn(shape: Shape, hidden: int) -> Definition:
    """Define torch.nn.RNN with tanh: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), h_0 = 0."""

    def forward(w: Weights, tokens: Tensor) -> Tensor:
        read = lookup(linear(w["embedding"], w["w_ih"], w["b_ih"] + w["b_hh"]), tokens)
        recurrent = w["w_hh"].transpose(1, 2)
        h = read.new_zeros(*tokens.shape[:2], hidden)
        states = []
        for x in read.unbind(2):
            check_interrupt()
            h = torch.baddbmm(x, h, recurrent).tanh()
            states.append(h)
        return torch.stack(states, 2)

    return Definition(
        _parameters(shape, hidden, 1), forward, hidden, together=hidden % WHOLE == 0, cell="rnn"
    )


def gru(shape: Shape, hidden: int) -> Definition:
    """Define torch.nn.GRU (gates in its order r, z, n): r = sig(W_ir x + b_ir + W_hr h + b_hr), z likewise,
    n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h' = (1 - z) n + z h, h_0 = 0."""

    def forward(w: Weights, tokens: Tensor) -> Tensor:
        read = lookup(linear(w["embedding"], w["w_ih"], w["b_ih"]), tokens)
        recurrent, bias = w["w_hh"].transpose(1, 2), w["b_hh"].unsqueeze(1)
        h = read.new_zeros(*tokens.shape[:2], hidden)
        states = []
        for x in read.unbind(2):
            check_interrupt()
            own = torch.baddbmm(bias, h, recurrent)
            gates = (x[..., : 2 * hidden] + own[..., : 2 * hidden]).sigmoid()
            new = torch.addcmul(x[..., 2 * hidden :], gates[..., :hidden], own[..., 2 * hidden :]).tanh()
            h = torch.lerp(new, h, gates[..., hidden:])
            states.append(h)
        return torch.stack(states, 2)

    return Definition(
        _parameters(shape, hidden, 3), forward, hidden, together=hidden % WHOLE == 0, cell="gru"
    )


def slstm(shape: Shape, hidden: int) -> Definition:
    """Define the sLSTM of one head (gates in xlstm's order i, f, z, o): c' = sig(f) c + exp(i) tanh(z), n' =
    sig(f) n + exp(i), h = sig(o) c' / n'. Both sums are kept over exp(m) with m the larger exponent so
    far, which changes no value and overflows nowhere.
    """

    def forward(w: Weights, tokens: Tensor) -> Tensor:
        read = lookup(linear(w["embedding"], w["w_ih"], w["b_ih"]), tokens)
        recurrent = w["w_hh"].transpose(1, 2)
        c = n = h = read.new_zeros(*tokens.shape[:2], hidden)
        m = torch.full_like(h, -torch.inf)
        states = []
        for x in read.unbind(2):
            check_interrupt()
            i, f, z, o = torch.baddbmm(x, h, recurrent).chunk(4, -1)
            kept = logsigmoid(f) + m
            m = torch.maximum(kept, i)
            gain, keep = (i - m).exp(), (kept - m).exp()
            c = keep * c + gain * z.tanh()
            n = keep * n + gain
            h = o.sigmoid() * c / n
            states.append(h)
        return torch.stack(states, 2)

    found = _parameters(shape, hidden, 4)
    del found["b_hh"]
    return Definition(found, forward, hidden, together=hidden % WHOLE == 0, cell="slstm")
