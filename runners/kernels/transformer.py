"""A whole step of a GPT-2 style decoder, one member after another: forward, loss, backward.

Only what a supervised position can see is computed: sequences lie ragged, row after row of [rows, d], without
padding, and the last block puts out the supervised rows alone. A chunk of sequences goes forward and back
before the next one, so that its activations stay in the cache; gradients add up.
``runners.models.transformer`` is the same in torch, and the reference; what has dropout is trained there.
"""

from __future__ import annotations

import numpy as np

from runners.kernels import codes
from runners.kernels.codes import EVALUATE, TRAIN
from runners.kernels.losses import cross_entropy_sum, gradient, head_back, logits_of, supervised, turn_head
from runners.kernels.vector import (
    LANES,
    WIDE,
    add_rows,
    at,
    dot,
    doubles,
    exp,
    fill_rows,
    floats,
    gemm,
    gemm_packing,
    inlined,
    integers,
    kept,
    pack,
    pack_transposed,
    sigmoid,
    take,
    total_of,
    transpose_tile,
    zero,
)

EPS = np.float32(1e-5)
C = np.float32(1.5957691216057308)
"""2 sqrt(2 / pi): GELU by its tanh approximation is u sigmoid(u (C + A u^2))."""
A = np.float32(0.044715 * 1.5957691216057308)


size_of = inlined(codes.block_parameters)
kept_of = inlined(codes.kept_by_block)
panels_of = inlined(codes.panels_of_block)
padded = inlined(codes.padded)


@inlined
def parameters_of(w, d):
    """What stands where in the parameters of a block, and in their gradients: gain and bias of the first
    norm, weight and bias of attention and its projection, the second norm, the two layers of the MLP.
    """
    attn = at(w, 2 * d)
    proj = at(attn, 3 * d * d + 3 * d)
    gain_2 = at(proj, d * d + d)
    fc = at(gain_2, 2 * d)
    out = at(fc, 4 * d * d + 4 * d)
    return (
        w, at(w, d), attn, at(attn, 3 * d * d), proj, at(proj, d * d), gain_2, at(gain_2, d), fc,
        at(fc, 4 * d * d), out, at(out, 4 * d * d),
    )  # fmt: skip


@inlined
def weights_of(packed, d):
    """What stands where in the packed weights of a block: queries, keys with values (a part of their own, as
    a last block has fewer queries), the projection, the two layers of the MLP.
    """
    one, four = padded(d, WIDE), padded(4 * d, WIDE)
    kv = at(packed, one * d)
    proj = at(kv, padded(2 * d, WIDE) * d)
    fc = at(proj, one * d)
    return packed, kv, proj, fc, at(fc, four * d)


@inlined
def turned_of(turned, d):
    """What stands where in the weights turned round: attention, projection, the two layers of the MLP."""
    one = padded(d, WIDE)
    proj = at(turned, one * 3 * d)
    fc = at(proj, one * d)
    return turned, proj, fc, at(fc, one * 4 * d)


@inlined
def kept_by(here, room, d, heads, wide):
    """What a block keeps for its way back, ``room`` rows of each: the normed input, queries with keys and
    values, what attention read, the sum after it, that normed, the MLP's inner rows and their gates,
    probabilities, both norms' statistics; of a last block also its own rows of the first two and queries,
    in whose place after them the next block finds its input.
    """
    qkv = at(here, room * d)
    merged, middle = at(qkv, room * 3 * d), at(qkv, room * 4 * d)
    b, u, gate, p = (
        at(qkv, room * 5 * d),
        at(qkv, room * 6 * d),
        at(qkv, room * 10 * d),
        at(qkv, room * 14 * d),
    )
    stats_1 = at(p, room * heads * wide)
    stats_2 = at(stats_1, 2 * room)
    a_own = at(stats_2, 2 * room)
    x_own, q_own = at(a_own, room * d), at(a_own, 2 * room * d)
    return here, qkv, merged, middle, b, u, gate, p, stats_1, stats_2, a_own, x_own, q_own


