"""A whole step of a recurrence h_t = A(x_t) h_{t-1} with a structure, one member after another: forward,
loss, backward.

What a token does is a row of a table over the vocabulary, made of the embedding by one weight (of complex
factors by two), and perhaps by a function: factors of each number of the state; cosines and sines by which
pairs of them are turned, its first half holding real parts, the second imaginary ones; small blocks; factors
between two matrices that all tokens share; whole matrices, which may be parameters themselves. States lie as
rows, [T + 1, B, h]. ``runners.models.linear_state`` is the same in torch, and the reference.
"""

from __future__ import annotations

import numpy as np

from runners.kernels.batches import lay_out
from runners.kernels.codes import (
    ANGLES,
    BLOCKS,
    EVALUATE,
    FACTORED,
    MATRICES,
    MIRRORED,
    PLAIN,
    POLAR,
    SCALES,
    SOFT,
    TURNS,
)
from runners.kernels.dense_ssm import group, move, move_back
from runners.kernels.losses import head_of
from runners.kernels.vector import (
    WIDE,
    add_rows,
    at,
    copy,
    cosine,
    dot,
    doubles,
    exp,
    fill_rows,
    floats,
    gemm,
    integers,
    kept,
    pack_transposed,
    sigmoid,
    sine,
    tanh,
    total_of,
    zero,
)


@kept
def across(x, rows, count, b, out):
    """x [rows, count, b] as out [rows, b, count]: blocks innermost, so that steps are whole vectors."""
    for r in range(rows):
        row, into = at(x, r * count * b), at(out, r * count * b)
        for i in range(count):
            for j in range(b):
                into[j * count + i] = row[i * b + j]


@kept
def make_table(kind, near, embedding, gate, bias, angle, V, d, rows, packed, made, table):
    """The table of ``rows`` numbers a token, of twice as many where they are turned, from made [V, rows] ([2,
    V, rows] with an angle)."""
    one = np.float32(1.0)
    pack_transposed(gate, rows, d, packed)
    if kind == PLAIN:
        gemm(embedding, d, 1, packed, WIDE, WIDE * d, table, rows, V, rows, d, 0)
        if near == 1:
            for i in range(V * rows):
                table[i] += one
    elif kind == ANGLES:
        gemm(embedding, d, 1, packed, WIDE, WIDE * d, made, rows, V, rows, d, 0)
        for v in range(V):
            row, into = at(made, v * rows), at(table, v * 2 * rows)
            for j in range(rows):
                into[j] = cosine(row[j])
                into[rows + j] = sine(row[j])
    else:
        fill_rows(made, V, rows, rows, bias)
        gemm(embedding, d, 1, packed, WIDE, WIDE * d, made, rows, V, rows, d, 1)
        if kind == POLAR:
            angles = at(made, V * rows)
            pack_transposed(angle, rows, d, packed)
            gemm(embedding, d, 1, packed, WIDE, WIDE * d, angles, rows, V, rows, d, 0)
            for v in range(V):
                row, turn, into = at(made, v * rows), at(angles, v * rows), at(table, v * 2 * rows)
                for j in range(rows):
                    size = sigmoid(row[j])
                    into[j] = size * cosine(turn[j])
                    into[rows + j] = size * sine(turn[j])
        else:
            for i in range(V * rows):
                a = sigmoid(made[i])
                table[i] = a + a - one if kind == MIRRORED else a


@kept
def soft_table(P, sizes, V, h, soft, flat, table):
    """Transitions [V, in, out]: softmax of the rows of P [V, out, in], times tanh of ``sizes`` [V, in]. Both
    are kept."""
    for i in range(V * h):
        flat[i] = tanh(sizes[i])
    for v in range(V):
        for i in range(h):
            row, into = at(P, (v * h + i) * h), at(soft, (v * h + i) * h)
            largest = row[0]
            for j in range(1, h):
                largest = row[j] if row[j] > largest else largest
            for j in range(h):
                into[j] = exp(row[j] - largest)
            share = np.float32(1.0) / total_of(into, h)
            for j in range(h):
                into[j] *= share
                table[(v * h + j) * h + i] = into[j] * flat[v * h + j]


@kept
def soft_table_back(d_table, soft, flat, V, h, line, d_P, d_sizes):
    """Gradients of both from that of the transitions; line [h] is scratch."""
    zero(d_sizes, V * h)
    for v in range(V):
        size, of_size = at(flat, v * h), at(d_sizes, v * h)
        for i in range(h):
            row, into = at(soft, (v * h + i) * h), at(d_P, (v * h + i) * h)
            for j in range(h):
                slope = d_table[(v * h + j) * h + i]
                of_size[j] += slope * row[j] * (np.float32(1.0) - size[j] * size[j])
                line[j] = slope * size[j]
            along = dot(line, row, h)
            for j in range(h):
                into[j] = row[j] * (line[j] - along)


