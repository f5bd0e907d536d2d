"""A whole step of an LSTM, one member after another: forward, loss, backward.

States lie as rows, [T + 1, B, h]: the table of the input's part of the gates is gathered row by row, and no
product but that with W_hh is left. One member's activations stay in the cache. Gates stand in the order
output, input, forget, cell. ``runners.models.lstm`` is the same in torch, and the reference.
"""

from __future__ import annotations

import numpy as np

from runners.kernels.batches import lay_out
from runners.kernels.codes import EVALUATE
from runners.kernels.losses import head_of
from runners.kernels.vector import (
    WIDE,
    at,
    doubles,
    floats,
    gemm,
    integers,
    kept,
    pack_transposed,
    sigmoid,
    tanh,
    zero,
)


@kept
def forward(w, tokens, T, B, h, V, packed, table, gates, states, cells, squashed):
    """States [T + 1, B, h] from parameters w; gates [T, B, 4h], cells [T + 1, B, h] and their tanh are kept.

    ``packed`` and ``table`` are scratch, [4h h] and [V, 4h]."""
    w_ih = at(w, V * h)
    w_hh = at(w_ih, 4 * h * h)
    b_ih = at(w_hh, 4 * h * h)
    b_hh = at(b_ih, 4 * h)
    pack_transposed(w_ih, 4 * h, h, packed)
    for v in range(V):
        for j in range(4 * h):
            table[v * 4 * h + j] = b_ih[j] + b_hh[j]
    gemm(w, h, 1, packed, WIDE, WIDE * h, table, 4 * h, V, 4 * h, h, 1)
    pack_transposed(w_hh, 4 * h, h, packed)
    for i in range(B * h):
        states[i] = np.float32(0.0)
        cells[i] = np.float32(0.0)
    for t in range(T):
        g = at(gates, t * B * 4 * h)
        state, following = at(states, t * B * h), at(states, (t + 1) * B * h)
        cell, new_cell, flat = at(cells, t * B * h), at(cells, (t + 1) * B * h), at(squashed, t * B * h)
        for b in range(B):
            row = at(g, b * 4 * h)
            token = tokens[t * B + b]
            if token >= 0:
                read = at(table, token * 4 * h)
                for j in range(4 * h):
                    row[j] = read[j]
            else:
                for j in range(4 * h):
                    row[j] = np.float32(0.0)
        gemm(state, h, 1, packed, WIDE, WIDE * h, g, 4 * h, B, 4 * h, h, 1)
        for b in range(B):
            row = at(g, b * 4 * h)
            o, i, f, c = row, at(row, h), at(row, 2 * h), at(row, 3 * h)
            k = b * h
            for j in range(h):
                out, into, forget, candidate = sigmoid(o[j]), sigmoid(i[j]), sigmoid(f[j]), tanh(c[j])
                new = forget * cell[k + j] + into * candidate
                flattened = tanh(new)
                o[j] = out
                i[j] = into
                f[j] = forget
                c[j] = candidate
                new_cell[k + j] = new
                flat[k + j] = flattened
                following[k + j] = out * flattened


