"""Causal self-attention of many members, forward and backward.

Sequences are padded on the right only, so the causal mask is all that is needed: a supervised position sees itself and what
stands before it, never padding; what padded positions compute is read by no supervised position and has a gradient of zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from runners.models.gemm import Gemm
from runners.models.workspace import Buffers


@dataclass(frozen=True)
class Attended:
    """What the backward pass needs; G = E B heads."""

    heads: Tensor
    """Query, key, value [3, G, T, d / heads]."""
    probabilities: Tensor
    """[G, T, T]."""
    used: Tensor
    """The probabilities after dropout."""


def causal_mask(T: int, like: Tensor) -> Tensor:
    """[T, T]: 0 on and below the diagonal, -inf above."""
    return torch.full((T, T), float("-inf"), dtype=like.dtype, device=like.device).triu_(1)


def forward(
    qkv: Tensor, B: int, heads: int, mask: Tensor, dropped: Tensor | None, buffers: Buffers, name: str, gemm: Gemm
) -> tuple[Tensor, Attended]:
    """qkv [E, B T, 3 d], mask [T, T], dropped [E, B heads T T] or None -> what attention reads [E, B T, d]."""
    E, N, width = qkv.shape
    T, d = N // B, width // 3
    G, depth = E * B * heads, d // heads
    split = buffers(f"{name}.heads", 3, E, B, heads, T, depth)
    split.copy_(qkv.view(E, B, T, 3, heads, depth).permute(3, 0, 1, 4, 2, 5))
    q, k, v = split.view(3, G, T, depth)
    scores = buffers("scores", G, T, T)
    if gemm.half:
        scores = gemm(q, k.transpose(1, 2), scores).mul_(1 / sqrt(depth)).add_(mask)
    else:
        scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=1 / sqrt(depth), out=scores)
    p = torch.ops.aten._softmax.out(scores, -1, False, out=buffers(f"{name}.p", G, T, T))
    used = p if dropped is None else torch.mul(p, dropped.view(G, T, T), out=buffers(f"{name}.used", G, T, T))
    read = gemm(used, v, buffers("read", G, T, depth))
    merged = buffers(f"{name}.merged", E, B, T, heads, depth)
    merged.copy_(read.view(E, B, heads, T, depth).transpose(2, 3))
    return merged.view(E, N, d), Attended(split.view(3, G, T, depth), p, used)


def backward(
    d_merged: Tensor, kept: Attended, B: int, heads: int, dropped: Tensor | None, buffers: Buffers, gemm: Gemm
) -> Tensor:
    """Gradient with respect to qkv [E, B T, 3 d], given that of the merged heads [E, B T, d]."""
    E, N, d = d_merged.shape
    T, depth = N // B, d // heads
    G = E * B * heads
    q, k, v = kept.heads
    d_read = buffers("d_read", E, B, heads, T, depth)
    d_read.copy_(d_merged.view(E, B, T, heads, depth).transpose(2, 3))
    dr = d_read.view(G, T, depth)
    d_split = buffers("d_split", 3, G, T, depth)
    gemm(kept.used.transpose(1, 2), dr, d_split[2])
    dp = gemm(dr, v.transpose(1, 2), buffers("d_p", G, T, T))
    if dropped is not None:
        dp.mul_(dropped.view(G, T, T))
    ds = torch.ops.aten._softmax_backward_data.out(dp, kept.probabilities, -1, dp.dtype, grad_input=buffers("scores", G, T, T))
    ds.mul_(1 / sqrt(depth))
    gemm(ds, k, d_split[0])
    gemm(ds.transpose(1, 2), q, d_split[1])
    d_qkv = buffers("d_qkv", E, B, T, 3, heads, depth)
    d_qkv.copy_(d_split.view(3, E, B, heads, T, depth).permute(1, 2, 4, 0, 3, 5))
    return d_qkv.view(E, N, 3 * d)
