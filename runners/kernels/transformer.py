"""The block of a GPT-2 style decoder: x + attention(LN(x)), then x + MLP(LN(x)).

``runners.models.transformer`` is the same in torch, and the reference; what has dropout is trained there.
With other positions, or applied several times, ``runners.models.decoder`` is; its weights are [out, in].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runners.kernels import codes
from runners.kernels.codes import ALIBI, ROPE
from runners.kernels.layers import give, own_rows_back, weight_back
from runners.kernels.stack import Block, step_of
from runners.kernels.vector import (
    LANES,
    WIDE,
    add_rows,
    at,
    dot,
    exp,
    fill_rows,
    gemm,
    gemm_packing,
    inlined,
    kept,
    pack,
    pack_transposed,
    sigmoid,
    take,
    total_of,
    transpose_tile,
)

EPS = np.float32(1e-5)
C = np.float32(1.5957691216057308)
"""2 sqrt(2 / pi): GELU by its tanh approximation is u sigmoid(u (C + A u^2))."""
A = np.float32(0.044715 * 1.5957691216057308)


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
def norm_forward(x, rows, d, w, out, stats):
    """Layer norm of x [rows, d] with ``w``, gain and bias [2, d]; mean and 1 / standard deviation of each row
    into stats [rows, 2]."""
    gain, bias = w, at(w, d)
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
def norm_backward(dy, x, stats, gain, rows, d, d_w, dx, scratch):
    """Add d(x) to dx [rows, d] and the gradients of gain and bias to d_w [2, d]; scratch is [2, d]."""
    d_gain, d_bias = d_w, at(d_w, d)
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
def attend(q, q_row, k, v, kv_row, L, Q, places, heads, depth, wide, how, table, p, merged, turned):
    """Q queries of one sequence at ``places`` over its L keys: probabilities p [heads, Q, wide], what is read
    into merged [Q, heads depth]. With ALIBI each head's slope, times sqrt(depth), is in ``table``."""
    for head in range(heads):
        own, here = at(p, head * Q * wide), head * depth
        for first in range(0, wide, LANES):
            for c in range(0, depth, LANES):
                transpose_tile(at(k, first * kv_row + here + c), kv_row, at(turned, c * wide + first), wide)
        gemm(at(q, here), q_row, 1, turned, wide, WIDE, own, wide, Q, wide, depth, 0)
        scale = np.float32(1.0) / np.sqrt(np.float32(depth))
        for i in range(Q):
            row, t = at(own, i * wide), places[i]
            if how == ALIBI:
                for j in range(wide):
                    row[j] -= table[head] * np.float32(t - j)
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
def turn(x, row, rows, places, heads, depth, table, back):
    """Turn each head of x [rows, heads depth] by the angles of its position (``back`` -1: the other way);
    table [positions, depth] has cosines, then sines, of channels i and i + depth / 2.
    """
    half = depth // 2
    for r in range(rows):
        cosine = at(table, places[r] * depth)
        sine = at(cosine, half)
        for head in range(heads):
            a = at(x, r * row + head * depth)
            b = at(a, half)
            for i in range(half):
                one, other, s = a[i], b[i], sine[i] * back
                a[i] = one * cosine[i] - other * s
                b[i] = other * cosine[i] + one * s


