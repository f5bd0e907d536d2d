"""The LSTM's cell: gates in the order output, input, forget, cell.

``runners.models.lstm`` is the same in torch, and the reference.
"""

from __future__ import annotations

import numpy as np

from runners.kernels.codes import CELLS
from runners.kernels.recurrent import step_of
from runners.kernels.vector import at, kept, sigmoid, tanh


@kept
def advance(g, _tokens, B, h, _state, following, held, following_held):
    """Of a step are held the cell before it and the tanh of that after it. Without a token all gates' sums
    are zero while the state is, and the state stays zero: the candidate is tanh(0).
    """
    flat = at(held, B * h)
    for b in range(B):
        row = at(g, b * 4 * h)
        o, i, f, c = row, at(row, h), at(row, 2 * h), at(row, 3 * h)
        k = b * h
        for j in range(h):
            out, into, forget, candidate = sigmoid(o[j]), sigmoid(i[j]), sigmoid(f[j]), tanh(c[j])
            new = forget * held[k + j] + into * candidate
            flattened = tanh(new)
            o[j] = out
            i[j] = into
            f[j] = forget
            c[j] = candidate
            following_held[k + j] = new
            flat[k + j] = flattened
            following[k + j] = out * flattened


@kept
def slopes(g, B, h, _state, held, d, carried, _earlier):
    """The gradient of the cell is what is carried."""
    one = np.float32(1.0)
    flat = at(held, B * h)
    for b in range(B):
        row = at(g, b * 4 * h)
        o, i, f, c = row, at(row, h), at(row, 2 * h), at(row, 3 * h)
        k = b * h
        for j in range(h):
            out, into, forget, candidate = o[j], i[j], f[j], c[j]
            flattened, above = flat[k + j], d[k + j]
            slope = carried[k + j] + above * out * (one - flattened * flattened)
            o[j] = above * flattened * (out * (one - out))
            i[j] = slope * candidate * (into * (one - into))
            f[j] = slope * held[k + j] * (forget * (one - forget))
            c[j] = slope * into * (one - candidate * candidate)
            carried[k + j] = slope * forget


run = step_of(CELLS["lstm"], advance, slopes)
