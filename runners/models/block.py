"""One GPT-2 block: x + attention(LN(x)), then x + MLP(LN(x)), with its backward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from runners.interrupt import check_interrupt
from runners.models import attention, gelu, norm
from runners.models.batch import Window
from runners.models.dropout import Dropout
from runners.models.matmul import Matmul
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
    buffers: Buffers
    matmul: Matmul
    dropout: Dropout | None

    def mask(self, window: Window | None, like: Tensor) -> Tensor:
        """The causal mask of the queries; made once where it does not depend on the batch."""

        def make() -> Tensor:
            place = torch.arange(self.T, device=like.device).unsqueeze(0) if window is None else window.place
            return attention.causal_mask(self.T, place, like)

        if window is not None and window.rows is not None:
            return make()
        return self.buffers.views("mask" if window is None else "mask of the window", make)


@dataclass(frozen=True)
class Kept:
    """What the backward pass of a block needs."""

    name: str
    window: Window | None
    x: Tensor
    stats_1: norm.Statistics
    normed_1: Tensor
    normed_own: Tensor
    """Of the rows that the block puts out."""
    attended: attention.Attended
    merged: Tensor
    middle: Tensor
    stats_2: norm.Statistics
    normed_2: Tensor
    inner: Tensor
    active: Tensor
    masks: tuple[Tensor | None, Tensor | None, Tensor | None]


def forward(x: Tensor, w: Views, at: Batch, layer: int, window: Window | None = None) -> tuple[Tensor, Kept]:
    """x [E, B T, d] -> [E, M, d]: the same rows, or those of the window; ``w`` has the names of one block."""
    check_interrupt()
    E, N, d = x.shape
    ws, matmul, name = at.buffers, at.matmul, f"h.{layer}"
    M = N if window is None else at.B * window.W
    m_p = m_a = m_m = None
    if at.dropout is not None:
        site = 1 + SITES * layer
        m_p = at.dropout.mask(site, M * at.heads * at.T, dtype=x.dtype)
        m_a = at.dropout.mask(site + 1, M, d, dtype=x.dtype)
        m_m = at.dropout.mask(site + 2, M, d, dtype=x.dtype)
    a, stats_1 = norm.forward(x, w["ln_1.weight"], w["ln_1.bias"])
    own, residual = (a, x) if window is None else (window.select(a), window.select(x))
    weight, bias = w["attn.c_attn.weight"], w["attn.c_attn.bias"].unsqueeze(1)
    q = matmul.affine(bias[..., :d], own, weight[..., :d], ws("q", E, M, d))
    kv = matmul.affine(bias[..., d:], a, weight[..., d:], ws("kv", E, N, 2 * d))
    mask = at.mask(window, x)
    merged, attended = attention.forward(q, kv, at.B, at.heads, mask, m_p, ws, name, matmul)
    projected = w["attn.c_proj.weight"], w["attn.c_proj.bias"]
    middle = _branch(residual, merged, *projected, m_a, ws(f"{name}.middle", E, M, d), matmul)
    b, stats_2 = norm.forward(middle, w["ln_2.weight"], w["ln_2.bias"])
    inner = matmul.affine(
        w["mlp.c_fc.bias"].unsqueeze(1), b, w["mlp.c_fc.weight"], ws(f"{name}.inner", E, M, 4 * d)
    )
    active = gelu.forward(inner, ws, name)
    out = _branch(
        middle, active, w["mlp.c_proj.weight"], w["mlp.c_proj.bias"], m_m, ws(f"{name}.out", E, M, d), matmul
    )
    masks = (m_p, m_a, m_m)
    return out, Kept(
        name, window, x, stats_1, a, own, attended, merged, middle, stats_2, b, inner, active, masks
    )


def backward(d_out: Tensor, kept: Kept, w: Views, g: Views, at: Batch) -> Tensor:
    """Gradient with respect to the block's input; d_out [E, M, d] is used up,
    the parameters' gradients go into ``g``.
    """
    check_interrupt()
    E, M, d = d_out.shape
    ws, matmul = at.buffers, at.matmul
    m_p, m_a, m_m = kept.masks
    d_branch = d_out if m_m is None else d_out * m_m
    d_active = _linear_back(d_branch, kept.active, w, g, "mlp.c_proj", ws("d_active", E, M, 4 * d), matmul)
    d_inner = gelu.backward_(d_active, kept.inner, kept.active, ws, kept.name)
    d_b = _linear_back(d_inner, kept.normed_2, w, g, "mlp.c_fc", ws("d_normed", E, M, d), matmul)
    d_middle = norm.backward(
        d_b, kept.middle, kept.stats_2, w["ln_2.weight"], g["ln_2.weight"], g["ln_2.bias"]
    )
    d_middle.add_(d_out)
    d_branch = d_middle if m_a is None else d_middle * m_a
    d_merged = _linear_back(d_branch, kept.merged, w, g, "attn.c_proj", ws("d_merged", E, M, d), matmul)
    d_q, d_kv = attention.backward(d_merged, kept.attended, at.B, at.heads, m_p, ws, matmul)
    d_a = _attention_back(d_q, d_kv, kept, w, g, at)
    d_x = norm.backward(d_a, kept.x, kept.stats_1, w["ln_1.weight"], g["ln_1.weight"], g["ln_1.bias"])
    return d_x.add_(d_middle) if kept.window is None else kept.window.add_(d_x, d_middle)


def _branch(
    x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None, out: Tensor, matmul: Matmul
) -> Tensor:
    """x + dropout(y weight + bias)."""
    if mask is None:
        return matmul.add_(torch.add(x, bias.unsqueeze(1), out=out), y, weight)
    return matmul.affine(bias.unsqueeze(1), y, weight, out).mul_(mask).add_(x)


def _linear_back(dy: Tensor, x: Tensor, w: Views, g: Views, name: str, out: Tensor, matmul: Matmul) -> Tensor:
    matmul.into(g[f"{name}.weight"], x.transpose(1, 2), dy)
    g[f"{name}.bias"].copy_(dy.sum(1))
    return matmul(dy, w[f"{name}.weight"].transpose(1, 2), out)


def _attention_back(d_q: Tensor, d_kv: Tensor, kept: Kept, w: Views, g: Views, at: Batch) -> Tensor:
    """Through the projections to query, key and value, which stand side by side in one weight:
    d(normed_1).
    """
    matmul, d = at.matmul, d_q.shape[-1]
    weight, d_weight, d_bias = w["attn.c_attn.weight"], g["attn.c_attn.weight"], g["attn.c_attn.bias"]
    d_weight[..., :d].copy_(matmul(kept.normed_own.transpose(1, 2), d_q))
    d_weight[..., d:].copy_(matmul(kept.normed_1.transpose(1, 2), d_kv))
    d_bias[..., :d].copy_(d_q.sum(1))
    d_bias[..., d:].copy_(d_kv.sum(1))
    d_a = matmul(d_kv, weight[..., d:].transpose(1, 2), at.buffers("d_a", *kept.normed_1.shape))
    to_q = weight[..., :d].transpose(1, 2)
    if kept.window is None:
        return matmul.add_(d_a, d_q, to_q)
    return kept.window.add_(d_a, matmul(d_q, to_q))
