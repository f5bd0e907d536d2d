"""The sLSTM's cell of one head: gates in the order input, forget, cell, output.

``runners.models.gated`` is the same in torch, and the reference. The two sums are kept over exp(m), m the
larger exponent so far; what they are to each other does not depend on m, nor has it a gradient.
"""

from __future__ import annotations

import numpy as np

from runners.kernels.codes import CELLS
from runners.kernels.recurrent import step_of
from runners.kernels.vector import at, exp, kept, log1p, sigmoid, tanh


@kept
def advance(g, tokens, B, h, _state, following, held, following_held):
    """Held are the sums c and n and the exponent m before a step, and 1 - sig(f) of it. n is zero before the
    first token, and from it on at least one.
    """
    n_from, m_from, leaves = at(held, B * h), at(held, 2 * B * h), at(held, 3 * B * h)
    n_to, m_to = at(following_held, B * h), at(following_held, 2 * B * h)
    for b in range(B):
        row = at(g, b * 4 * h)
        i, f, z, o = row, at(row, h), at(row, 2 * h), at(row, 3 * h)
        k = b * h
        if tokens[b] < 0:
            for j in range(h):
                following_held[k + j] = held[k + j]
                n_to[k + j] = n_from[k + j]
                m_to[k + j] = m_from[k + j]
                leaves[k + j] = np.float32(0.0)
                following[k + j] = np.float32(0.0)
            continue
        for j in range(h):
            forget = f[j]
            # log sig(f), from the side on which nothing is lost.
            size = forget if forget > np.float32(0.0) else -forget
            below = forget if forget < np.float32(0.0) else np.float32(0.0)
            before = below - log1p(exp(-size)) + m_from[k + j]
            begun = n_from[k + j] > np.float32(0.0)
            m = before if begun and before > i[j] else i[j]
            gain = exp(i[j] - m)
            keep = exp(before - m) if begun else np.float32(0.0)
            leaves[k + j] = sigmoid(-forget)
            new, out = tanh(z[j]), sigmoid(o[j])
            c = keep * held[k + j] + gain * new
            n = keep * n_from[k + j] + gain
            i[j] = gain
            f[j] = keep
            z[j] = new
            o[j] = out
            following_held[k + j] = c
            n_to[k + j] = n
            m_to[k + j] = m
            following[k + j] = out * (c / n)


@kept
def slopes(g, B, h, _state, held, d, carried, _earlier):
    """Carried are the gradients of c and n. Where n stays zero there was no token."""
    one = np.float32(1.0)
    n_from, leaves = at(held, B * h), at(held, 3 * B * h)
    c_to = at(held, 4 * B * h)
    n_to, d_n = at(c_to, B * h), at(carried, B * h)
    for b in range(B):
        row = at(g, b * 4 * h)
        i, f, z, o = row, at(row, h), at(row, 2 * h), at(row, 3 * h)
        k = b * h
        for j in range(h):
            there = n_to[k + j] != np.float32(0.0)
            n = n_to[k + j] if there else one
            gain, keep, new, out, above = i[j], f[j], z[j], o[j], d[k + j]
            read = c_to[k + j] / n
            slope = above * out / n
            of_c = carried[k + j] + slope
            of_n = d_n[k + j] - slope * read
            i[j] = (of_c * new + of_n) * gain
            f[j] = (of_c * held[k + j] + of_n * n_from[k + j]) * keep * leaves[k + j]
            z[j] = of_c * gain * (one - new * new)
            o[j] = above * read * (out * (one - out))
            carried[k + j] = of_c * keep if there else np.float32(0.0)
            d_n[k + j] = of_n * keep if there else np.float32(0.0)


run = step_of(CELLS["slstm"], advance, slopes)
