"""A whole step of the bilinear RNN, one member after another: forward, loss, backward.

States lie as rows, [T + 1, B, h]. The sequences of a step that read the same token are gathered, multiplied
by its transition, and put back; groups have the sizes that the data gives them.
``runners.models.dense_ssm`` is the same in torch, and the reference.
"""

from __future__ import annotations

from runners.kernels.batches import lay_out
from runners.kernels.codes import EVALUATE
from runners.kernels.losses import head_of
from runners.kernels.vector import (
    WIDE,
    at,
    dot,
    doubles,
    floats,
    gemm,
    integers,
    kept,
    pack_transposed,
    take,
    zero,
)

PART = 1024
"""Columns of the table of transitions that are worked on at once."""


@kept
def combine(a, a_row, a_k, b, c, m, n, k):
    """c [m, n] = a [m, k] times b [k, n] for few rows or few terms: each entry of b and c passes once."""
    for first in range(0, n, PART):
        width = PART if n - first > PART else n - first
        for i in range(m):
            out = at(c, i * n + first)
            zero(out, width)
            term = 0
            while term + 4 <= k:
                w, x = a[i * a_row + term * a_k], a[i * a_row + (term + 1) * a_k]
                y, z = a[i * a_row + (term + 2) * a_k], a[i * a_row + (term + 3) * a_k]
                p, q = at(b, term * n + first), at(b, (term + 1) * n + first)
                r, s = at(b, (term + 2) * n + first), at(b, (term + 3) * n + first)
                for j in range(width):
                    out[j] += (w * p[j] + x * q[j]) + (y * r[j] + z * s[j])
                term += 4
            while term < k:
                w, p = a[i * a_row + term * a_k], at(b, term * n + first)
                for j in range(width):
                    out[j] += w * p[j]
                term += 1


@kept
def group(tokens, T, B, V, order, starts):
    """The sequences of each step by token, those without one first: order [T, B], starts [T, V + 2]."""
    for t in range(T):
        begin, own = at(starts, t * (V + 2)), at(tokens, t * B)
        for v in range(V + 2):
            begin[v] = 0
        for b in range(B):
            begin[own[b] + 2] += 1 if own[b] + 2 < V + 2 else 0
        for v in range(1, V + 2):
            begin[v] += begin[v - 1]
        # Now begin[v + 1] is where the group of v starts; it moves on to its end as the group is filled.
        for b in range(B):
            place = begin[own[b] + 1]
            order[t * B + place] = b
            begin[own[b] + 1] = place + 1
        for v in range(V + 1, 0, -1):
            begin[v] = begin[v - 1]
        begin[0] = 0


@kept
def put(x, order, count, h, out):
    """The rows of out that order names = x [count, h]."""
    for i in range(count):
        row, into = at(x, i * h), at(out, order[i] * h)
        for j in range(h):
            into[j] = row[j]


@kept
def move(first, T, B, h, V, order, starts, A, states, read, made):
    """States [T + 1, B, h] from the first one [h] and the transitions A [V, in, out]."""
    for b in range(B):
        for j in range(h):
            states[b * h + j] = first[j]
    for t in range(T):
        begin = at(starts, t * (V + 2))
        state, following, own = at(states, t * B * h), at(states, (t + 1) * B * h), at(order, t * B)
        take(state, own, begin[1], h, read)
        put(read, own, begin[1], h, following)
        for v in range(V):
            some, count = at(own, begin[v + 1]), begin[v + 2] - begin[v + 1]
            if count > 0:
                take(state, some, count, h, read)
                gemm(read, h, 1, at(A, v * h * h), h, WIDE, made, h, count, h, h, 0)
                put(made, some, count, h, following)


@kept
def forward(w, T, B, h, V, d, order, starts, A, states, read, made):
    """States [T + 1, B, h] from parameters w; the transitions A [V, in, out] are kept."""
    table = at(w, V * d)
    combine(w, d, 1, table, A, V, h * h, d)
    move(at(table, d * h * h), T, B, h, V, order, starts, A, states, read, made)