@kept
def norm_forward(x, rows, d, gain, bias, out, stats):
    """Layer norm of x [rows, d]; mean and 1 / standard deviation of each row into stats [rows, 2]."""
    for r in range(rows):
        row, into = at(x, r * d), at(out, r * d)
        mean = total_of(row, d) / np.float32(d)
        for j in range(d):
            into[j] = row[j] - mean
        rstd = np.float32(1.0) / np.sqrt(dot(into, into, d) / np.float32(d) + EPS)
        for j in range(d):
            into[j] = into[j] * rstd * gain[j] + bias[j]
        stats[2 * r] = mean
        stats[2 * r + 1] = rstd


@kept
def norm_backward(dy, x, stats, gain, rows, d, d_gain, d_bias, dx, scratch):
    """Add d(x) to dx [rows, d] and the gradients to d_gain and d_bias; scratch is [2, d]."""
    g, normal = scratch, at(scratch, d)
    for r in range(rows):
        mean, rstd = stats[2 * r], stats[2 * r + 1]
        row, above, into = at(x, r * d), at(dy, r * d), at(dx, r * d)
        for j in range(d):
            normal[j] = (row[j] - mean) * rstd
            g[j] = above[j] * gain[j]
            d_gain[j] += above[j] * normal[j]
            d_bias[j] += above[j]
        first, second = total_of(g, d) / np.float32(d), dot(g, normal, d) / np.float32(d)
        for j in range(d):
            into[j] += rstd * (g[j] - first - normal[j] * second)


@kept
def attend(q, q_row, k, v, kv_row, L, Q, places, heads, depth, wide, p, merged, turned):
    """Q queries of one sequence at ``places`` over its L keys: probabilities p [heads, Q, wide], what is read
    into merged [Q, heads depth]."""
    for head in range(heads):
        own, here = at(p, head * Q * wide), head * depth
        for first in range(0, wide, LANES):
            for c in range(0, depth, LANES):
                transpose_tile(at(k, first * kv_row + here + c), kv_row, at(turned, c * wide + first), wide)
        gemm(at(q, here), q_row, 1, turned, wide, WIDE, own, wide, Q, wide, depth, 0)
        scale = np.float32(1.0) / np.sqrt(np.float32(depth))
        for i in range(Q):
            row, t = at(own, i * wide), places[i]
            largest = row[0]
            for j in range(1, t + 1):
                largest = row[j] if row[j] > largest else largest
            for j in range(wide):
                row[j] = exp((row[j] - largest) * scale) if j <= t else np.float32(0.0)
            share = np.float32(1.0) / total_of(row, wide)
            for j in range(wide):
                row[j] *= share
        gemm(own, wide, 1, at(v, here), kv_row, WIDE, at(merged, here), heads * depth, Q, depth, L, 0)


@kept
def attend_back(
    d_merged, q, q_row, k, v, kv_row, L, Q, places, heads, depth, wide, p, dq, dk, dv, turned, ds
):
    """Gradients of queries, keys and values, laid out as these are."""
    for head in range(heads):
        own, here = at(p, head * Q * wide), head * depth
        above, above_row = at(d_merged, here), heads * depth
        for first in range(0, wide, LANES):
            for c in range(0, depth, LANES):
                transpose_tile(at(v, first * kv_row + here + c), kv_row, at(turned, c * wide + first), wide)
        gemm(above, above_row, 1, turned, wide, WIDE, ds, wide, Q, wide, depth, 0)
        gemm(own, 1, wide, above, above_row, WIDE, at(dv, here), kv_row, L, depth, Q, 0)
        scale = np.float32(1.0) / np.sqrt(np.float32(depth))
        for i in range(Q):
            row, slope, t = at(own, i * wide), at(ds, i * wide), places[i]
            for j in range(wide):
                slope[j] = slope[j] if j <= t else np.float32(0.0)
            mean = dot(row, slope, wide)
            for j in range(wide):
                slope[j] = row[j] * (slope[j] - mean) * scale
        gemm(ds, wide, 1, at(k, here), kv_row, WIDE, at(dq, here), q_row, Q, depth, L, 0)
        gemm(ds, 1, wide, at(q, here), q_row, WIDE, at(dk, here), kv_row, L, depth, Q, 0)


