"""Linear attention that rewrites: DeltaNet, its gated form and the delta product (Yang et al. 2024; Siems et
al. 2025).

For j = 1..n_h: S <- (I - beta_j k_j k_j^T) S + beta_j k_j v_j^T, with S <- exp(g) S before where there is
a gate; o = S^T q. q and k are of unit length after a silu, v = silu(W_v x), beta = sig(w x) in [0,1] or 2
sig(w x) in [-1,1] (which is the range of the transition's eigenvalue 1 - beta; beta itself is in [0,2]);
g = -exp(A_log) softplus(w_a x + dt_bias). q is not scaled by 1/sqrt(d), as in the delta product.
"""

from __future__ import annotations

from math import log, sqrt

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from runners.interrupt import check_interrupt
from runners.kernels.codes import PANEL, padded
from runners.models.autograd import Definition, Weights, linear, lookup, rms_norm
from runners.models.layout import Initial, constant, flat, gaussian, part
from runners.models.shape import Shape
from runners.models.stacks import Stack
from runners.spec import DeltaNet
from runners.streams import uniform

Parameters = dict[str, tuple[tuple[int, ...], Initial]]
WIDTH = 4
"""Positions that a short convolution reads: its own and the three before it."""


def log_uniform_step(low: float, high: float) -> Initial:
    """The inverse softplus of a step size drawn log-uniformly from [low, high]."""

    def draw(key: int, places: Tensor) -> Tensor:
        step = (uniform(key, places) * (log(high) - log(low)) + log(low)).exp()
        return step + torch.log(-torch.expm1(-step))

    return draw


