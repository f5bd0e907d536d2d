"""The tanh RNN's cell, as torch.nn.RNN. ``runners.models.gated`` is the same in torch, and the reference."""

from __future__ import annotations

import numpy as np

from runners.kernels.codes import CELLS
from runners.kernels.recurrent import step_of
from runners.kernels.vector import kept, tanh


@kept
def advance(g, _tokens, B, h, _state, following, _held, _following_held):
    """Without a token a state of zero stays zero; the gate's place keeps the following state."""
    for i in range(B * h):
        new = tanh(g[i])
        g[i] = new
        following[i] = new


@kept
def slopes(g, B, h, _state, _held, d, _carried, _earlier):
    for i in range(B * h):
        g[i] = d[i] * (np.float32(1.0) - g[i] * g[i])


run = step_of(CELLS["rnn"], advance, slopes)
