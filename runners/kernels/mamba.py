"""The block of Mamba's S6: x + mix(norm(x)), with its short convolution and gate, one position after another.

``runners.models.mamba`` is the same in torch, and the reference. The state lies as [N, c], channels
innermost, so that a position's step goes over whole vectors: h = e(dt A) h + dt u B, y = C h + D u.
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
    WIDE,
    add_rows,
    at,
    dot,
    exp,
    fill_rows,
    gemm,
    inlined,
    kept,
    pack,
    pack_transposed,
    reduced,
    sigmoid,
    zero,
)

padded = inlined(codes.padded)


@inlined
def parameters_of(w, d, c, states, rank):
    """What stands where in the parameters of a block, and in their gradients: the norm, the projection in,
    the convolution's weight and bias, the projection to steps, B and C, that of the steps and its bias,
    A_log, D, the projection out."""
    into = at(w, d)
    taps = at(into, 2 * c * d)
    conv_bias = at(taps, 4 * c)
    select = at(conv_bias, c)
    to_dt = at(select, (rank + 2 * states) * c)
    dt_bias = at(to_dt, c * rank)
    A_log = at(dt_bias, c)
    D = at(A_log, c * states)
    return w, into, taps, conv_bias, select, to_dt, dt_bias, A_log, D, at(D, c)


@inlined
def panels_of(packed, d, c, states, rank):
    """What stands where in the packed weights: in, to steps with B and C, to the steps' channels, out, as
    they are and turned round; the convolution's taps; A [states, c]."""
    made = rank + 2 * states
    select = at(packed, padded(2 * c, WIDE) * d)
    to_dt = at(select, padded(made, WIDE) * c)
    out = at(to_dt, padded(c, WIDE) * rank)
    from_in = at(out, padded(d, WIDE) * c)
    from_select = at(from_in, padded(d, WIDE) * 2 * c)
    from_dt = at(from_select, padded(c, WIDE) * made)
    from_out = at(from_dt, padded(rank, WIDE) * c)
    taps = at(from_out, padded(c, WIDE) * d)
    return packed, select, to_dt, out, from_in, from_select, from_dt, from_out, taps, at(taps, 4 * c)


@inlined
def kept_by(here, room, d, c, states, made):
    """What a block keeps for its way back, of ``room`` rows: the normed input; what goes in, with the gate;
    that after the convolution, and its silu; steps, B and C as they are made; the steps' sums and softplus;
    the states; what is read; that times the gate, of the rows that are put out; the norm's scales."""
    uz = at(here, room * d)
    conv = at(uz, room * 2 * c)
    u = at(conv, room * c)
    dbc = at(u, room * c)
    pre = at(dbc, room * made)
    dt = at(pre, room * c)
    h = at(dt, room * c)
    y = at(h, room * states * c)
    gated = at(y, room * c)
    return here, uz, conv, u, dbc, pre, dt, h, y, gated, at(gated, room * c)


@kept
def pack_block(w, d, about, packed):
    c, states, rank = about[0], about[1], about[2]
    made = rank + 2 * states
    _, into, conv, _, select, to_dt, _, A_log, _, out = parameters_of(w, d, c, states, rank)
    p_in, p_select, p_dt, p_out, from_in, from_select, from_dt, from_out, taps, A = panels_of(
        packed, d, c, states, rank
    )
    pack_transposed(into, 2 * c, d, p_in)
    pack_transposed(select, made, c, p_select)
    pack_transposed(to_dt, c, rank, p_dt)
    pack_transposed(out, d, c, p_out)
    pack(into, 2 * c, d, d, from_in)
    pack(select, made, c, c, from_select)
    pack(to_dt, c, rank, rank, from_dt)
    pack(out, d, c, c, from_out)
    turn_taps(conv, c, taps)
    for n in range(states):
        for i in range(c):
            A[n * c + i] = -exp(A_log[i * states + n])


@reduced
def weighed(x, y, z, n):
    """The sum of x y z."""
    total = np.float32(0.0)
    for i in range(n):
        total += x[i] * y[i] * z[i]
    return total