@kept
def move_back(
    T, B, W, h, V, order, starts, A, turned, dA, states, slopes, d_states, read, made, d_first
):  # fmt: skip
    """Gradients dA and d_first from d_states [W, B, h]; slopes [T + 1, B, h] is scratch."""
    panel = (h + WIDE - 1) // WIDE * WIDE * h
    for v in range(V):
        pack_transposed(at(A, v * h * h), h, h, at(turned, v * panel))
    # The gradient of the state after step t stands at t + 1.
    for i in range(B * h):
        slopes[T * B * h + i] = d_states[(W - 1) * B * h + i]
    for t in range(T - 1, -1, -1):
        begin = at(starts, t * (V + 2))
        slope, earlier, own = at(slopes, (t + 1) * B * h), at(slopes, t * B * h), at(order, t * B)
        take(slope, own, begin[1], h, read)
        put(read, own, begin[1], h, earlier)
        for v in range(V):
            some, count = at(own, begin[v + 1]), begin[v + 2] - begin[v + 1]
            if count > 0:
                take(slope, some, count, h, read)
                gemm(read, h, 1, at(turned, v * panel), WIDE, WIDE * h, made, h, count, h, h, 0)
                put(made, some, count, h, earlier)
        if t > T - W:
            given = at(d_states, (t - 1 - (T - W)) * B * h)
            for i in range(B * h):
                earlier[i] += given[i]
    zero(dA, V * h * h)
    for v in range(V):
        n = 0
        for t in range(T):
            begin, own = at(starts, t * (V + 2)), at(order, t * B)
            some, count = at(own, begin[v + 1]), begin[v + 2] - begin[v + 1]
            take(at(states, t * B * h), some, count, h, at(read, n * h))
            take(at(slopes, (t + 1) * B * h), some, count, h, at(made, n * h))
            n += count
        if n > 0:
            gemm(read, 1, h, made, h, WIDE, at(dA, v * h * h), h, h, h, n, 0)
    zero(d_first, h)
    for b in range(B):
        for j in range(h):
            d_first[j] += slopes[b * h + j]


@kept
def backward(w, grad, T, B, W, h, V, d, order, starts, A, turned, dA, states, slopes, d_states, read, made):
    """Gradients of all but the head from d_states [W, B, h]; slopes [T + 1, B, h] is scratch."""
    table, d_table = at(w, V * d), at(grad, V * d)
    move_back(
        T, B, W, h, V, order, starts, A, turned, dA, states, slopes, d_states, read, made,
        at(d_table, d * h * h),
    )  # fmt: skip
    combine(w, 1, d, dA, d_table, d, h * h, V)
    zero(grad, V * d)
    for first in range(0, h * h, 4 * PART):
        width = 4 * PART if h * h - first > 4 * PART else h * h - first
        for i in range(d):
            for v in range(V):
                grad[v * d + i] += dot(at(dA, v * h * h + first), at(table, i * h * h + first), width)


def run(args):
    """A training step of members first..last-1 or their evaluation."""
    what, first, last, T, B, W, h, V, S, d, members, stride, how = (
        args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7], args[8], args[9], args[10],
        args[11], args[12],
    )  # fmt: skip
    params, grads, losses, counts = floats(args, 13), floats(args, 14), floats(args, 15), doubles(args, 16)
    totals, all_tokens, all_targets = doubles(args, 15), integers(args, 17), integers(args, 18)
    tokens, wanted, order, starts = (
        integers(args, 19),
        integers(args, 20),
        integers(args, 21),
        integers(args, 22),
    )
    A, turned, dA, states = floats(args, 23), floats(args, 24), floats(args, 25), floats(args, 26)
    slopes, d_states, read, made = floats(args, 27), floats(args, 28), floats(args, 29), floats(args, 30)
    head_turned, logits, scratch = floats(args, 31), floats(args, 32), floats(args, 33)
    to_head = V * d + d * h * h + h
    for e in range(first, last):
        w = at(params, e * stride)
        lay_out(all_tokens, all_targets, e if members > 1 else 0, B, T, W, how, tokens, wanted)
        group(tokens, T, B, V, order, starts)
        forward(w, T, B, h, V, d, order, starts, A, states, read, made)
        seen, rows = at(states, (T - W + 1) * B * h), W * B
        grad = at(grads, e * stride)
        head_of(
            what, e, w, grad, to_head, seen, rows, h, S, head_turned, logits, wanted, scratch, losses, totals,
            counts, d_states,
        )  # fmt: skip
        if what == EVALUATE:
            continue
        backward(
            w, grad, T, B, W, h, V, d, order, starts, A, turned, dA, states, slopes, d_states, read, made
        )
        zero(at(grad, to_head + S * h + S), stride - to_head - S * h - S)