# Long: back through time, then what the sums over all steps give.
@kept
def backward(
    w, grad, tokens, T, B, W, h, V, table, gates, states, cells, squashed, d_states, d_cell, d_first, part
):
    """Gradients of all but the head from d_states [W, B, h], which is used up, as gates are."""
    w_ih = at(w, V * h)
    w_hh = at(w_ih, 4 * h * h)
    d_embedding = grad
    d_w_ih = at(grad, V * h)
    d_w_hh = at(d_w_ih, 4 * h * h)
    d_b_ih = at(d_w_hh, 4 * h * h)
    d_b_hh = at(d_b_ih, 4 * h)
    one = np.float32(1.0)
    for i in range(B * h):
        d_cell[i] = np.float32(0.0)
    for t in range(T - 1, -1, -1):
        early = T - W
        d = at(d_states, (t - early) * B * h) if t >= early else at(d_first, (t % 2) * B * h)
        g = at(gates, t * B * 4 * h)
        cell, flat = at(cells, t * B * h), at(squashed, t * B * h)
        for b in range(B):
            row = at(g, b * 4 * h)
            o, i, f, c = row, at(row, h), at(row, 2 * h), at(row, 3 * h)
            k = b * h
            for j in range(h):
                out, into, forget, candidate = o[j], i[j], f[j], c[j]
                flattened, above = flat[k + j], d[k + j]
                slope = d_cell[k + j] + above * out * (one - flattened * flattened)
                o[j] = above * flattened * (out * (one - out))
                i[j] = slope * candidate * (into * (one - into))
                f[j] = slope * cell[k + j] * (forget * (one - forget))
                c[j] = slope * into * (one - candidate * candidate)
                d_cell[k + j] = slope * forget
        if t > 0:
            earlier = (
                at(d_states, (t - 1 - early) * B * h) if t > early else at(d_first, ((t - 1) % 2) * B * h)
            )
            gemm(g, 4 * h, 1, w_hh, h, WIDE, earlier, h, B, h, 4 * h, 1 if t > early else 0)
    gemm(gates, 1, 4 * h, states, h, WIDE, d_w_hh, h, 4 * h, h, T * B, 0)
    zero(table, V * 4 * h)
    # Sums of a block, then of blocks: one chain of all rows would round more.
    some = 4 * V if V > 16 else 64
    for first in range(0, T * B, some):
        last = first + some if first + some < T * B else T * B
        zero(part, V * 4 * h)
        for r in range(first, last):
            token = tokens[r]
            if token >= 0:
                into, row = at(part, token * 4 * h), at(gates, r * 4 * h)
                for j in range(4 * h):
                    into[j] += row[j]
        for i in range(V * 4 * h):
            table[i] += part[i]
    for j in range(4 * h):
        d_b_ih[j] = np.float32(0.0)
    for v in range(V):
        for j in range(4 * h):
            d_b_ih[j] += table[v * 4 * h + j]
    for j in range(4 * h):
        d_b_hh[j] = d_b_ih[j]
    gemm(table, 1, 4 * h, w, h, WIDE, d_w_ih, h, 4 * h, h, V, 0)
    gemm(table, 4 * h, 1, w_ih, h, WIDE, d_embedding, h, V, h, 4 * h, 0)


def run(args):
    """A training step of members first..last-1 or their evaluation: see ``runners.models.lstm``."""
    what, first, last, T, B, W, h, V, S, members, stride, how = (
        args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7], args[8], args[9], args[10],
        args[11],
    )  # fmt: skip
    params, grads, losses, counts = floats(args, 12), floats(args, 13), floats(args, 14), doubles(args, 15)
    totals, all_tokens, all_targets = doubles(args, 14), integers(args, 16), integers(args, 17)
    tokens, wanted, packed, table = integers(args, 18), integers(args, 19), floats(args, 20), floats(args, 21)
    gates, states, cells, squashed = floats(args, 22), floats(args, 23), floats(args, 24), floats(args, 25)
    d_states, d_cell, d_first = floats(args, 26), floats(args, 27), floats(args, 28)
    turned, logits, scratch, part = floats(args, 29), floats(args, 30), floats(args, 31), floats(args, 32)
    to_head = V * h + 8 * h * h + 8 * h
    for e in range(first, last):
        w = at(params, e * stride)
        lay_out(all_tokens, all_targets, e if members > 1 else 0, B, T, W, how, tokens, wanted)
        forward(w, tokens, T, B, h, V, packed, table, gates, states, cells, squashed)
        seen, rows = at(states, (T - W + 1) * B * h), W * B
        grad = at(grads, e * stride)
        head_of(
            what, e, w, grad, to_head, seen, rows, h, S, turned, logits, wanted, scratch, losses, totals,
            counts, d_states,
        )  # fmt: skip
        if what == EVALUATE:
            continue
        backward(
            w,
            grad,
            tokens,
            T,
            B,
            W,
            h,
            V,
            table,
            gates,
            states,
            cells,
            squashed,
            d_states,
            d_cell,
            d_first,
            part,
        )
        for i in range(to_head + S * h + S, stride):
            grad[i] = np.float32(0.0)