@kept
def scan_forward(dt, u, dbc, made, rank, A, D, negative, starts, sequences, c, states, h, y):
    """States h [N, states, c] and what is read of them, y [N, c]."""
    one = np.float32(1.0)
    for sequence in range(sequences):
        begin = starts[sequence]
        for r in range(begin, starts[sequence + 1]):
            step, read, into = at(dt, r * c), at(u, r * c), at(y, r * c)
            B, C = at(dbc, r * made + rank), at(dbc, r * made + rank + states)
            for i in range(c):
                into[i] = read[i] * D[i]
            for n in range(states):
                state, rate = at(h, (r * states + n) * c), at(A, n * c)
                by, out = B[n], C[n]
                if r > begin:
                    before = at(h, ((r - 1) * states + n) * c)
                    for i in range(c):
                        keep = exp(step[i] * rate[i])
                        keep = keep + keep - one if negative == 1 else keep
                        new = keep * before[i] + step[i] * read[i] * by
                        state[i] = new
                        into[i] += new * out
                else:
                    for i in range(c):
                        new = step[i] * read[i] * by
                        state[i] = new
                        into[i] += new * out


# Long: one sequence after another, from its last position to its first.
@kept
def scan_backward(
    d_y, dt, u, dbc, made, rank, A, D, negative, starts, sequences, c, states, h, d_dt, d_u, d_dbc, d_A, d_D,
    d_h,
):  # fmt: skip
    """Gradients of steps and inputs [N, c] and of B and C (in d_dbc [N, made]); those of A [states, c] and D
    are added up. d_h [states, c] is scratch."""
    one = np.float32(1.0)
    for sequence in range(sequences):
        begin = starts[sequence]
        zero(d_h, states * c)
        for r in range(starts[sequence + 1] - 1, begin - 1, -1):
            step, read, above = at(dt, r * c), at(u, r * c), at(d_y, r * c)
            of_step, of_read = at(d_dt, r * c), at(d_u, r * c)
            B, C = at(dbc, r * made + rank), at(dbc, r * made + rank + states)
            d_B, d_C = at(d_dbc, r * made + rank), at(d_dbc, r * made + rank + states)
            for i in range(c):
                d_D[i] += above[i] * read[i]
                of_read[i] = np.float32(0.0)
                of_step[i] = np.float32(0.0)
            for n in range(states):
                state, slope, rate = at(h, (r * states + n) * c), at(d_h, n * c), at(A, n * c)
                by, out = B[n], C[n]
                d_C[n] = dot(above, state, c)
                for i in range(c):
                    slope[i] += above[i] * out
                    of_read[i] += slope[i] * by
                d_B[n] = weighed(slope, step, read, c)
                if r > begin:
                    before, d_rate = at(h, ((r - 1) * states + n) * c), at(d_A, n * c)
                    for i in range(c):
                        e = exp(step[i] * rate[i])
                        keep = e + e - one if negative == 1 else e
                        x = slope[i] * before[i] * (e + e if negative == 1 else e)
                        of_step[i] += x * rate[i]
                        d_rate[i] += x * step[i]
                        slope[i] *= keep
            for i in range(c):
                # What was read of h is dt u B: its gradient goes to both.
                along = of_read[i]
                of_step[i] += along * read[i]
                of_read[i] = along * step[i] + above[i] * D[i]


# Long: one block, in the order of its parts.
@kept
def block_forward(
    x, w, packed, N, M, own, last, starts, _outs, _places, _all_places, sequences, d, about, _table, room,
    kept_here, _s, out,
):  # fmt: skip
    """``about``: channels, states, the rank of the steps' projection, 1 with transitions in [-1,1]."""
    c, states, rank, negative = about[0], about[1], about[2], about[3]
    made = rank + 2 * states
    a, uz, conv, u, dbc, pre, dt, h, y, gated, scales = kept_by(kept_here, room, d, c, states, made)
    norm, _, _, conv_bias, _, _, dt_bias, _, D, _ = parameters_of(w, d, c, states, rank)
    p_in, p_select, p_dt, p_out, _, _, _, _, taps, A = panels_of(packed, d, c, states, rank)
    rms_forward(x, N, d, norm, 1, a, scales)
    gemm(a, d, 1, p_in, WIDE, WIDE * d, uz, 2 * c, N, 2 * c, d, 0)
    convolve(uz, 2 * c, starts, sequences, c, taps, conv)
    for r in range(N):
        row, into = at(conv, r * c), at(u, r * c)
        for i in range(c):
            row[i] += conv_bias[i]
            into[i] = silu(row[i])
    gemm(u, c, 1, p_select, WIDE, WIDE * c, dbc, made, N, made, c, 0)
    fill_rows(pre, N, c, c, dt_bias)
    gemm(dbc, made, 1, p_dt, WIDE, WIDE * rank, pre, c, N, c, rank, 1)
    for i in range(N * c):
        dt[i] = softplus(pre[i])
    scan_forward(dt, u, dbc, made, rank, A, D, negative, starts, sequences, c, states, h, y)
    own_rows(x, own, last, M, d, out)
    for m in range(M):
        r = own[m] if last == 1 else m
        row, gate, into = at(y, r * c), at(uz, r * 2 * c + c), at(gated, m * c)
        for i in range(c):
            into[i] = row[i] * silu(gate[i])
    gemm(gated, c, 1, p_out, WIDE, WIDE * c, out, d, M, d, c, 1)