@kept
def weights_back(d_made, embedding, weight, V, d, rows, add, d_weight, d_embedding):
    """Gradients of a weight [rows, d], and of the embedding (added, if ``add`` is 1)."""
    gemm(d_made, 1, rows, embedding, d, WIDE, d_weight, d, rows, d, V, 0)
    gemm(d_made, rows, 1, weight, d, WIDE, d_embedding, d, V, d, rows, add)


@kept
def table_back(
    kind, d_table, embedding, gate, angle, V, d, rows, made, d_made, d_embedding, d_gate, d_bias, d_angle
):  # fmt: skip
    """Gradients of embedding, weights and bias from the table's."""
    one = np.float32(1.0)
    if kind == PLAIN:
        weights_back(d_table, embedding, gate, V, d, rows, 0, d_gate, d_embedding)
        return
    if kind == ANGLES:
        for v in range(V):
            row, above, into = at(made, v * rows), at(d_table, v * 2 * rows), at(d_made, v * rows)
            for j in range(rows):
                into[j] = above[rows + j] * cosine(row[j]) - above[j] * sine(row[j])
        weights_back(d_made, embedding, gate, V, d, rows, 0, d_gate, d_embedding)
        return
    if kind == POLAR:
        angles, d_angles = at(made, V * rows), at(d_made, V * rows)
        for v in range(V):
            row, turn, above = at(made, v * rows), at(angles, v * rows), at(d_table, v * 2 * rows)
            into, of_turn = at(d_made, v * rows), at(d_angles, v * rows)
            for j in range(rows):
                size, c, s = sigmoid(row[j]), cosine(turn[j]), sine(turn[j])
                into[j] = (above[j] * c + above[rows + j] * s) * size * (one - size)
                of_turn[j] = (above[rows + j] * c - above[j] * s) * size
    else:
        for i in range(V * rows):
            a = sigmoid(made[i])
            slope = d_table[i] * a * (one - a)
            d_made[i] = slope + slope if kind == MIRRORED else slope
    zero(d_bias, rows)
    add_rows(d_made, V, rows, rows, d_bias)
    weights_back(d_made, embedding, gate, V, d, rows, 0, d_gate, d_embedding)
    if kind == POLAR:
        weights_back(at(d_made, V * rows), embedding, angle, V, d, rows, 1, d_angle, d_embedding)


# Long: one structure after another.
@kept
def forward(motion, first, table, tokens, T, B, h, b, states):
    """States from the first one and the table; a step without a token changes nothing."""
    n = h // 2
    count = h // b
    fill_rows(states, B, h, h, first)
    for t in range(T):
        for i in range(B):
            before, after = at(states, (t * B + i) * h), at(states, ((t + 1) * B + i) * h)
            token = tokens[t * B + i]
            if token < 0:
                copy(before, h, after)
            elif motion == SCALES:
                factors = at(table, token * h)
                for j in range(h):
                    after[j] = before[j] * factors[j]
            elif motion == TURNS:
                c = at(table, token * h)
                s, imaginary, after_i = at(c, n), at(before, n), at(after, n)
                for j in range(n):
                    after[j] = before[j] * c[j] - imaginary[j] * s[j]
                    after_i[j] = before[j] * s[j] + imaginary[j] * c[j]
            else:
                zero(after, h)
                for read in range(b):
                    for wrote in range(b):
                        block = at(table, token * h * b + (read * b + wrote) * count)
                        x, y = at(before, read * count), at(after, wrote * count)
                        for j in range(count):
                            y[j] += x[j] * block[j]


# Long: the same backwards.
@kept
def backward(motion, table, tokens, T, B, W, h, b, cells, states, d_states, d, some, d_table, d_first):
    """Gradients of table and first state from d_states [W, B, h]; d [B, h], and ``some`` of the table's size
    ``cells``, are scratch."""
    n = h // 2
    count = h // b
    zero(d_table, cells)
    zero(d, B * h)
    for t in range(T - 1, -1, -1):
        if t >= T - W:
            given = at(d_states, (t - (T - W)) * B * h)
            for i in range(B * h):
                d[i] += given[i]
        # Sums of a step, then of steps: one chain of all rows would round more.
        zero(some, cells)
        for i in range(B):
            token = tokens[t * B + i]
            if token < 0:
                continue
            above, state = at(d, i * h), at(states, (t * B + i) * h)
            if motion == SCALES:
                factors, into = at(table, token * h), at(some, token * h)
                for j in range(h):
                    into[j] += above[j] * state[j]
                    above[j] *= factors[j]
            elif motion == TURNS:
                c, into = at(table, token * h), at(some, token * h)
                s, into_s = at(c, n), at(into, n)
                above_i, imaginary = at(above, n), at(state, n)
                for j in range(n):
                    p, q, x, y = above[j], above_i[j], state[j], imaginary[j]
                    into[j] += p * x + q * y
                    into_s[j] += q * x - p * y
                    above[j] = p * c[j] + q * s[j]
                    above_i[j] = q * c[j] - p * s[j]
            else:
                earlier = at(d, B * h)
                zero(earlier, h)
                for read in range(b):
                    for wrote in range(b):
                        place = token * h * b + (read * b + wrote) * count
                        block, into = at(table, place), at(some, place)
                        x, y, z = at(state, read * count), at(above, wrote * count), at(earlier, read * count)
                        for j in range(count):
                            into[j] += x[j] * y[j]
                            z[j] += y[j] * block[j]
                copy(earlier, h, above)
        for i in range(cells):
            d_table[i] += some[i]
    zero(d_first, h)
    add_rows(d, B, h, h, d_first)


