"""What blocks of several kinds are made of: norms, weights [out, in], short convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from runners.kernels.stack import Block
from runners.kernels.vector import at, copy, dot, exp, gemm_packing, inlined, kept, log1p, sigmoid, take, zero

EPS = np.float32(1e-5)
WIDTH = 4
"""Positions that a short convolution reads."""


@kept
def weight_back(x, x_row, dy, dy_row, d_weight, inputs, outputs, rows, panels):
    """Add to the gradient of a weight [out, in]."""
    gemm_packing(dy, 1, dy_row, x, x_row, d_weight, inputs, outputs, inputs, rows, panels)


@kept
def rms_forward(x, rows, d, w, kinds, out, scales):
    """RMS norm of x [rows, d] with w [kinds, d], of which rows take one after another; each row's scale into
    scales [rows]."""
    for r in range(rows):
        row, into, gain = at(x, r * d), at(out, r * d), at(w, (r % kinds) * d)
        scale = np.float32(1.0) / np.sqrt(dot(row, row, d) / np.float32(d) + EPS)
        for j in range(d):
            into[j] = row[j] * scale * gain[j]
        scales[r] = scale


@kept
def rms_backward(dy, x, scales, w, rows, d, kinds, d_w, dx, scratch):
    """Add d(x) to dx [rows, d] and the gradient of w to d_w; scratch is [2, d]."""
    g, normal = scratch, at(scratch, d)
    for r in range(rows):
        scale, kind = scales[r], (r % kinds) * d
        row, above, into, gain, d_gain = (
            at(x, r * d),
            at(dy, r * d),
            at(dx, r * d),
            at(w, kind),
            at(d_w, kind),
        )
        for j in range(d):
            normal[j] = row[j] * scale
            g[j] = above[j] * gain[j]
            d_gain[j] += above[j] * normal[j]
        share = dot(g, normal, d) / np.float32(d)
        for j in range(d):
            into[j] += scale * (g[j] - normal[j] * share)


@kept
def _norm_forward(x, rows, d, w, out, stats):
    rms_forward(x, rows, d, w, 1, out, stats)


@kept
def _norm_backward(dy, x, stats, w, rows, d, d_w, dx, scratch):
    rms_backward(dy, x, stats, w, rows, d, 1, d_w, dx, scratch)


def rms_block(forward: Any, backward: Any, pack: Any) -> Block:
    """A block, an RMS norm behind the last one, and a head with a bias."""
    return Block(
        forward=forward,
        backward=backward,
        pack=pack,
        norm_forward=_norm_forward,
        norm_backward=_norm_backward,
        norm_rows=1,
        biased=1,
    )


@inlined
def silu(x):
    return x * sigmoid(x)


@inlined
def silu_slope(x):
    s = sigmoid(x)
    return s + x * s * (np.float32(1.0) - s)


@inlined
def softplus(x):
    """log(1 + e^x), from the side on which nothing is lost."""
    size = x if x > np.float32(0.0) else -x
    above = x if x > np.float32(0.0) else np.float32(0.0)
    return above + log1p(exp(-size))


@kept
def turn_taps(weight, channels, taps):
    """A convolution's weight [channels, WIDTH] as [WIDTH, channels]."""
    for i in range(WIDTH):
        for c in range(channels):
            taps[i * channels + c] = weight[c * WIDTH + i]


@kept
def convolve(x, x_row, starts, sequences, channels, taps, out):
    """The causal convolution of each channel within each sequence: x [rows, x_row] -> out [rows, channels];
    the last tap is of the position itself."""
    for q in range(sequences):
        begin, end = starts[q], starts[q + 1]
        for r in range(begin, end):
            into = at(out, r * channels)
            own, tap = at(x, r * x_row), at(taps, (WIDTH - 1) * channels)
            for c in range(channels):
                into[c] = own[c] * tap[c]
            for back in range(1, WIDTH):
                if r - back >= begin:
                    own, tap = at(x, (r - back) * x_row), at(taps, (WIDTH - 1 - back) * channels)
                    for c in range(channels):
                        into[c] += own[c] * tap[c]


@kept
def convolve_back(x, x_row, d_out, starts, sequences, channels, taps, d_x, d_x_row, d_taps):
    """d(x) [rows, d_x_row] from d_out [rows, channels]; the taps' gradient [WIDTH, channels] is added up."""
    for q in range(sequences):
        begin, end = starts[q], starts[q + 1]
        for r in range(begin, end):
            into = at(d_x, r * d_x_row)
            for c in range(channels):
                into[c] = np.float32(0.0)
            for ahead in range(WIDTH):
                if r + ahead < end:
                    above, tap = at(d_out, (r + ahead) * channels), at(taps, (WIDTH - 1 - ahead) * channels)
                    own, d_tap = at(x, r * x_row), at(d_taps, (WIDTH - 1 - ahead) * channels)
                    for c in range(channels):
                        into[c] += above[c] * tap[c]
                        d_tap[c] += above[c] * own[c]


@kept
def give_taps(d_taps, channels, d_weight):
    """Add the taps' gradient [WIDTH, channels] to that of the weight [channels, WIDTH]."""
    for i in range(WIDTH):
        for c in range(channels):
            d_weight[c * WIDTH + i] += d_taps[i * channels + c]


@kept
def give(x, index, count, d, out):
    """Add x [count, d] to the rows of out that index names."""
    for i in range(count):
        row, into = at(x, i * d), at(out, index[i] * d)
        for j in range(d):
            into[j] += row[j]


@kept
def own_rows(x, own, last, M, d, out):
    """out [M, d] = the rows of x that a block puts out: those of ``own`` of a last one, else all."""
    if last == 1:
        take(x, own, M, d, out)
    else:
        copy(x, M * d, out)


@kept
def own_rows_back(x, own, last, M, N, d, out):
    """out [N, d] = x [M, d] in the rows that a block puts out, zero in the others."""
    if last == 1:
        zero(out, N * d)
        give(x, own, M, d, out)
    else:
        copy(x, N * d, out)
