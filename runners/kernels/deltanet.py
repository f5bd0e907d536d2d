"""The block of a delta rule and an MLP: x + rule(norm(x)), then x + MLP(norm(x)).

``runners.models.deltanet`` is the same in torch, and the reference: S <- (I - beta k k^T) S + beta k v^T, a
few times for a token, with S <- exp(g) S before where there is a gate. No state is made here. With u_i what
step i writes along k_i, the state is the sum of k_j u_j^T so far, so that

    u_i = beta_i (v_i - sum_{j<i} A_ij u_j),    o_t = sum_j P_tj u_j,

where A = K K^T and P = Q K^T, decayed by the gates between: products of matrices, and one substitution from
the first step of a sequence to its last (the form of Yang et al. 2024, in one chunk).
"""

from __future__ import annotations

import numpy as np

from runners.kernels import codes
from runners.kernels.layers import (
    convolve,
    convolve_back,
    give_taps,
    own_rows,
    own_rows_back,
    rms_backward,
    rms_block,
    rms_forward,
    silu,
    silu_slope,
    softplus,
    turn_taps,
    weight_back,
)
from runners.kernels.stack import step_of
from runners.kernels.vector import (
    LANES,
    WIDE,
    at,
    copy,
    dot,
    exp,
    gemm,
    inlined,
    kept,
    pack,
    pack_transposed,
    sigmoid,
    take,
    transpose_tile,
    zero,
)

padded = inlined(codes.padded)
UNIT_EPS = np.float32(1e-6)


@inlined
def parameters_of(w, d, n, heads, gate):
    """What stands where in the parameters of a block, and in their gradients: the norm, the projection to
    queries, keys, values and betas, the norm of what is read, the output, the MLP's norm and layers, the
    gate's weight, A_log and bias, the convolutions."""
    project = at(w, d)
    out_norm = at(project, ((1 + 2 * n) * d + n * heads) * d)
    out = at(out_norm, d)
    mlp_norm = at(out, d * d)
    mlp_in = at(mlp_norm, d)
    mlp_out = at(mlp_in, 4 * d * d)
    a = at(mlp_out, 4 * d * d)
    A_log = at(a, heads * d)
    dt_bias = at(A_log, heads)
    taps = at(a, gate * (heads * d + 2 * heads))
    return w, project, out_norm, out, mlp_norm, mlp_in, mlp_out, a, A_log, dt_bias, taps


@inlined
def panels_of(packed, d, R, heads):
    """What stands where in the packed weights: projection, output, the MLP's layers and the gate, as they are
    and turned round, then the convolutions' taps."""
    one, four = padded(d, WIDE), padded(4 * d, WIDE)
    to_out = at(packed, padded(R, WIDE) * d)
    to_in = at(to_out, one * d)
    to_down = at(to_in, four * d)
    to_a = at(to_down, one * 4 * d)
    project = at(to_a, padded(heads, WIDE) * d)
    out = at(project, one * R)
    mlp_in = at(out, one * d)
    mlp_out = at(mlp_in, one * 4 * d)
    a = at(mlp_out, four * d)
    return packed, to_out, to_in, to_down, to_a, project, out, mlp_in, mlp_out, a, at(a, one * heads)


@inlined
def kept_by(here, room, d, n, heads, R, C, wide):
    """What a block keeps for its way back, of ``room`` rows: the normed input; the projection, and that after
    the convolution; queries, keys, values; what the first two were scaled by; betas; what the gate reads, and
    g; A; P; what a step finds missing, and writes; what is read, its scales, that normed; the sum after it,
    normed; the MLP's inner rows; both norms' scales; the queries of a last block's own.
    """
    z = at(here, room * d)
    zc = at(z, room * R)
    fq = at(zc, room * C)
    fk = at(fq, room * d)
    fv = at(fk, room * n * d)
    rq = at(fv, room * n * d)
    rk = at(rq, room * heads)
    beta = at(rk, room * n * heads)
    pre = at(beta, room * n * heads)
    g = at(pre, room * heads)
    A = at(g, room * heads)
    P = at(A, room * n * heads * wide)
    missing = at(P, room * heads * wide)
    u = at(missing, room * n * d)
    o = at(u, room * n * d)
    ro = at(o, room * d)
    on = at(ro, room * heads)
    middle = at(on, room * d)
    b = at(middle, room * d)
    inner = at(b, room * d)
    scale_1 = at(inner, room * 4 * d)
    scale_2 = at(scale_1, room)
    q_own = at(scale_2, room)
    return (
        here, z, zc, fq, fk, fv, rq, rk, beta, pre, g, A, P, missing, u, o, ro, on, middle, b, inner,
        scale_1, scale_2, q_own,
    )  # fmt: skip