# Long: one block, in the order of its parts.
@kept
def block_forward(
    x, w, packed, N, M, own, last, starts, outs, places, all_places, sequences, d, about, table, room,
    kept_here, s, out,
):  # fmt: skip
    """One block. ``about``: heads, padded positions, and how positions enter attention: ROPE, ALIBI or 0."""
    heads, wide, how = about[0], about[1], about[2]
    a, qkv, merged, middle, b, u, gate, p, stats_1, stats_2, a_own, x_own, q_own = kept_by(
        kept_here, room, d, heads, wide
    )
    active, turned = s, at(s, room * 4 * d)
    gain_1, _, _, attn_bias, _, proj_bias, gain_2, _, _, fc_bias, _, out_bias = parameters_of(w, d)
    to_q, to_kv, proj, fc, to_out = weights_of(packed, d)
    norm_forward(x, N, d, gain_1, a, stats_1)
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
    if how == ROPE:
        turn(q, q_row, M, places, heads, d // heads, table, np.float32(1.0))
        turn(at(qkv, d), 3 * d, N, all_places, heads, d // heads, table, np.float32(1.0))
    for i in range(sequences):
        first, Q = outs[i], outs[i + 1] - outs[i]
        begin = starts[i]
        keys = at(qkv, begin * 3 * d + d)
        attend(
            at(q, first * q_row), q_row, keys, at(keys, d), 3 * d, starts[i + 1] - begin, Q,
            at(places, first), heads, d // heads, wide, how, table, at(p, first * heads * wide),
            at(merged, first * d), turned,
        )  # fmt: skip
    for r in range(M):
        row, into = at(residual, r * d), at(middle, r * d)
        for j in range(d):
            into[j] = row[j] + proj_bias[j]
    gemm(merged, d, 1, proj, WIDE, WIDE * d, middle, d, M, d, d, 1)
    norm_forward(middle, M, d, gain_2, b, stats_2)
    fill_rows(u, M, 4 * d, 4 * d, fc_bias)
    gemm(b, d, 1, fc, WIDE, WIDE * d, u, 4 * d, M, 4 * d, d, 1)
    for i in range(M * 4 * d):
        g = sigmoid(u[i] * (C + A * (u[i] * u[i])))
        gate[i] = g
        active[i] = u[i] * g
    for r in range(M):
        row, into = at(middle, r * d), at(out, r * d)
        for j in range(d):
            into[j] = row[j] + out_bias[j]
    gemm(active, 4 * d, 1, to_out, WIDE, WIDE * 4 * d, out, d, M, d, 4 * d, 1)


# Long: one function, of which the compiler knows two others.
def backward_of(whole_back: Any, part_back: Any) -> Any:
    """The block's way back, for weights of one layout: ``whole_back`` (x, its row, d(y), its row, d(weight),
    inputs, outputs, rows, panels) adds to the gradient of a weight, ``part_back`` to that of some outputs."""

    # Long: one block, backwards, in the order of its parts.
    @kept
    def block_backward(
        d_out, x, w, g, packed, N, M, own, last, starts, outs, places, all_places, sequences, d, about,
        table, room, kept_here, s, d_x,
    ):  # fmt: skip
        """d(x) [N, d] into d_x from d_out [M, d]; gradients are added to g."""
        heads, wide, how = about[0], about[1], about[2]
        a, qkv, merged, middle, b, u, gate, p, stats_1, stats_2, a_own, _, q_own = kept_by(
            kept_here, room, d, heads, wide
        )
        packed_round = at(packed, panels_of(d, WIDE))
        active, turned = s, at(s, room * 4 * d)
        ds = at(turned, padded(d) * wide)
        d_inner, d_normed = at(ds, room * wide), at(ds, room * wide + room * 4 * d)
        d_merged, d_qkv, d_q = at(d_normed, room * d), at(d_normed, 2 * room * d), at(d_normed, 5 * room * d)
        small, panels = at(d_q, room * d), at(d_q, room * d + 2 * d)
        (
            d_norm_1, _, d_attn, d_attn_bias, d_proj, d_proj_bias, d_norm_2, _, d_fc, d_fc_bias, d_last,
            d_last_bias,
        ) = parameters_of(g, d)  # fmt: skip
        gain_1, _, _, _, _, _, gain_2, _, _, _, _, _ = parameters_of(w, d)
        from_qkv, from_proj, from_fc, from_out = turned_of(packed_round, d)
        for i in range(M * 4 * d):
            active[i] = u[i] * gate[i]
        whole_back(active, 4 * d, d_out, d, d_last, 4 * d, d, M, panels)
        add_rows(d_out, M, d, d, d_last_bias)
        gemm(d_out, d, 1, from_out, WIDE, WIDE * d, d_inner, 4 * d, M, 4 * d, d, 0)
        for i in range(M * 4 * d):
            s_, v = gate[i], u[i]
            slope = s_ + v * s_ * (np.float32(1.0) - s_) * (C + np.float32(3.0) * A * (v * v))
            d_inner[i] *= slope
        whole_back(b, d, d_inner, 4 * d, d_fc, d, 4 * d, M, panels)
        add_rows(d_inner, M, 4 * d, 4 * d, d_fc_bias)
        gemm(d_inner, 4 * d, 1, from_fc, WIDE, WIDE * 4 * d, d_normed, d, M, d, 4 * d, 0)
        norm_backward(d_normed, middle, stats_2, gain_2, M, d, d_norm_2, d_out, small)
        whole_back(merged, d, d_out, d, d_proj, d, d, M, panels)
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
        if how == ROPE:
            turn(dq, q_row, M, places, heads, d // heads, table, np.float32(-1.0))
            turn(at(d_qkv, d), 3 * d, N, all_places, heads, d // heads, table, np.float32(-1.0))
        if last == 1:
            part_back(a_own, d, d_q, d, d_attn, 0, d, d, M, panels)
            part_back(a, d, at(d_qkv, d), 3 * d, d_attn, d, d, 2 * d, N, panels)
            add_rows(d_q, M, d, d, d_attn_bias)
            add_rows(at(d_qkv, d), N, 2 * d, 3 * d, at(d_attn_bias, d))
            gemm(
                at(d_qkv, d), 3 * d, 1, at(from_qkv, WIDE * d), WIDE, WIDE * 3 * d, d_normed, d, N, d, 2 * d,
                0,
            )  # fmt: skip
            gemm(d_q, d, 1, from_qkv, WIDE, WIDE * 3 * d, d_merged, d, M, d, d, 0)
            give(d_merged, own, M, d, d_normed)
        else:
            whole_back(a, d, d_qkv, 3 * d, d_attn, d, 3 * d, N, panels)
            add_rows(d_qkv, N, 3 * d, 3 * d, d_attn_bias)
            gemm(d_qkv, 3 * d, 1, from_qkv, WIDE, WIDE * 3 * d, d_normed, d, N, d, 3 * d, 0)
        own_rows_back(d_out, own, last, M, N, d, d_x)
        norm_backward(d_normed, x, stats_1, gain_1, N, d, d_norm_1, d_x, small)

    return block_backward


@kept
def plain_back(x, x_row, dy, dy_row, d_weight, inputs, outputs, rows, panels):
    """Add to the gradient of a weight [in, out]."""
    gemm_packing(x, 1, x_row, dy, dy_row, d_weight, outputs, inputs, outputs, rows, panels)


@kept
def plain_part_back(x, x_row, dy, dy_row, d_weight, first, inputs, outputs, rows, panels):
    """Add to the gradient of the outputs from ``first`` on, of attention's weight [in, 3 in]."""
    gemm_packing(x, 1, x_row, dy, dy_row, at(d_weight, first), 3 * inputs, inputs, outputs, rows, panels)


@kept
def turned_part_back(x, x_row, dy, dy_row, d_weight, first, inputs, outputs, rows, panels):
    """Add to the gradient of the outputs from ``first`` on, of attention's weight [3 in, in]."""
    weight_back(x, x_row, dy, dy_row, at(d_weight, first * inputs), inputs, outputs, rows, panels)


@kept
def plain_pack(w, d, _about, packed):
    """Lay the weights [in, out] of a block out in panels, as they are and turned round."""
    _, _, attn, _, proj, _, _, _, fc, _, out, _ = parameters_of(w, d)
    to_q, to_kv, to_proj, to_fc, to_out = weights_of(packed, d)
    pack(attn, d, d, 3 * d, to_q)
    pack(at(attn, d), d, 2 * d, 3 * d, to_kv)
    pack(proj, d, d, d, to_proj)
    pack(fc, d, 4 * d, 4 * d, to_fc)
    pack(out, 4 * d, d, d, to_out)
    from_qkv, from_proj, from_fc, from_out = turned_of(at(packed, panels_of(d, WIDE)), d)
    pack_transposed(attn, d, 3 * d, from_qkv)
    pack_transposed(proj, d, d, from_proj)
    pack_transposed(fc, d, 4 * d, from_fc)
    pack_transposed(out, 4 * d, d, from_out)


@kept
def turned_pack(w, d, _about, packed):
    """The same of weights [out, in]."""
    _, _, attn, _, proj, _, _, _, fc, _, out, _ = parameters_of(w, d)
    to_q, to_kv, to_proj, to_fc, to_out = weights_of(packed, d)
    pack_transposed(attn, d, d, to_q)
    pack_transposed(at(attn, d * d), 2 * d, d, to_kv)
    pack_transposed(proj, d, d, to_proj)
    pack_transposed(fc, 4 * d, d, to_fc)
    pack_transposed(out, d, 4 * d, to_out)
    from_qkv, from_proj, from_fc, from_out = turned_of(at(packed, panels_of(d, WIDE)), d)
    pack(attn, 3 * d, d, d, from_qkv)
    pack(proj, d, d, d, from_proj)
    pack(fc, 4 * d, d, d, from_fc)
    pack(out, d, 4 * d, 4 * d, from_out)


def block_of(pack_block: Any, whole_back: Any, part_back: Any) -> Block:
    """The block with weights of one layout."""
    return Block(
        forward=block_forward,
        backward=backward_of(whole_back, part_back),
        pack=pack_block,
        norm_forward=norm_forward,
        norm_backward=norm_backward,
        norm_rows=2,
        biased=0,
    )


run = step_of(block_of(plain_pack, plain_back, plain_part_back))