@kept
def give(x, index, count, d, out):
    """Add x [count, d] to the rows of out that index names."""
    for i in range(count):
        row, into = at(x, i * d), at(out, index[i] * d)
        for j in range(d):
            into[j] += row[j]


# Long: one block, in the order of its parts.
@kept
def block_forward(
    x, w, packed, N, M, own, last, starts, outs, places, sequences, d, heads, wide, room, kept_here, s
):
    """One block: x [N, d] -> the M rows of its own that it puts out, into the next place of activations.

    Args:
        w: its parameters; packed: its weights in panels.
        own: int64 [M], the rows that it puts out.
        last: 1 where these are not all.
        starts, outs: int64 [sequences + 1], where each sequence's rows, and its own, begin.
        places: int64 [M], the position of each own row in its sequence.
        room: rows of a buffer; kept_here: the block's activations; s: scratch.
    """
    a, qkv, merged, middle, b, u, gate, p, stats_1, stats_2, a_own, x_own, q_own = kept_by(
        kept_here, room, d, heads, wide
    )
    active, turned = s, at(s, room * 4 * d)
    gain_1, bias_1, _, attn_bias, _, proj_bias, gain_2, bias_2, _, fc_bias, _, out_bias = parameters_of(w, d)
    to_q, to_kv, proj, fc, to_out = weights_of(packed, d)
    norm_forward(x, N, d, gain_1, bias_1, a, stats_1)
    q, q_row, residual = qkv, 3 * d, x
    if last == 1:
        take(a, own, M, d, a_own)
        take(x, own, M, d, x_own)
        fill_rows(q_own, M, d, d, attn_bias)
        gemm(a_own, d, 1, to_q, WIDE, WIDE * d, q_own, d, M, d, d, 1)
        q, q_row, residual = q_own, d, x_own
    else:
        fill_rows(qkv, N, d, 3 * d, attn_bias)
        gemm(a, d, 1, to_q, WIDE, WIDE * d, qkv, 3 * d, N, d, d, 1)
    fill_rows(at(qkv, d), N, 2 * d, 3 * d, at(attn_bias, d))
    gemm(a, d, 1, to_kv, WIDE, WIDE * d, at(qkv, d), 3 * d, N, 2 * d, d, 1)
    for i in range(sequences):
        first, Q = outs[i], outs[i + 1] - outs[i]
        begin = starts[i]
        keys = at(qkv, begin * 3 * d + d)
        attend(
            at(q, first * q_row), q_row, keys, at(keys, d), 3 * d, starts[i + 1] - begin, Q,
            at(places, first), heads, d // heads, wide, at(p, first * heads * wide),
            at(merged, first * d), turned,
        )  # fmt: skip
    for r in range(M):
        row, into = at(residual, r * d), at(middle, r * d)
        for j in range(d):
            into[j] = row[j] + proj_bias[j]
    gemm(merged, d, 1, proj, WIDE, WIDE * d, middle, d, M, d, d, 1)
    norm_forward(middle, M, d, gain_2, bias_2, b, stats_2)
    fill_rows(u, M, 4 * d, 4 * d, fc_bias)
    gemm(b, d, 1, fc, WIDE, WIDE * d, u, 4 * d, M, 4 * d, d, 1)
    for i in range(M * 4 * d):
        g = sigmoid(u[i] * (C + A * (u[i] * u[i])))
        gate[i] = g
        active[i] = u[i] * g
    out = at(q_own, room * d)
    for r in range(M):
        row, into = at(middle, r * d), at(out, r * d)
        for j in range(d):
            into[j] = row[j] + out_bias[j]
    gemm(active, 4 * d, 1, to_out, WIDE, WIDE * 4 * d, out, d, M, d, 4 * d, 1)