@kept
def pack_block(w, d, about, packed):
    heads, n, gate, conv = about[0], about[1], about[2], about[3]
    R, C = (1 + 2 * n) * d + n * heads, (1 + 2 * n) * d
    _, project, _, out, _, mlp_in, mlp_out, a, _, _, taps = parameters_of(w, d, n, heads, gate)
    to_z, to_out, to_in, to_down, to_a, from_z, from_out, from_in, from_down, from_a, turned = panels_of(
        packed, d, R, heads
    )
    pack_transposed(project, R, d, to_z)
    pack_transposed(out, d, d, to_out)
    pack_transposed(mlp_in, 4 * d, d, to_in)
    pack_transposed(mlp_out, d, 4 * d, to_down)
    pack(project, R, d, d, from_z)
    pack(out, d, d, d, from_out)
    pack(mlp_in, 4 * d, d, d, from_in)
    pack(mlp_out, d, 4 * d, 4 * d, from_down)
    if gate == 1:
        pack_transposed(a, heads, d, to_a)
        pack(a, heads, d, d, from_a)
    if conv == 1:
        turn_taps(taps, C, turned)


@kept
def unit_silu(z, z_row, rows, count, size, out, scales):
    """silu of z [rows, z_row], each ``size`` of its ``count size`` numbers scaled to unit length."""
    d = count * size
    for r in range(rows):
        row, into = at(z, r * z_row), at(out, r * d)
        for j in range(d):
            into[j] = silu(row[j])
        for c in range(count):
            one = at(into, c * size)
            scale = np.float32(1.0) / np.sqrt(dot(one, one, size) + UNIT_EPS)
            for j in range(size):
                one[j] *= scale
            scales[r * count + c] = scale


@kept
def unit_silu_back(d_y, y, scales, z, z_row, rows, count, size, d_z, d_z_row):
    """d(z) from that of the unit vectors y; d_y is used up."""
    d = count * size
    for r in range(rows):
        for c in range(count):
            place = r * d + c * size
            above, unit, scale = at(d_y, place), at(y, place), scales[r * count + c]
            along = dot(above, unit, size)
            for j in range(size):
                above[j] = scale * (above[j] - unit[j] * along)
        above, row, into = at(d_y, r * d), at(z, r * z_row), at(d_z, r * d_z_row)
        for j in range(d):
            into[j] = above[j] * silu_slope(row[j])


@inlined
def steps_seen(place, n):
    """The steps that a read after the token at ``place`` sees."""
    return n * (place + 1)


@kept
def turn_rows(x, d, size, wide, turned):
    """x [wide, size], rows d apart, as turned [size, wide]; whole vectors are read and written."""
    for first in range(0, wide, LANES):
        for c in range(0, size, LANES):
            transpose_tile(at(x, first * d + c), d, at(turned, c * wide + first), wide)


@kept
def move_on(g, heads, head, n, now, place, sums):
    """From the sums at token ``now`` (-1: none yet) to those at ``place``: for each step so far, the gates
    since. Added up as it goes: a difference of two large sums would have lost the digits.
    """
    while now < place:
        now += 1
        for j in range(n * now):
            sums[j] += g[now * heads + head]
        for j in range(n * now, n * (now + 1)):
            sums[j] = np.float32(0.0)
    return now


@kept
def forget(row, seen, wide, gate, sums):
    """What a row of A or P has of the first ``seen`` steps, after the gates since; nothing of the others."""
    if gate == 1:
        for j in range(seen):
            row[j] *= exp(sums[j])
    for j in range(seen, wide):
        row[j] = np.float32(0.0)


