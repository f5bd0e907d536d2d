"""The selective state space model Mamba (Gu, Dao 2023): S6 with its short convolution and gate, read by a
plain loop over time.

u = silu(conv4(W x)), (dt, B, C) = W_x u, dt = softplus(W_dt dt + b), h = exp(dt A) h + dt u B, y = C h +
D u, out = W_o (y silu(z)). With range ``[-1,1]`` the transition is 2 exp(dt A) - 1, whose eigenvalues may
be negative (Grazzi et al. 2025).
"""

from __future__ import annotations

from math import ceil, sqrt

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from runners.interrupt import check_interrupt
from runners.kernels.codes import PANEL, padded
from runners.models.autograd import Definition, Weights, linear, lookup, rms_norm
from runners.models.deltanet import WIDTH, Parameters, log_uniform_step, short_convolution
from runners.models.layout import constant, flat, gaussian, part
from runners.models.shape import Shape
from runners.models.stacks import Stack
from runners.spec import Mamba


def selective_scan(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, negative: bool
) -> Tensor:
    """y [E, B, T, c] of inputs u and steps dt [E, B, T, c]; A [E, c, N] (negative), B and C [E, B, T, N], D
    [E, c].
    """
    E, rows, T, c = u.shape
    transition = (dt.unsqueeze(-1) * A.view(E, 1, 1, c, -1)).exp()
    if negative:
        transition = 2 * transition - 1
    added = (dt * u).unsqueeze(-1) * B.unsqueeze(-2)
    h = u.new_zeros(E, rows, c, A.shape[-1])
    out = []
    for t in range(T):
        check_interrupt()
        h = torch.addcmul(added[:, :, t], transition[:, :, t], h)
        out.append((h * C[:, :, t].unsqueeze(-2)).sum(-1))
    return torch.stack(out, 2) + u * D.view(E, 1, 1, c)


def mamba(spec: Mamba, shape: Shape) -> Definition:
    """Define blocks of RMS norm, S6 and residual, then a last norm; initial values as published."""
    d, N, V = spec.d, spec.states, shape.n_inputs
    inner, rank = spec.expand * d, ceil(d / 16)
    parameters: Parameters = {"embedding": ((V, d), gaussian(spec.init_std))}
    for layer in range(spec.layers):
        parts: Parameters = {
            "norm": ((d,), constant(1.0)),
            "in_proj": ((2 * inner, d), flat(1 / sqrt(d))),
            "conv": ((inner, WIDTH), flat(1 / sqrt(WIDTH))),
            "conv_bias": ((inner,), flat(1 / sqrt(WIDTH))),
            "x_proj": ((rank + 2 * N, inner), flat(1 / sqrt(inner))),
            "dt_proj": ((inner, rank), flat(1 / sqrt(rank))),
            "dt_bias": ((inner,), log_uniform_step(1e-3, 1e-1)),
            "A_log": ((inner, N), lambda _, places: (places % N + 1).double().log()),
            "D": ((inner,), constant(1.0)),
            "out_proj": ((d, inner), flat(1 / sqrt(inner))),
        }
        parameters |= {f"layers.{layer}.{name}": part for name, part in parts.items()}
    parameters["norm"] = ((d,), constant(1.0))

    def mix(w: Weights, x: Tensor) -> Tensor:
        u, z = linear(x, w["in_proj"]).chunk(2, -1)
        u = silu(short_convolution(u, w["conv"], w["conv_bias"]))
        dt, B, C = torch.split(linear(u, w["x_proj"]), [rank, N, N], -1)
        dt = softplus(linear(dt, w["dt_proj"], w["dt_bias"]))
        y = selective_scan(u, dt, -w["A_log"].exp(), B, C, w["D"], spec.range == "[-1,1]")
        return linear(y * silu(z), w["out_proj"])

    def forward(w: Weights, tokens: Tensor) -> Tensor:
        x = lookup(w["embedding"], tokens)
        for layer in range(spec.layers):
            own = part(w, f"layers.{layer}.")
            x = x + mix(own, rms_norm(x, own["norm"]))
        return rms_norm(x, w["norm"])

    return Definition(parameters, forward, d, stack=_stack(spec))


def _stack(spec: Mamba) -> Stack:
    """The same for the kernel."""
    d, c, N, rank = spec.d, spec.expand * spec.d, spec.states, ceil(spec.d / 16)
    made = rank + 2 * N
    one, channels = padded(d, PANEL), padded(c, PANEL)

    def kept(room: int, _: int) -> int:
        return room * (2 * d + (8 + N) * c + made + 1)

    def scratch(room: int, _: int) -> int:
        rows = 6 * c + made + d + padded(max(c, d), PANEL)
        return room * rows + (2 * N + WIDTH) * c + 2 * d

    return Stack(
        "mamba", d, spec.layers,
        size=d + 3 * c * d + (WIDTH + 3 + made + rank + N) * c,
        operations=6.0 * spec.layers * c * (3 * d + made + rank + 10 * N),
        panels=(
            padded(2 * c, PANEL) * d + 3 * one * c + channels * (rank + made + d)
            + (padded(made, PANEL) + padded(rank, PANEL) + WIDTH + N) * c
        ),
        kept=kept,
        scratch=scratch,
        about=lambda _: (c, N, rank, int(spec.range == "[-1,1]")),
    )  # fmt: skip