# Long: one block, backwards, in the order of its parts.
@kept
def block_backward(
    d_out,
    x,
    w,
    g,
    packed,
    N,
    M,
    own,
    last,
    starts,
    outs,
    places,
    sequences,
    d,
    heads,
    wide,
    room,
    kept_here,
    s,
    d_x,
):
    """d(x) [N, d] into d_x from d_out [M, d]; gradients are added to g. Arguments as in the forward pass;
    ``packed`` has the weights turned round."""
    a, qkv, merged, middle, b, u, gate, p, stats_1, stats_2, a_own, _, q_own = kept_by(
        kept_here, room, d, heads, wide
    )
    active, turned = s, at(s, room * 4 * d)
    ds = at(turned, padded(d) * wide)
    d_inner, d_normed = at(ds, room * wide), at(ds, room * wide + room * 4 * d)
    d_merged, d_qkv, d_q = at(d_normed, room * d), at(d_normed, 2 * room * d), at(d_normed, 5 * room * d)
    small, panels = at(d_q, room * d), at(d_q, room * d + 2 * d)
    (
        d_gain_1, d_bias_1, d_attn, d_attn_bias, d_proj, d_proj_bias, d_gain_2, d_bias_2, d_fc, d_fc_bias,
        d_last, d_last_bias,
    ) = parameters_of(g, d)  # fmt: skip
    gain_1, _, _, _, _, _, gain_2, _, _, _, _, _ = parameters_of(w, d)
    from_qkv, from_proj, from_fc, from_out = turned_of(packed, d)
    for i in range(M * 4 * d):
        active[i] = u[i] * gate[i]
    gemm_packing(active, 1, 4 * d, d_out, d, d_last, d, 4 * d, d, M, panels)
    add_rows(d_out, M, d, d, d_last_bias)
    gemm(d_out, d, 1, from_out, WIDE, WIDE * d, d_inner, 4 * d, M, 4 * d, d, 0)
    for i in range(M * 4 * d):
        s_, v = gate[i], u[i]
        slope = s_ + v * s_ * (np.float32(1.0) - s_) * (C + np.float32(3.0) * A * (v * v))
        d_inner[i] *= slope
    gemm_packing(b, 1, d, d_inner, 4 * d, d_fc, 4 * d, d, 4 * d, M, panels)
    add_rows(d_inner, M, 4 * d, 4 * d, d_fc_bias)
    gemm(d_inner, 4 * d, 1, from_fc, WIDE, WIDE * 4 * d, d_normed, d, M, d, 4 * d, 0)
    norm_backward(d_normed, middle, stats_2, gain_2, M, d, d_gain_2, d_bias_2, d_out, small)
    gemm_packing(merged, 1, d, d_out, d, d_proj, d, d, d, M, panels)
    add_rows(d_out, M, d, d, d_proj_bias)
    gemm(d_out, d, 1, from_proj, WIDE, WIDE * d, d_merged, d, M, d, d, 0)
    q, q_row, dq = qkv, 3 * d, d_qkv
    if last == 1:
        q, q_row, dq = q_own, d, d_q
    for i in range(sequences):
        first, Q = outs[i], outs[i + 1] - outs[i]
        begin = starts[i]
        keys, d_keys = at(qkv, begin * 3 * d + d), at(d_qkv, begin * 3 * d + d)
        attend_back(
            at(d_merged, first * d), at(q, first * q_row), q_row, keys, at(keys, d), 3 * d,
            starts[i + 1] - begin, Q, at(places, first), heads, d // heads, wide, at(p,
            first * heads * wide), at(dq, first * q_row),
            d_keys, at(d_keys, d), turned, ds,
        )  # fmt: skip
    if last == 1:
        gemm_packing(a_own, 1, d, d_q, d, d_attn, 3 * d, d, d, M, panels)
        gemm_packing(a, 1, d, at(d_qkv, d), 3 * d, at(d_attn, d), 3 * d, d, 2 * d, N, panels)
        add_rows(d_q, M, d, d, d_attn_bias)
        add_rows(at(d_qkv, d), N, 2 * d, 3 * d, at(d_attn_bias, d))
        gemm(at(d_qkv, d), 3 * d, 1, at(from_qkv, WIDE * d), WIDE, WIDE * 3 * d, d_normed, d, N, d, 2 * d, 0)
        gemm(d_q, d, 1, from_qkv, WIDE, WIDE * 3 * d, d_merged, d, M, d, d, 0)
        give(d_merged, own, M, d, d_normed)
        zero(d_x, N * d)
        give(d_out, own, M, d, d_x)
    else:
        gemm_packing(a, 1, d, d_qkv, 3 * d, d_attn, 3 * d, d, 3 * d, N, panels)
        add_rows(d_qkv, N, 3 * d, 3 * d, d_attn_bias)
        gemm(d_qkv, 3 * d, 1, from_qkv, WIDE, WIDE * 3 * d, d_normed, d, N, d, 3 * d, 0)
        for i in range(N * d):
            d_x[i] = d_out[i]
    norm_backward(d_normed, x, stats_1, gain_1, N, d, d_gain_1, d_bias_1, d_x, small)