@kept
def forget_back(slope, row, seen, wide, gate, sums, of_sum, heads, n, place):
    """From the gradient of a row that belongs to the token at ``place`` that before the gates, and of their
    sums up to each token."""
    if gate == 1:
        for j in range(seen):
            x = slope[j] * row[j]
            of_sum[place * heads] += x
            of_sum[(j // n) * heads] -= x
            slope[j] *= exp(sums[j])
    for j in range(seen, wide):
        slope[j] = np.float32(0.0)


# Long: one sequence and head after another, in the order of the equations.
@kept
def read_forward(
    q, fk, fv, beta, g, starts, outs, places, sequences, d, n, heads, gate, wide, A, P, missing, u, o, turned,
    sums,
):  # fmt: skip
    """o [M, d] of queries q [M, d]; A, P, ``missing`` and u are kept."""
    size = d // heads
    for sequence in range(sequences):
        begin, first = starts[sequence], outs[sequence]
        L, Q = starts[sequence + 1] - begin, outs[sequence + 1] - first
        steps = n * L
        for head in range(heads):
            here = begin * n * d + head * size
            k, v, wrote, found = at(fk, here), at(fv, here), at(u, here), at(missing, here)
            own = at(A, begin * n * heads * wide + head * steps * wide)
            read = at(P, first * heads * wide + head * Q * wide)
            queries, into = at(q, first * d + head * size), at(o, first * d + head * size)
            turn_rows(k, d, size, wide, turned)
            gemm(k, d, 1, turned, wide, WIDE, own, wide, steps, wide, size, 0)
            gemm(queries, d, 1, turned, wide, WIDE, read, wide, Q, wide, size, 0)
            gates, now = at(g, begin * heads), -1
            for i in range(steps):
                row = at(own, i * wide)
                if gate == 1:
                    now = move_on(gates, heads, head, n, now, i // n, sums)
                forget(row, i, wide, gate, sums)
            now = -1
            for i in range(Q):
                row, place = at(read, i * wide), places[first + i]
                if gate == 1:
                    now = move_on(gates, heads, head, n, now, place, sums)
                forget(row, steps_seen(place, n), wide, gate, sums)
            for i in range(steps):
                lacks, writes, value = at(found, i * d), at(wrote, i * d), at(v, i * d)
                if i > 0:
                    gemm(at(own, i * wide), wide, 1, wrote, d, WIDE, lacks, d, 1, size, i, 0)
                    for j in range(size):
                        lacks[j] = value[j] - lacks[j]
                else:
                    for j in range(size):
                        lacks[j] = value[j]
                by = beta[(begin * n + i) * heads + head]
                for j in range(size):
                    writes[j] = by * lacks[j]
            gemm(read, wide, 1, wrote, d, WIDE, into, d, Q, size, steps, 0)


# Long: the same backwards.
@kept
def read_backward(
    d_o, q, fk, beta, g, starts, outs, places, sequences, d, n, heads, gate, wide, A, P, missing, u, dq,
    dk, dv, d_beta, d_sums, turned, dA, dP, sums, line,
):  # fmt: skip
    """Gradients of queries, keys, values and betas, and of the sums of gates up to each token [N, heads]."""
    size = d // heads
    for sequence in range(sequences):
        begin, first = starts[sequence], outs[sequence]
        L, Q = starts[sequence + 1] - begin, outs[sequence + 1] - first
        steps = n * L
        for head in range(heads):
            here, there = begin * n * d + head * size, first * d + head * size
            k, wrote, found, d_k, d_v = (
                at(fk, here),
                at(u, here),
                at(missing, here),
                at(dk, here),
                at(dv, here),
            )
            own = at(A, begin * n * heads * wide + head * steps * wide)
            read = at(P, first * heads * wide + head * Q * wide)
            queries, above, d_q = at(q, there), at(d_o, there), at(dq, there)
            of_sum = at(d_sums, begin * heads + head)
            gates, now = at(g, begin * heads), -1
            turn_rows(wrote, d, size, wide, turned)
            gemm(above, d, 1, turned, wide, WIDE, dP, wide, Q, wide, size, 0)
            gemm(read, 1, wide, above, d, WIDE, d_v, d, steps, size, Q, 0)
            for i in range(Q):
                slope, row, place = at(dP, i * wide), at(read, i * wide), places[first + i]
                if gate == 1:
                    now = move_on(gates, heads, head, n, now, place, sums)
                forget_back(slope, row, steps_seen(place, n), wide, gate, sums, of_sum, heads, n, place)
            gemm(dP, wide, 1, k, d, WIDE, d_q, d, Q, size, steps, 0)
            gemm(dP, 1, wide, queries, d, WIDE, d_k, d, steps, size, Q, 0)
            for i in range(steps - 1, -1, -1):
                slope = at(d_v, i * d)
                if i + 1 < steps:
                    below = at(own, (i + 1) * wide + i)
                    gemm(below, 1, wide, at(d_v, (i + 1) * d), d, WIDE, line, d, 1, size, steps - i - 1, 0)
                    for j in range(size):
                        slope[j] -= line[j]
                where = (begin * n + i) * heads + head
                d_beta[where] = dot(slope, at(found, i * d), size)
                by = beta[where]
                for j in range(size):
                    slope[j] *= by
            gemm(d_v, d, 1, turned, wide, WIDE, dA, wide, steps, wide, size, 0)
            now = -1
            for i in range(steps):
                slope, row = at(dA, i * wide), at(own, i * wide)
                for j in range(i):
                    slope[j] = -slope[j]
                if gate == 1:
                    now = move_on(gates, heads, head, n, now, i // n, sums)
                forget_back(slope, row, i, wide, gate, sums, of_sum, heads, n, i // n)
            gemm(dA, wide, 1, k, d, WIDE, d_k, d, steps, size, steps, 1)
            gemm(dA, 1, wide, k, d, WIDE, d_k, d, steps, size, steps, 1)


@kept
def gate_forward(pre, N, heads, A_log, dt_bias, g):
    """g [N, heads] from what the gate reads."""
    for r in range(N):
        for head in range(heads):
            i = r * heads + head
            g[i] = -exp(A_log[head]) * softplus(pre[i] + dt_bias[head])


@kept
def gate_backward(d_sums, pre, heads, A_log, dt_bias, starts, sequences, g, d_A_log, d_dt_bias):
    """From that of the sums, which is used up, the gradient of what the gate reads, and of its parameters."""
    for sequence in range(sequences):
        begin, end = starts[sequence], starts[sequence + 1]
        for r in range(end - 1, begin - 1, -1):
            for head in range(heads):
                i = r * heads + head
                if r + 1 < end:
                    d_sums[i] += d_sums[i + heads]
        for r in range(begin, end):
            for head in range(heads):
                i = r * heads + head
                d_A_log[head] += d_sums[i] * g[i]
                d_sums[i] *= -exp(A_log[head]) * sigmoid(pre[i] + dt_bias[head])
                d_dt_bias[head] += d_sums[i]


# Long: one block, in the order of its parts.
@kept
def block_forward(
    x, w, packed, N, M, own, last, starts, outs, places, _all_places, sequences, d, about, _table, room,
    kept_here, s, out,
):  # fmt: skip
    """``about``: heads, steps a token, 1 with a gate, with convolutions, with eigenvalues in [-1,1], padded
    steps of a sequence."""
    heads, n, gate, conv, negative, wide = about[0], about[1], about[2], about[3], about[4], about[5]
    R, C = (1 + 2 * n) * d + n * heads, (1 + 2 * n) * d
    (
        a, z, zc, fq, fk, fv, rq, rk, beta, pre, g, A, P, missing, u, o, ro, on, middle, b, inner,
        scale_1, scale_2, q_own,
    ) = kept_by(kept_here, room, d, n, heads, R, C, wide)  # fmt: skip
    norm, _, out_norm, _, mlp_norm, _, _, _, A_log, dt_bias, _ = parameters_of(w, d, n, heads, gate)
    to_z, to_out, to_in, to_down, to_a, _, _, _, _, _, taps = panels_of(packed, d, R, heads)
    active, turned = s, at(s, room * 4 * d)
    sums = at(turned, padded(d, LANES) * wide)
    rms_forward(x, N, d, norm, 1, a, scale_1)
    gemm(a, d, 1, to_z, WIDE, WIDE * d, z, R, N, R, d, 0)
    made, row = z, R
    if conv == 1:
        convolve(z, R, starts, sequences, C, taps, zc)
        made, row = zc, C
    unit_silu(made, row, N, heads, d // heads, fq, rq)
    most = np.float32(1.0) + np.float32(negative)
    for r in range(N):
        for j in range(n):
            at_row = at(made, r * row + d + j * d)
            unit_silu(at_row, d, 1, heads, d // heads, at(fk, (r * n + j) * d), at(rk, (r * n + j) * heads))
            value, into = at(made, r * row + d + (n + j) * d), at(fv, (r * n + j) * d)
            for i in range(d):
                into[i] = silu(value[i])
        for i in range(n * heads):
            beta[r * n * heads + i] = most * sigmoid(z[r * R + C + i])
    if gate == 1:
        gemm(a, d, 1, to_a, WIDE, WIDE * d, pre, heads, N, heads, d, 0)
        gate_forward(pre, N, heads, A_log, dt_bias, g)
    q = fq
    if last == 1:
        take(fq, own, M, d, q_own)
        q = q_own
    own_rows(x, own, last, M, d, middle)
    read_forward(
        q, fk, fv, beta, g, starts, outs, places, sequences, d, n, heads, gate, wide, A, P, missing, u, o,
        turned, sums,
    )  # fmt: skip
    rms_forward(o, M * heads, d // heads, out_norm, heads, on, ro)
    gemm(on, d, 1, to_out, WIDE, WIDE * d, middle, d, M, d, d, 1)
    rms_forward(middle, M, d, mlp_norm, 1, b, scale_2)
    gemm(b, d, 1, to_in, WIDE, WIDE * d, inner, 4 * d, M, 4 * d, d, 0)
    for i in range(M * 4 * d):
        active[i] = silu(inner[i])
    copy(middle, M * d, out)
    gemm(active, 4 * d, 1, to_down, WIDE, WIDE * 4 * d, out, d, M, d, 4 * d, 1)


# Long: one block, backwards, in the order of its parts.
@kept
def block_backward(
    d_out, x, w, grad, packed, N, M, own, last, starts, outs, places, _all_places, sequences, d, about,
    _table, room, kept_here, s, d_x,
):  # fmt: skip
    heads, n, gate, conv, negative, wide = about[0], about[1], about[2], about[3], about[4], about[5]
    R, C = (1 + 2 * n) * d + n * heads, (1 + 2 * n) * d
    (
        a, z, zc, fq, fk, _, rq, rk, beta, pre, g, A, P, missing, u, o, ro, on, middle, b, inner,
        scale_1, scale_2, q_own,
    ) = kept_by(kept_here, room, d, n, heads, R, C, wide)  # fmt: skip
    norm, _, out_norm, _, mlp_norm, _, _, _, A_log, dt_bias, _ = parameters_of(w, d, n, heads, gate)
    (
        d_norm, d_project, d_out_norm, d_w_out, d_mlp_norm, d_mlp_in, d_mlp_out, d_w_a, d_A_log, d_dt_bias,
        d_conv,
    ) = parameters_of(grad, d, n, heads, gate)  # fmt: skip
    _, _, _, _, _, from_z, from_out, from_in, from_down, from_a, taps = panels_of(packed, d, R, heads)
    active, turned = s, at(s, room * 4 * d)
    sums = at(turned, padded(d, LANES) * wide)
    d_inner = at(sums, wide)
    d_b, d_o, dq = at(d_inner, room * 4 * d), at(d_inner, room * 5 * d), at(d_inner, room * 6 * d)
    d_all_q = at(dq, room * d)
    dk = at(d_all_q, room * d)
    dv = at(dk, room * n * d)
    d_z = at(dv, room * n * d)
    d_zc = at(d_z, room * R)
    dA = at(d_zc, room * C)
    dP = at(dA, room * n * wide)
    d_beta = at(dP, room * wide)
    d_sums = at(d_beta, room * n * heads)
    d_taps = at(d_sums, room * heads)
    small = at(d_taps, 4 * C)
    panels = at(small, 2 * d)
    for i in range(M * 4 * d):
        active[i] = silu(inner[i])
    weight_back(active, 4 * d, d_out, d, d_mlp_out, 4 * d, d, M, panels)
    gemm(d_out, d, 1, from_down, WIDE, WIDE * d, d_inner, 4 * d, M, 4 * d, d, 0)
    for i in range(M * 4 * d):
        d_inner[i] *= silu_slope(inner[i])
    weight_back(b, d, d_inner, 4 * d, d_mlp_in, d, 4 * d, M, panels)
    gemm(d_inner, 4 * d, 1, from_in, WIDE, WIDE * 4 * d, d_b, d, M, d, 4 * d, 0)
    rms_backward(d_b, middle, scale_2, mlp_norm, M, d, 1, d_mlp_norm, d_out, small)
    weight_back(on, d, d_out, d, d_w_out, d, d, M, panels)
    gemm(d_out, d, 1, from_out, WIDE, WIDE * d, d_b, d, M, d, d, 0)
    zero(d_o, M * d)
    rms_backward(d_b, o, ro, out_norm, M * heads, d // heads, heads, d_out_norm, d_o, small)
    zero(d_sums, N * heads)
    q = q_own if last == 1 else fq
    read_backward(
        d_o, q, fk, beta, g, starts, outs, places, sequences, d, n, heads, gate, wide, A, P, missing, u,
        dq, dk, dv, d_beta, d_sums, turned, dA, dP, sums, small,
    )  # fmt: skip
    own_rows_back(d_out, own, last, M, N, d, d_x)
    if last == 1:
        own_rows_back(dq, own, last, M, N, d, d_all_q)
        dq = d_all_q
    made, row, d_made, d_row = z, R, d_z, R
    if conv == 1:
        made, row, d_made, d_row = zc, C, d_zc, C
    unit_silu_back(dq, fq, rq, made, row, N, heads, d // heads, d_made, d_row)
    most = np.float32(1.0) + np.float32(negative)
    for r in range(N):
        for j in range(n):
            k = (r * n + j) * d
            unit_silu_back(
                at(dk, k), at(fk, k), at(rk, (r * n + j) * heads), at(made, r * row + d + j * d), d, 1, heads,
                d // heads, at(d_made, r * d_row + d + j * d), d,
            )  # fmt: skip
            value, above = at(made, r * row + d + (n + j) * d), at(dv, k)
            into = at(d_made, r * d_row + d + (n + j) * d)
            for i in range(d):
                into[i] = above[i] * silu_slope(value[i])
        for i in range(n * heads):
            by = beta[r * n * heads + i]
            d_z[r * R + C + i] = d_beta[r * n * heads + i] * by * (np.float32(1.0) - by / most)
    if conv == 1:
        zero(d_taps, 4 * C)
        convolve_back(z, R, d_zc, starts, sequences, C, taps, d_z, R, d_taps)
        give_taps(d_taps, C, d_conv)
    weight_back(a, d, d_z, R, d_project, d, R, N, panels)
    gemm(d_z, R, 1, from_z, WIDE, WIDE * R, d_b, d, N, d, R, 0)
    if gate == 1:
        gate_backward(d_sums, pre, heads, A_log, dt_bias, starts, sequences, g, d_A_log, d_dt_bias)
        weight_back(a, d, d_sums, heads, d_w_a, d, heads, N, panels)
        gemm(d_sums, heads, 1, from_a, WIDE, WIDE * heads, d_b, d, N, d, heads, 1)
    rms_backward(d_b, x, scale_1, norm, N, d, 1, d_norm, d_x, small)


run = step_of(rms_block(block_forward, block_backward, pack_block))
