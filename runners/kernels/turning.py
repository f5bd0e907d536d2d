"""A whole step of a recurrence by factors: each number of the state is scaled, or each pair of them turned.

With one part, h_t = a(x_t) h_{t-1}. With two, the state's first half holds real parts, the second imaginary
ones, and a row of the table the cosines and the sines, which may be scaled. States lie as rows,
[T + 1, B, h], with zeros where h is more than the numbers there are. ``runners.models.linear_state`` is the
same in torch, and the reference.
"""

from __future__ import annotations

from runners.kernels.batches import lay_out
from runners.kernels.codes import EVALUATE
from runners.kernels.losses import head_of
from runners.kernels.vector import add_rows, at, doubles, fill_rows, floats, integers, kept, zero


@kept
def copy(x, n, out):
    for i in range(n):
        out[i] = x[i]


@kept
def forward(w, tokens, T, B, h, V, n, parts, states):
    """States [T + 1, B, h] from the table [V, parts n] and the start [h] of w; a step without a token changes
    nothing.
    """
    fill_rows(states, B, h, h, at(w, V * parts * n))
    for t in range(T):
        for b in range(B):
            before, after = at(states, (t * B + b) * h), at(states, ((t + 1) * B + b) * h)
            token = tokens[t * B + b]
            if token < 0:
                copy(before, h, after)
            elif parts == 1:
                factors = at(w, token * n)
                for j in range(n):
                    after[j] = before[j] * factors[j]
                zero(at(after, n), h - n)
            else:
                cosine = at(w, token * 2 * n)
                sine, imaginary, after_i = at(cosine, n), at(before, n), at(after, n)
                for j in range(n):
                    after[j] = before[j] * cosine[j] - imaginary[j] * sine[j]
                    after_i[j] = before[j] * sine[j] + imaginary[j] * cosine[j]
                zero(at(after, 2 * n), h - 2 * n)


@kept
def backward(w, grad, tokens, T, B, W, h, V, n, parts, states, d_states, d, some):
    """Gradients of table and start from d_states [W, B, h]; d [B, h] and ``some`` of the table's size are
    scratch.
    """
    zero(grad, V * parts * n + h)
    zero(d, B * h)
    for t in range(T - 1, -1, -1):
        if t >= T - W:
            given = at(d_states, (t - (T - W)) * B * h)
            for i in range(B * h):
                d[i] += given[i]
        # Sums of a step, then of steps: one chain of all rows would round more.
        zero(some, V * parts * n)
        for b in range(B):
            token = tokens[t * B + b]
            if token < 0:
                continue
            above, state = at(d, b * h), at(states, (t * B + b) * h)
            if parts == 1:
                factors, into = at(w, token * n), at(some, token * n)
                for j in range(n):
                    into[j] += above[j] * state[j]
                    above[j] *= factors[j]
            else:
                cosine, into = at(w, token * 2 * n), at(some, token * 2 * n)
                sine, into_sine = at(cosine, n), at(into, n)
                above_i, imaginary = at(above, n), at(state, n)
                for j in range(n):
                    p, q, x, y = above[j], above_i[j], state[j], imaginary[j]
                    into[j] += p * x + q * y
                    into_sine[j] += q * x - p * y
                    above[j] = p * cosine[j] + q * sine[j]
                    above_i[j] = q * cosine[j] - p * sine[j]
        for i in range(V * parts * n):
            grad[i] += some[i]
    add_rows(d, B, parts * n, h, at(grad, V * parts * n))


def run(args):
    """A training step of members first..last-1 or their evaluation."""
    what, first, last, T, B, W, h, V, S, n, parts, members, stride, how = (
        args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7], args[8], args[9], args[10],
        args[11], args[12], args[13],
    )  # fmt: skip
    params, grads, losses, counts = floats(args, 14), floats(args, 15), floats(args, 16), doubles(args, 17)
    totals, all_tokens, all_targets = doubles(args, 16), integers(args, 18), integers(args, 19)
    tokens, wanted, states = integers(args, 20), integers(args, 21), floats(args, 22)
    d_states, d, some = floats(args, 23), floats(args, 24), floats(args, 25)
    turned, logits, scratch = floats(args, 26), floats(args, 27), floats(args, 28)
    to_head = V * parts * n + h
    for e in range(first, last):
        w, grad = at(params, e * stride), at(grads, e * stride)
        lay_out(all_tokens, all_targets, e if members > 1 else 0, B, T, W, how, tokens, wanted)
        forward(w, tokens, T, B, h, V, n, parts, states)
        seen, rows = at(states, (T - W + 1) * B * h), W * B
        head_of(
            what, e, w, grad, to_head, seen, rows, h, S, turned, logits, wanted, scratch, losses, totals,
            counts, d_states,
        )  # fmt: skip
        if what == EVALUATE:
            continue
        backward(w, grad, tokens, T, B, W, h, V, n, parts, states, d_states, d, some)
        zero(at(grad, to_head + S * h + S), stride - to_head - S * h - S)