@kept
def pack_block(w, d, packed, turned):
    """Lay the weights of a block out in panels, as they are and turned round."""
    _, _, attn, _, proj, _, _, _, fc, _, out, _ = parameters_of(w, d)
    to_q, to_kv, to_proj, to_fc, to_out = weights_of(packed, d)
    pack(attn, d, d, 3 * d, to_q)
    pack(at(attn, d), d, 2 * d, 3 * d, to_kv)
    pack(proj, d, d, d, to_proj)
    pack(fc, d, 4 * d, 4 * d, to_fc)
    pack(out, 4 * d, d, d, to_out)
    from_qkv, from_proj, from_fc, from_out = turned_of(turned, d)
    pack_transposed(attn, d, 3 * d, from_qkv)
    pack_transposed(proj, d, d, from_proj)
    pack_transposed(fc, d, 4 * d, from_fc)
    pack_transposed(out, 4 * d, d, from_out)


@kept
def lay_out_rows(all_tokens, all_targets, e, first, B, T, limit, rows, starts, outs, counts):
    """The sequences of part e from ``first`` on, as many as fit into ``limit`` rows, at least one.

    rows: int64 [4, room]: token and position of each row, then own row, position, and target of each that is
    supervised, [5, room] in all. Returns the sequence after the last; counts gets sequences, N and M.
    """
    room = counts[3]
    tokens, places, own, own_places, wanted = (
        rows,
        at(rows, room),
        at(rows, 2 * room),
        at(rows, 3 * room),
        at(rows, 4 * room),
    )
    N, M, sequences = 0, 0, 0
    starts[0] = 0
    outs[0] = 0
    sequence = first
    while sequence < B:
        begin = (e * B + sequence) * T
        length = T
        while length > 0 and all_targets[begin + length - 1] < 0:
            length -= 1
        if sequences > 0 and N + length > limit:
            break
        for t in range(length):
            tokens[N + t] = all_tokens[begin + t]
            places[N + t] = t
            if all_targets[begin + t] >= 0:
                own[M] = N + t
                own_places[M] = t
                wanted[M] = all_targets[begin + t]
                M += 1
        if length > 0:
            N += length
            sequences += 1
            starts[sequences] = N
            outs[sequences] = M
        sequence += 1
    counts[0], counts[1], counts[2] = sequences, N, M
    return sequence