def short_convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A causal convolution of each channel of x [E, B, T, d] with its own weights [E, d, width] (the last is
    of the position itself), bias [E, d].
    """
    E, _, T, d = x.shape
    width = weight.shape[-1]
    padded = torch.nn.functional.pad(x, (0, 0, width - 1, 0))
    taps = weight.view(E, 1, 1, d, width).unbind(-1)
    total = padded[:, :, :T] * taps[0]
    for i in range(1, width):
        total = torch.addcmul(total, padded[:, :, i : i + T], taps[i])
    return total if bias is None else total + bias.view(E, 1, 1, d)


def delta_rule(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, gate: Tensor | None) -> Tensor:
    """Read o = S^T q after each position: q [.., T, d_k]; k [.., T, n_h, d_k], v [.., T, n_h, d_v], beta
    [.., T, n_h]; gate g [.., T] or None; the leading axes are members, sequences and heads. Returns [..,
    T, d_v].
    """
    S = q.new_zeros(*q.shape[:-2], k.shape[-1], v.shape[-1])
    out = []
    for t in range(q.shape[-2]):
        check_interrupt()
        if gate is not None:
            S = S * gate[..., t].exp()[..., None, None]
        for j in range(k.shape[-2]):
            key = k[..., t, j, :].unsqueeze(-1)
            missing = v[..., t, j, :] - (S * key).sum(-2)
            S = S + key * (beta[..., t, j].unsqueeze(-1) * missing).unsqueeze(-2)
        out.append((S * q[..., t, :].unsqueeze(-1)).sum(-2))
    return torch.stack(out, -2)


def _unit(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)


# Long: the parameters and the two functions that read them are one definition.
def deltanet(spec: DeltaNet, shape: Shape) -> Definition:
    """Define blocks of norm, delta rule and residual, and of norm, MLP (four times as wide, silu) and
    residual, then a last norm.
    """
    d, H, n, V = spec.d, spec.heads, spec.householders, shape.n_inputs
    size = d // H
    project = flat(1 / sqrt(d))
    parameters: Parameters = {"embedding": ((V, d), gaussian(1.0))}
    for layer in range(spec.layers):
        parts: Parameters = {
            "norm": ((d,), constant(1.0)),
            "q": ((d, d), project),
            "k": ((n * d, d), project),
            "v": ((n * d, d), project),
            "beta": ((n * H, d), project),
            "out_norm": ((d,), constant(1.0)),
            "out": ((d, d), project),
            "mlp_norm": ((d,), constant(1.0)),
            "mlp_in": ((4 * d, d), project),
            "mlp_out": ((d, 4 * d), flat(1 / sqrt(4 * d))),
        }
        if spec.gate:
            parts["a"] = ((H, d), project)
            parts["A_log"] = ((H,), lambda key, places: (uniform(key, places) * 16).clamp_min(1e-4).log())
            parts["dt_bias"] = ((H,), log_uniform_step(1e-3, 1e-1))
        if spec.convolution:
            for name, width in (("q", d), ("k", n * d), ("v", n * d)):
                parts[f"conv_{name}"] = ((width, WIDTH), flat(1 / sqrt(WIDTH)))
        parameters |= {f"layers.{layer}.{name}": part for name, part in parts.items()}
    parameters["norm"] = ((d,), constant(1.0))

    def attend(w: Weights, x: Tensor) -> Tensor:
        """x [E, B, T, d] -> what is read, [E, B, T, d]."""
        q, k, v = (linear(x, w[name]) for name in "qkv")
        if spec.convolution:
            q, k, v = (short_convolution(y, w[f"conv_{name}"]) for name, y in (("q", q), ("k", k), ("v", v)))
        # [E, B, H, T, ...]
        at = x.shape[:3]
        q = _unit(silu(q).view(*at, H, size)).transpose(2, 3)
        k = _unit(silu(k).view(*at, n, H, size)).permute(0, 1, 4, 2, 3, 5)
        v = silu(v).view(*at, n, H, size).permute(0, 1, 4, 2, 3, 5)
        beta = linear(x, w["beta"]).sigmoid().view(*at, n, H).permute(0, 1, 4, 2, 3)
        if spec.range == "[-1,1]":
            beta = 2 * beta
        gate = None
        if spec.gate:
            view = (w["A_log"].shape[0], 1, 1, H)
            step = softplus(linear(x, w["a"]) + w["dt_bias"].view(view))
            gate = (-w["A_log"].exp().view(view) * step).transpose(2, 3)
        read = delta_rule(q, k, v, beta, gate).transpose(2, 3)
        read = read * torch.rsqrt(read.square().mean(-1, keepdim=True) + 1e-5)
        weight = w["out_norm"].view(w["out_norm"].shape[0], 1, 1, H, size)
        return linear((read * weight).flatten(-2), w["out"])

    def forward(w: Weights, tokens: Tensor) -> Tensor:
        x = lookup(w["embedding"], tokens)
        for layer in range(spec.layers):
            own = part(w, f"layers.{layer}.")
            x = x + attend(own, rms_norm(x, own["norm"]))
            x = x + linear(silu(linear(rms_norm(x, own["mlp_norm"]), own["mlp_in"])), own["mlp_out"])
        return rms_norm(x, w["norm"])

    return Definition(parameters, forward, d, stack=_stack(spec))


def _stack(spec: DeltaNet) -> Stack:
    """The same for the kernel."""
    d, H, n = spec.d, spec.heads, spec.householders
    C = (1 + 2 * n) * d
    R, gate, taps = C + n * H, int(spec.gate), 4 * C
    one, four = padded(d, PANEL), padded(4 * d, PANEL)
    weights = d * padded(R, PANEL) + one * (R + 2 * d) + 2 * d * four + 2 * one * 4 * d

    def kept(room: int, T: int) -> int:
        wide = padded(n * T)
        return room * (12 * d + R + C + 4 * n * d + H * (4 + 2 * n) + (n + 1) * H * wide + 2)

    def scratch(room: int, T: int) -> int:
        wide, panels = padded(n * T), padded(max(4 * d, R), PANEL)
        rows = 12 * d + 2 * n * d + R + C + (n + 1) * (wide + H) + panels
        return room * rows + one * wide + wide + taps + 2 * d

    return Stack(
        "deltanet", d, spec.layers,
        size=d * R + 9 * d * d + 3 * d + gate * (H * d + 2 * H) + int(spec.convolution) * taps,
        operations=6.0 * spec.layers * (R * d + 9 * d * d),
        further=(10.0 * n + 12.0) * n * spec.layers * H * padded(d // H),
        panels=weights + H * (d + one) + padded(H, PANEL) * d + taps,
        kept=kept,
        scratch=scratch,
        about=lambda T: (
            H, n, gate, int(spec.convolution), int(spec.range == "[-1,1]"), padded(n * T)
        ),
    )  # fmt: skip