# Long: one block, backwards, in the order of its parts.
@kept
def block_backward(
    d_out, x, w, grad, packed, N, M, own, last, starts, _outs, _places, _all_places, sequences, d, about,
    _table, room, kept_here, s, d_x,
):  # fmt: skip
    c, states, rank, negative = about[0], about[1], about[2], about[3]
    made = rank + 2 * states
    a, uz, conv, u, dbc, pre, dt, h, y, gated, scales = kept_by(kept_here, room, d, c, states, made)
    norm, _, _, _, _, _, _, _, D, _ = parameters_of(w, d, c, states, rank)
    (
        d_norm, d_in, d_conv, d_conv_bias, d_select, d_to_dt, d_dt_bias, d_A_log, d_D, d_w_out,
    ) = parameters_of(grad, d, c, states, rank)  # fmt: skip
    _, _, _, _, from_in, from_select, from_dt, from_out, taps, A = panels_of(packed, d, c, states, rank)
    d_gated, d_y, d_dt, d_u = s, at(s, room * c), at(s, room * 2 * c), at(s, room * 3 * c)
    d_uz = at(s, room * 4 * c)
    d_dbc = at(d_uz, room * 2 * c)
    d_a = at(d_dbc, room * made)
    d_h = at(d_a, room * d)
    d_A = at(d_h, states * c)
    d_taps = at(d_A, states * c)
    small = at(d_taps, 4 * c)
    panels = at(small, 2 * d)
    weight_back(gated, c, d_out, d, d_w_out, c, d, M, panels)
    gemm(d_out, d, 1, from_out, WIDE, WIDE * d, d_gated, c, M, c, d, 0)
    if last == 1:
        zero(d_y, N * c)
        zero(d_uz, N * 2 * c)
    for m in range(M):
        r = own[m] if last == 1 else m
        above, row, gate = at(d_gated, m * c), at(y, r * c), at(uz, r * 2 * c + c)
        of_row, of_gate = at(d_y, r * c), at(d_uz, r * 2 * c + c)
        for i in range(c):
            of_row[i] = above[i] * silu(gate[i])
            of_gate[i] = above[i] * row[i] * silu_slope(gate[i])
    zero(d_A, states * c)
    scan_backward(
        d_y, dt, u, dbc, made, rank, A, D, negative, starts, sequences, c, states, h, d_dt, d_u, d_dbc, d_A,
        d_D, d_h,
    )  # fmt: skip
    for i in range(c):
        for n in range(states):
            d_A_log[i * states + n] += d_A[n * c + i] * A[n * c + i]
    for i in range(N * c):
        d_dt[i] *= sigmoid(pre[i])
    add_rows(d_dt, N, c, c, d_dt_bias)
    weight_back(dbc, made, d_dt, c, d_to_dt, rank, c, N, panels)
    gemm(d_dt, c, 1, from_dt, WIDE, WIDE * c, d_dbc, made, N, rank, c, 0)
    weight_back(u, c, d_dbc, made, d_select, c, made, N, panels)
    gemm(d_dbc, made, 1, from_select, WIDE, WIDE * made, d_u, c, N, c, made, 1)
    for i in range(N * c):
        d_u[i] *= silu_slope(conv[i])
    add_rows(d_u, N, c, c, d_conv_bias)
    zero(d_taps, 4 * c)
    convolve_back(uz, 2 * c, d_u, starts, sequences, c, taps, d_uz, 2 * c, d_taps)
    give_taps(d_taps, c, d_conv)
    weight_back(a, d, d_uz, 2 * c, d_in, d, 2 * c, N, panels)
    gemm(d_uz, 2 * c, 1, from_in, WIDE, WIDE * 2 * c, d_a, d, N, d, 2 * c, 0)
    own_rows_back(d_out, own, last, M, N, d, d_x)
    rms_backward(d_a, x, scales, norm, N, d, 1, d_norm, d_x, small)


run = step_of(rms_block(block_forward, block_backward, pack_block))