@kept
def factored_forward(first, table, read, write, near, tokens, T, B, h, rank, packed, states, inner):
    """h' = U (a(x) V h) [+ h] with ``read`` V [rank, h] and ``write`` U [h, rank]; V h is kept in inner [T,
    B, rank], and its product with a in as many rows behind."""
    to_inner, to_state = packed, at(packed, (rank + WIDE - 1) // WIDE * WIDE * h)
    pack_transposed(read, rank, h, to_inner)
    pack_transposed(write, h, rank, to_state)
    fill_rows(states, B, h, h, first)
    for t in range(T):
        before, after = at(states, t * B * h), at(states, (t + 1) * B * h)
        own, times = at(inner, t * B * rank), at(inner, (T + t) * B * rank)
        gemm(before, h, 1, to_inner, WIDE, WIDE * h, own, rank, B, rank, h, 0)
        for i in range(B):
            token, row, into = tokens[t * B + i], at(own, i * rank), at(times, i * rank)
            factors = at(table, (token if token >= 0 else 0) * rank)
            for j in range(rank):
                into[j] = row[j] * factors[j] if token >= 0 else np.float32(0.0)
        gemm(times, rank, 1, to_state, WIDE, WIDE * rank, after, h, B, h, rank, 0)
        for i in range(B):
            if near == 1 or tokens[t * B + i] < 0:
                row, into = at(before, i * h), at(after, i * h)
                for j in range(h):
                    into[j] += row[j]


# Long: the steps from the last to the first, then the sums over all of them.
@kept
def factored_backward(
    table, read, write, near, tokens, T, B, W, h, V, rank, states, inner, slopes, d_inner, d_states, some,
    d_table, d_read, d_write, d_first,
):  # fmt: skip
    """Gradients from d_states [W, B, h]; slopes [T + 1, B, h] and d_inner [T, B, rank] are scratch."""
    zero(at(slopes, T * B * h), B * h)
    zero(d_table, V * rank)
    for t in range(T - 1, -1, -1):
        above, earlier = at(slopes, (t + 1) * B * h), at(slopes, t * B * h)
        if t >= T - W:
            given = at(d_states, (t - (T - W)) * B * h)
            for i in range(B * h):
                above[i] += given[i]
        slope, own = at(d_inner, t * B * rank), at(inner, t * B * rank)
        gemm(above, h, 1, write, rank, WIDE, slope, rank, B, rank, h, 0)
        zero(some, V * rank)
        for i in range(B):
            token, row, kept_row = tokens[t * B + i], at(slope, i * rank), at(own, i * rank)
            if token < 0:
                zero(row, rank)
                continue
            factors, into = at(table, token * rank), at(some, token * rank)
            for j in range(rank):
                into[j] += row[j] * kept_row[j]
                row[j] *= factors[j]
        for i in range(V * rank):
            d_table[i] += some[i]
        gemm(slope, rank, 1, read, h, WIDE, earlier, h, B, h, rank, 0)
        for i in range(B):
            if near == 1 or tokens[t * B + i] < 0:
                row, into = at(above, i * h), at(earlier, i * h)
                for j in range(h):
                    into[j] += row[j]
    gemm(d_inner, 1, rank, states, h, WIDE, d_read, h, rank, h, T * B, 0)
    gemm(at(slopes, B * h), 1, h, at(inner, T * B * rank), rank, WIDE, d_write, rank, h, rank, T * B, 0)
    zero(d_first, h)
    add_rows(slopes, B, h, h, d_first)


# Long: a list of what stands where in the table of arguments, then one structure after another.
def run(args):
    """A training step of members first..last-1 or their evaluation."""
    what, first, last, T, B, W, h, V, S, d, members, stride, how = (
        args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7], args[8], args[9], args[10],
        args[11], args[12],
    )  # fmt: skip
    kind, motion, near, b, rank, rows, to_gate, to_bias, to_angle, to_first, to_read, to_write, to_head = (
        args[13], args[14], args[15], args[16], args[17], args[18], args[19], args[20], args[21], args[22],
        args[23], args[24], args[25],
    )  # fmt: skip
    params, grads, losses, counts = floats(args, 26), floats(args, 27), floats(args, 28), doubles(args, 29)
    totals, all_tokens, all_targets = doubles(args, 28), integers(args, 30), integers(args, 31)
    tokens, wanted, order, starts = (
        integers(args, 32), integers(args, 33), integers(args, 34), integers(args, 35),
    )  # fmt: skip
    packed, made, d_made, table = floats(args, 36), floats(args, 37), floats(args, 38), floats(args, 39)
    d_table, some, states, d_states = floats(args, 40), floats(args, 41), floats(args, 42), floats(args, 43)
    slopes, inner, d_inner, own = floats(args, 44), floats(args, 45), floats(args, 46), floats(args, 47)
    turned, logits, scratch = floats(args, 48), floats(args, 49), floats(args, 50)
    count = h // b
    cells = V * rows * (2 if kind in (ANGLES, POLAR) else 1)
    for e in range(first, last):
        w, grad = at(params, e * stride), at(grads, e * stride)
        lay_out(all_tokens, all_targets, e if members > 1 else 0, B, T, W, how, tokens, wanted)
        soft = kind == SOFT
        if soft:
            soft_table(at(w, to_gate), at(w, to_bias), V, h, made, at(made, V * rows), table)
        else:
            make_table(
                kind, near if motion == SCALES else 0, w, at(w, to_gate), at(w, to_bias), at(w, to_angle), V,
                d, rows, packed, made, table,
            )  # fmt: skip
        head, d_head, start = at(w, to_head), at(grad, to_head), at(w, to_first)
        if motion == BLOCKS:
            # The blocks of a token, its states and the head in another order: of own, the head, its gradient,
            # the first state and its gradient.
            if near == 1:
                for i in range(V * count):
                    for j in range(b):
                        table[i * b * b + j * b + j] += np.float32(1.0)
            across(table, V, count, b * b, some)
            copy(some, cells, table)
            d_head = at(own, S * h + S)
            across(head, S, count, b, own)
            copy(at(head, S * h), S, at(own, S * h))
            head, start = own, at(own, 2 * (S * h + S))
            across(at(w, to_first), 1, count, b, start)
        if motion == MATRICES:
            if near == 1:
                for v in range(V):
                    for j in range(h):
                        table[(v * h + j) * h + j] += np.float32(1.0)
            group(tokens, T, B, V, order, starts)
            move(start, T, B, h, V, order, starts, table, states, inner, d_inner)
        elif motion == FACTORED:
            factored_forward(
                start, table, at(w, to_read), at(w, to_write), near, tokens, T, B, h, rank, packed, states,
                inner,
            )  # fmt: skip
        else:
            forward(motion, start, table, tokens, T, B, h, b, states)
        seen = at(states, (T - W + 1) * B * h)
        head_of(
            what, e, head, d_head, 0, seen, W * B, h, S, turned, logits, wanted, scratch, losses, totals,
            counts, d_states,
        )  # fmt: skip
        if what == EVALUATE:
            continue
        zero(at(grad, to_head + S * h + S), stride - to_head - S * h - S)
        d_start = at(grad, to_first)
        if motion == MATRICES:
            move_back(
                T, B, W, h, V, order, starts, table, packed, d_table, states, slopes, d_states, inner,
                d_inner, d_start,
            )  # fmt: skip
        elif motion == FACTORED:
            factored_backward(
                table, at(w, to_read), at(w, to_write), near, tokens, T, B, W, h, V, rank, states, inner,
                slopes, d_inner, d_states, some, d_table, at(grad, to_read), at(grad, to_write), d_start,
            )  # fmt: skip
        else:
            of_start = at(own, 2 * (S * h + S) + h) if motion == BLOCKS else d_start
            backward(
                motion, table, tokens, T, B, W, h, b, cells, states, d_states, slopes, some, d_table, of_start
            )
        if motion == BLOCKS:
            across(d_table, V, b * b, count, some)
            copy(some, cells, d_table)
            across(d_head, S, b, count, at(grad, to_head))
            copy(at(d_head, S * h), S, at(grad, to_head + S * h))
            across(at(own, 2 * (S * h + S) + h), 1, b, count, d_start)
        if soft:
            flat = at(made, V * rows)
            soft_table_back(d_table, made, flat, V, h, d_made, at(grad, to_gate), at(grad, to_bias))
            continue
        table_back(
            kind, d_table, w, at(w, to_gate), at(w, to_angle), V, d, rows, made, d_made, grad,
            at(grad, to_gate), at(grad, to_bias), at(grad, to_angle),
        )  # fmt: skip
