"""A whole step of a recurrent cell, one member after another: forward, loss, backward.

A cell's parameters are the embedding [V, h], w_ih and w_hh [P h, h], b_ih and (but for a cell of one bias)
b_hh [P h], and the head. States lie as rows, [T + 1, B, h], and one row of G blocks of h numbers belongs to
each of them: what the state adds to, P blocks, and then what a gate reads of the input alone. The table of
such rows over the vocabulary is gathered row by row, and no product but that with w_hh is left. One member's
activations stay in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runners.kernels.batches import lay_out
from runners.kernels.codes import EVALUATE, Cell
from runners.kernels.losses import head_of
from runners.kernels.vector import WIDE, at, doubles, floats, gemm, integers, kept, pack_transposed, zero


# Long: three functions of one cell, whose numbers of blocks the compiler knows.
def step_of(cell: Cell, advance: Any, slopes: Any, *, leaks: bool = False) -> Callable[[Any], None]:
    """The kernel of a cell.

    Args:
        cell: how many blocks and planes it has.
        advance: (row of blocks [B, G h], tokens [B], B, h, state, following, kept, following kept): from the
            blocks' sums to the gates, which stay there, and the state after the step.
        slopes: (the same row, B, h, state, kept, d, carried, earlier): turns the gates into the gradients of
            their sums; d is the gradient of the following state, ``carried`` [planes of it, B, h] what the
            cell hands on from step to step, at first zero.
        leaks: the state goes into the following one without w_hh too, and ``slopes`` adds that gradient to
            ``earlier``.
    """
    joined, apart, planes = cell.joined, cell.apart, cell.planes
    P, G = cell.parameters, cell.blocks
    held_on, biases = cell.carried, cell.biases

    @kept
    def forward(w, tokens, T, B, h, V, packed, table, gates, states, memory):
        """States [T + 1, B, h] from parameters w; gates [T, B, G h] and ``memory`` are kept.

        ``packed`` and ``table`` are scratch, [P h h] and [V, G h]."""
        w_ih = at(w, V * h)
        w_hh = at(w_ih, P * h * h)
        b_ih = at(w_hh, P * h * h)
        b_hh = at(b_ih, P * h)
        pack_transposed(w_ih, P * h, h, packed)
        for v in range(V):
            row = at(table, v * G * h)
            for j in range(joined * h):
                row[j] = b_ih[j] + b_hh[j] if biases == 2 else b_ih[j]
            for j in range(apart * h):
                row[joined * h + j] = b_hh[joined * h + j]
                row[P * h + j] = b_ih[joined * h + j]
        gemm(w, h, 1, packed, WIDE, WIDE * h, table, G * h, V, joined * h, h, 1)
        if apart > 0:
            # A panel begins there: joined h is a multiple of WIDE.
            turned = at(packed, joined * h * h)
            gemm(w, h, 1, turned, WIDE, WIDE * h, at(table, P * h), G * h, V, apart * h, h, 1)
        pack_transposed(w_hh, P * h, h, packed)
        zero(states, B * h)
        zero(memory, planes * B * h)
        for t in range(T):
            g, now = at(gates, t * B * G * h), at(tokens, t * B)
            state, following = at(states, t * B * h), at(states, (t + 1) * B * h)
            for b in range(B):
                row = at(g, b * G * h)
                token = now[b]
                if token >= 0:
                    read = at(table, token * G * h)
                    for j in range(G * h):
                        row[j] = read[j]
                else:
                    zero(row, G * h)
            gemm(state, h, 1, packed, WIDE, WIDE * h, g, G * h, B, P * h, h, 1)
            held, following_held = at(memory, t * planes * B * h), at(memory, (t + 1) * planes * B * h)
            advance(g, now, B, h, state, following, held, following_held)

    @kept
    def backward(
        w, grad, tokens, T, B, W, h, V, table, gates, states, memory, d_states, carried, d_first, part
    ):
        """Gradients of all but the head from d_states [W, B, h], which is used up, as gates are."""
        w_ih = at(w, V * h)
        w_hh = at(w_ih, P * h * h)
        d_w_ih = at(grad, V * h)
        d_w_hh = at(d_w_ih, P * h * h)
        d_b_ih = at(d_w_hh, P * h * h)
        d_b_hh = at(d_b_ih, P * h)
        zero(carried, held_on * B * h)
        early = T - W
        for t in range(T - 1, -1, -1):
            d = at(d_states, (t - early) * B * h) if t >= early else at(d_first, (t % 2) * B * h)
            # Of the first state nobody wants the gradient: it goes where no other is.
            earlier = (
                at(d_states, (t - 1 - early) * B * h) if t > early else at(d_first, ((t + 1) % 2) * B * h)
            )
            if leaks and t <= early:
                zero(earlier, B * h)
            g, held = at(gates, t * B * G * h), at(memory, t * planes * B * h)
            slopes(g, B, h, at(states, t * B * h), held, d, carried, earlier)
            if t > 0:
                gemm(g, G * h, 1, w_hh, h, WIDE, earlier, h, B, h, P * h, 1 if leaks or t > early else 0)
        gemm(gates, 1, G * h, states, h, WIDE, d_w_hh, h, P * h, h, T * B, 0)
        zero(table, V * G * h)
        # Sums of a block, then of blocks: one chain of all rows would round more.
        some = 4 * V if V > 16 else 64
        for first in range(0, T * B, some):
            last = first + some if first + some < T * B else T * B
            zero(part, V * G * h)
            for r in range(first, last):
                token = tokens[r]
                if token >= 0:
                    into, row = at(part, token * G * h), at(gates, r * G * h)
                    for j in range(G * h):
                        into[j] += row[j]
            for i in range(V * G * h):
                table[i] += part[i]
        zero(d_b_ih, biases * P * h)
        sums = d_b_hh if biases == 2 else d_b_ih
        for v in range(V):
            row = at(table, v * G * h)
            for j in range(P * h):
                sums[j] += row[j]
            for j in range(apart * h):
                d_b_ih[joined * h + j] += row[P * h + j]
        for j in range(joined * h):
            d_b_ih[j] = sums[j]
        gemm(table, 1, G * h, w, h, WIDE, d_w_ih, h, joined * h, h, V, 0)
        gemm(table, G * h, 1, w_ih, h, WIDE, grad, h, V, h, joined * h, 0)
        if apart > 0:
            read, below = at(table, P * h), joined * h * h
            gemm(read, 1, G * h, w, h, WIDE, at(d_w_ih, below), h, apart * h, h, V, 0)
            gemm(read, G * h, 1, at(w_ih, below), h, WIDE, grad, h, V, h, apart * h, 1)

    def run(args):
        """A training step of members first..last-1 or their evaluation."""
        what, first, last, T, B, W, h, V, S = (
            args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7], args[8],
        )  # fmt: skip
        members, stride, how = args[9], args[10], args[11]
        params, grads, losses = floats(args, 12), floats(args, 13), floats(args, 14)
        counts = doubles(args, 15)
        totals, all_tokens, all_targets = doubles(args, 14), integers(args, 16), integers(args, 17)
        tokens, wanted, packed = integers(args, 18), integers(args, 19), floats(args, 20)
        table, part, gates = floats(args, 21), floats(args, 22), floats(args, 23)
        states, memory, d_states = floats(args, 24), floats(args, 25), floats(args, 26)
        carried, d_first = floats(args, 27), floats(args, 28)
        turned, logits, scratch = floats(args, 29), floats(args, 30), floats(args, 31)
        to_head = V * h + P * (2 * h * h + biases * h)
        for e in range(first, last):
            w = at(params, e * stride)
            lay_out(all_tokens, all_targets, e if members > 1 else 0, B, T, W, how, tokens, wanted)
            forward(w, tokens, T, B, h, V, packed, table, gates, states, memory)
            seen, rows = at(states, (T - W + 1) * B * h), W * B
            grad = at(grads, e * stride)
            head_of(
                what, e, w, grad, to_head, seen, rows, h, S, turned, logits, wanted, scratch, losses, totals,
                counts, d_states,
            )  # fmt: skip
            if what == EVALUATE:
                continue
            backward(
                w, grad, tokens, T, B, W, h, V, table, gates, states, memory, d_states, carried, d_first, part
            )
            zero(at(grad, to_head + S * h + S), stride - to_head - S * h - S)

    return run
