"""The GRU's cell, as torch.nn.GRU: reset and update gate, what the reset gate multiplies, the candidate.

``runners.models.gated`` is the same in torch, and the reference.
"""

from __future__ import annotations

import numpy as np

from runners.kernels.codes import CELLS
from runners.kernels.recurrent import step_of
from runners.kernels.vector import at, kept, sigmoid, tanh


@kept
def advance(g, tokens, B, h, state, following, _held, _following_held):
    """Without a token the state stays as it is: the update gate is one."""
    for b in range(B):
        row = at(g, b * 4 * h)
        r, z, own, n = row, at(row, h), at(row, 2 * h), at(row, 3 * h)
        before, after = at(state, b * h), at(following, b * h)
        if tokens[b] < 0:
            for j in range(h):
                r[j] = np.float32(0.0)
                z[j] = np.float32(1.0)
                own[j] = np.float32(0.0)
                n[j] = np.float32(0.0)
                after[j] = before[j]
            continue
        for j in range(h):
            reset, update = sigmoid(r[j]), sigmoid(z[j])
            candidate = tanh(n[j] + reset * own[j])
            r[j] = reset
            z[j] = update
            n[j] = candidate
            after[j] = candidate + update * (before[j] - candidate)


@kept
def slopes(g, B, h, state, _held, d, _carried, earlier):
    """Nothing is carried beside the state's gradient."""
    one = np.float32(1.0)
    for b in range(B):
        row = at(g, b * 4 * h)
        r, z, own, n = row, at(row, h), at(row, 2 * h), at(row, 3 * h)
        k = b * h
        for j in range(h):
            reset, update, candidate, above = r[j], z[j], n[j], d[k + j]
            slope = above * (one - update) * (one - candidate * candidate)
            r[j] = slope * own[j] * (reset * (one - reset))
            z[j] = above * (state[k + j] - candidate) * (update * (one - update))
            own[j] = slope * reset
            n[j] = slope
            earlier[k + j] += above * update


run = step_of(CELLS["gru"], advance, slopes, leaks=True)
