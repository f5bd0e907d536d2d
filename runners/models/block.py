"""One GPT-2 block: x + attention(LN(x)), then x + MLP(LN(x)), with its backward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from runners.models import attention, norm
from runners.models.dropout import Dropout
from runners.models.gemm import Gemm
from runners.models.workspace import Buffers

Views = dict[str, Tensor]
SITES = 3
"""Places of dropout: attention probabilities, the attention's branch, the MLP's branch."""


@dataclass(frozen=True)
class Batch:
    """Sizes and tools of one step."""

    B: int
    T: int
    heads: int
    mask: Tensor
    buffers: Buffers
    gemm: Gemm
    dropout: Dropout | None


@dataclass(frozen=True)
class Kept:
    """What the backward pass of a block needs."""

    x: Tensor
    stats_1: norm.Statistics
    normed_1: Tensor
    attended: attention.Attended
    merged: Tensor
    middle: Tensor
    stats_2: norm.Statistics
    normed_2: Tensor
    inner: Tensor
    active: Tensor
    masks: tuple[Tensor | None, Tensor | None, Tensor | None]


def forward(x: Tensor, w: Views, at: Batch, layer: int) -> tuple[Tensor, Kept]:
    """x [E, N, d] -> the same shape; ``w`` has the names of one block."""
    E, N, d = x.shape
    ws, gemm, name = at.buffers, at.gemm, f"h.{layer}"
    m_p = m_a = m_m = None
    if at.dropout is not None:
        site = 1 + SITES * layer
        m_p = at.dropout.mask(site, at.B * at.heads * at.T * at.T, dtype=x.dtype)
        m_a = at.dropout.mask(site + 1, N, d, dtype=x.dtype)
        m_m = at.dropout.mask(site + 2, N, d, dtype=x.dtype)
    a, stats_1 = norm.forward(x, w["ln_1.weight"], w["ln_1.bias"])
    qkv = gemm.affine(w["attn.c_attn.bias"].unsqueeze(1), a, w["attn.c_attn.weight"], ws("qkv", E, N, 3 * d))
    merged, attended = attention.forward(qkv, at.B, at.heads, at.mask, m_p, ws, name, gemm)
    middle = _branch(x, merged, w["attn.c_proj.weight"], w["attn.c_proj.bias"], m_a, ws(f"{name}.middle", E, N, d), gemm)
    b, stats_2 = norm.forward(middle, w["ln_2.weight"], w["ln_2.bias"])
    inner = gemm.affine(w["mlp.c_fc.bias"].unsqueeze(1), b, w["mlp.c_fc.weight"], ws(f"{name}.inner", E, N, 4 * d))
    active = torch.ops.aten.gelu.out(inner, approximate="tanh", out=ws(f"{name}.active", E, N, 4 * d))
    out = _branch(middle, active, w["mlp.c_proj.weight"], w["mlp.c_proj.bias"], m_m, ws(f"{name}.out", E, N, d), gemm)
    return out, Kept(x, stats_1, a, attended, merged, middle, stats_2, b, inner, active, (m_p, m_a, m_m))


def backward(d_out: Tensor, kept: Kept, w: Views, g: Views, at: Batch) -> Tensor:
    """Gradient with respect to the block's input; d_out [E, N, d] is used up, the parameters' gradients go into ``g``."""
    E, N, d = d_out.shape
    ws, gemm = at.buffers, at.gemm
    m_p, m_a, m_m = kept.masks
    d_branch = d_out if m_m is None else d_out * m_m
    d_active = _linear_back(d_branch, kept.active, w, g, "mlp.c_proj", ws("d_active", E, N, 4 * d), gemm)
    d_inner = torch.ops.aten.gelu_backward.grad_input(d_active, kept.inner, approximate="tanh", grad_input=d_active)
    d_b = _linear_back(d_inner, kept.normed_2, w, g, "mlp.c_fc", ws("d_normed", E, N, d), gemm)
    d_middle = norm.backward(d_b, kept.middle, kept.stats_2, w["ln_2.weight"], g["ln_2.weight"], g["ln_2.bias"])
    d_middle.add_(d_out)
    d_branch = d_middle if m_a is None else d_middle * m_a
    d_merged = _linear_back(d_branch, kept.merged, w, g, "attn.c_proj", ws("d_merged", E, N, d), gemm)
    d_qkv = attention.backward(d_merged, kept.attended, at.B, at.heads, m_p, ws, gemm)
    d_a = _linear_back(d_qkv, kept.normed_1, w, g, "attn.c_attn", ws("d_normed", E, N, d), gemm)
    d_x = norm.backward(d_a, kept.x, kept.stats_1, w["ln_1.weight"], g["ln_1.weight"], g["ln_1.bias"])
    return d_x.add_(d_middle)


def _branch(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None, out: Tensor, gemm: Gemm) -> Tensor:
    """x + dropout(y weight + bias)."""
    if mask is None:
        return gemm.add_(torch.add(x, bias.unsqueeze(1), out=out), y, weight)
    return gemm.affine(bias.unsqueeze(1), y, weight, out).mul_(mask).add_(x)


def _linear_back(dy: Tensor, x: Tensor, w: Views, g: Views, name: str, out: Tensor, gemm: Gemm) -> Tensor:
    gemm.into(g[f"{name}.weight"], x.transpose(1, 2), dy)
    g[f"{name}.bias"].copy_(dy.sum(1))
    return gemm(dy, w[f"{name}.weight"].transpose(1, 2), out)