# Long: a list of what stands where in the table of arguments, then the walk through a chunk.
def run(args):
    """A training step of members first..last-1 or their evaluation."""
    what, first, last, B, T, V, S, d, heads, layers, positions, members, stride, limit, room, wide = (
        args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7], args[8], args[9], args[10],
        args[11], args[12], args[13], args[14], args[15],
    )  # fmt: skip
    params, grads, losses, counts_ = floats(args, 16), floats(args, 17), floats(args, 18), doubles(args, 19)
    totals, all_tokens, all_targets = doubles(args, 18), integers(args, 20), integers(args, 21)
    rows, starts, outs, counts = (
        integers(args, 22),
        integers(args, 23),
        integers(args, 24),
        integers(args, 25),
    )
    packed, turned, activations, s = floats(args, 26), floats(args, 27), floats(args, 28), floats(args, 29)
    head_turned, logits, scratch, d_a, d_b = (
        floats(args, 30), floats(args, 31), floats(args, 32), floats(args, 33), floats(args, 34),
    )  # fmt: skip
    size, kept_size, panels = size_of(d), kept_of(room, d, heads, wide), panels_of(d, WIDE)
    counts[3] = room
    for e in range(first, last):
        w, grad = at(params, e * stride), at(grads, e * stride)
        own_part = e if members > 1 else 0
        blocks, d_blocks = at(w, (V + positions) * d), at(grad, (V + positions) * d)
        tail, d_tail = at(blocks, layers * size), at(d_blocks, layers * size)
        head, d_head = at(tail, 2 * d), at(d_tail, 2 * d)
        for layer in range(layers):
            to = layer * panels
            pack_block(at(blocks, layer * size), d, at(packed, to), at(turned, to))
        turn_head(head, S, d, head_turned)
        count = supervised(at(all_targets, own_part * B * T), B * T)
        share = np.float32(1.0 / count) if count > 0 else np.float32(1.0)
        if what == TRAIN:
            zero(grad, stride)
        total = 0.0
        sequence = 0
        while sequence < B:
            sequence = lay_out_rows(
                all_tokens, all_targets, own_part, sequence, B, T, limit, rows, starts, outs, counts
            )
            sequences, N, M = counts[0], counts[1], counts[2]
            if N == 0:
                continue
            own, own_places, wanted = at(rows, 2 * room), at(rows, 3 * room), at(rows, 4 * room)
            for r in range(N):
                token, place, into = (
                    at(w, rows[r] * d),
                    at(w, (V + rows[room + r]) * d),
                    at(activations, r * d),
                )
                for j in range(d):
                    into[j] = token[j] + place[j]
            for layer in range(layers):
                x, here = at(activations, layer * kept_size), at(activations, layer * kept_size + room * d)
                final = 1 if layer == layers - 1 else 0
                block_forward(
                    x, at(blocks, layer * size), at(packed, layer * panels), N, M if final == 1 else N,
                    own, final, starts, outs if final == 1 else starts,
                    own_places if final == 1 else at(rows, room), sequences, d, heads, wide, room, here, s,
                )  # fmt: skip
            y = at(activations, layers * kept_size)
            normed, stats = at(y, room * d), at(y, 2 * room * d)
            norm_forward(y, M, d, tail, at(tail, d), normed, stats)
            logits_of(normed, M, d, head_turned, d_b, 0, S, logits)
            if what == EVALUATE:
                total += cross_entropy_sum(logits, wanted, M, S, scratch)
                continue
            total += gradient(logits, wanted, M, S, scratch, share)
            head_back(logits, M, d, normed, head, S, d_head, d_a, 0, d_b, 1)
            zero(d_a, M * d)
            norm_backward(d_b, y, stats, tail, M, d, d_tail, at(d_tail, d), d_a, scratch)
            for layer in range(layers - 1, -1, -1):
                x, here = at(activations, layer * kept_size), at(activations, layer * kept_size + room * d)
                final = 1 if layer == layers - 1 else 0
                block_backward(
                    d_a, x, at(blocks, layer * size), at(d_blocks, layer * size),
                    at(turned, layer * panels), N, M if final == 1 else N, own, final, starts,
                    outs if final == 1 else starts,
                    own_places if final == 1 else at(rows, room), sequences, d, heads, wide, room, here, s,
                    d_b,
                )  # fmt: skip
                for i in range(N * d):
                    d_a[i] = d_b[i]
            for r in range(N):
                token, place = at(grad, rows[r] * d), at(grad, (V + rows[room + r]) * d)
                row = at(d_a, r * d)
                for j in range(d):
                    token[j] += row[j]
                    place[j] += row[j]
        if what == EVALUATE:
            totals[e] += total
            counts_[e] += np.float64(count)
        else:
            losses[e] = np.float32(total / count) if count > 0 else np.float32(0.0)
