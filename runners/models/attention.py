"""Causal self-attention of many members, forward and backward; queries may be fewer than keys.

Sequences are padded on the right only, so the causal mask is all that is needed: a supervised position sees
itself and what stands before it, never padding; what padded positions compute is read by no supervised
position and has a gradient of zero.

Two layouts of the scores. By rows, [G, Q, T]: torch's softmax runs along memory. By columns, [T, G, Q]: it
runs across, with a vector of queries at a time, where keys are too few to fill vectors with them: ten times
as fast on a CPU at T = 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from runners.models.matmul import Matmul
from runners.models.workspace import Buffers

FEW_KEYS = 24
"""Keys below which a CPU goes by columns."""


@dataclass(frozen=True)
class Attended:
    """What the backward pass needs; G = E B heads."""

    queries: Tensor
    """[G, Q, depth]."""
    pairs: Tensor
    """Keys and values [2, G, T, depth]."""
    probabilities: Tensor
    """[G, Q, T] by rows, [T, G Q] by columns."""
    used: Tensor
    """[G, Q, T]: the probabilities after dropout."""


def by_columns(T: int, like: Tensor) -> bool:
    return T < FEW_KEYS and like.device.type == "cpu"


def causal_mask(T: int, place: Tensor, like: Tensor) -> Tensor:
    """0 for keys up to the query's position and -inf after it,
    to be added to the scores with the heads' axis apart.

    Args:
        place: int64 [R, Q], positions of the queries; R = E B, or 1.

    Returns:
        [R, 1, Q, T] by rows, [T, R, 1, Q] by columns.
    """
    hidden = torch.arange(T, device=like.device) > place.unsqueeze(-1)
    mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, float("-inf"))
    return mask.permute(2, 0, 1).unsqueeze(2).contiguous() if by_columns(T, like) else mask.unsqueeze(1)


def forward(
    q: Tensor,
    kv: Tensor,
    B: int,
    heads: int,
    mask: Tensor,
    dropped: Tensor | None,
    ws: Buffers,
    name: str,
    matmul: Matmul,
) -> tuple[Tensor, Attended]:
    """q [E, B Q, d], kv [E, B T, 2 d], dropped [E, B heads Q T] or None -> what attention reads
    [E, B Q, d].
    """
    E, N, width = kv.shape
    T, Q, depth = N // B, q.shape[1] // B, width // (2 * heads)
    G = E * B * heads
    queries = _split(q, B, heads, ws(f"{name}.queries", E, B, heads, Q, depth)).view(G, Q, depth)
    pairs = ws(f"{name}.pairs", 2, E, B, heads, T, depth)
    pairs.copy_(kv.view(E, B, T, 2, heads, depth).permute(3, 0, 1, 4, 2, 5))
    k, v = keys_and_values = pairs.view(2, G, T, depth)
    if by_columns(T, q):
        scores = matmul(k, queries.transpose(1, 2), ws("scores", G, T, Q))
        columns = ws("columns", T, E * B, heads, Q)
        torch.add(
            mask, scores.view(E * B, heads, T, Q).permute(2, 0, 1, 3), alpha=1 / sqrt(depth), out=columns
        )
        p = torch.ops.aten._softmax.out(columns.view(T, -1), 0, False, out=ws(f"{name}.p", T, G * Q))
        rows = p.view(T, G, Q).permute(1, 2, 0)
    else:
        scores = matmul(queries, k.transpose(1, 2), ws("scores", G, Q, T))
        whole = scores.view(E * B, heads, Q, T)
        torch.add(mask, whole, alpha=1 / sqrt(depth), out=whole)
        p = rows = torch.ops.aten._softmax.out(scores, -1, False, out=ws(f"{name}.p", G, Q, T))
    used = (
        rows if dropped is None else torch.mul(rows, dropped.view(G, Q, T), out=ws(f"{name}.used", G, Q, T))
    )
    read = matmul(used, v, ws("read", G, Q, depth))
    merged = ws(f"{name}.merged", E, B, Q, heads, depth)
    merged.copy_(read.view(E, B, heads, Q, depth).transpose(2, 3))
    return merged.view(E, B * Q, -1), Attended(queries, keys_and_values, p, used)


def backward(
    d_merged: Tensor, kept: Attended, B: int, heads: int, dropped: Tensor | None, ws: Buffers, matmul: Matmul
) -> tuple[Tensor, Tensor]:
    """Gradients with respect to q [E, B Q, d] and kv [E, B T, 2 d],
    given that of the merged heads [E, B Q, d].
    """
    E, _, d = d_merged.shape
    q, (k, v) = kept.queries, kept.pairs
    G, Q, depth = q.shape
    T = k.shape[1]
    dr = _split(d_merged, B, heads, ws("d_read", E, B, heads, Q, depth)).view(G, Q, depth)
    d_pairs = ws("d_pairs", 2, G, T, depth)
    matmul(kept.used.transpose(1, 2), dr, d_pairs[1])
    if by_columns(T, q):
        dp = matmul(v, dr.transpose(1, 2), ws("scores", G, T, Q)).permute(1, 0, 2)
        columns = ws("columns", T, E * B, heads, Q).view(T, G, Q)
        if dropped is None:
            columns.copy_(dp)
        else:
            torch.mul(dp, dropped.view(G, Q, T).permute(2, 0, 1), out=columns)
        d_columns = ws("d_columns", T, G * Q)
        _softmax_back(columns.view(T, G * Q), kept.probabilities, 0, d_columns)
        ds = d_columns.view(T, G, Q).permute(1, 2, 0)
    else:
        dp = matmul(dr, v.transpose(1, 2), ws("d_p", G, Q, T))
        if dropped is not None:
            dp.mul_(dropped.view(G, Q, T))
        ds = _softmax_back(dp, kept.probabilities, -1, ws("scores", G, Q, T))
    ds.mul_(1 / sqrt(depth))
    d_queries = matmul(ds, k, ws("d_queries", G, Q, depth))
    matmul(ds.transpose(1, 2), q, d_pairs[0])
    d_q = ws("d_q", E, B, Q, heads, depth).copy_(d_queries.view(E, B, heads, Q, depth).transpose(2, 3))
    d_kv = ws("d_kv", E, B, T, 2, heads, depth)
    d_kv.copy_(d_pairs.view(2, E, B, heads, T, depth).permute(1, 2, 4, 0, 3, 5))
    return d_q.view(E, B * Q, d), d_kv.view(E, B * T, 2 * d)


def _split(x: Tensor, B: int, heads: int, out: Tensor) -> Tensor:
    """x [E, B Q, d] -> out [E, B, heads, Q, depth]."""
    return out.copy_(x.view(x.shape[0], B, -1, heads, out.shape[-1]).transpose(2, 3))


def _softmax_back(dp: Tensor, p: Tensor, dim: int, out: Tensor) -> Tensor:
    made: Tensor = torch.ops.aten._softmax_backward_data.out(dp, p, dim, dp.dtype, grad_input=out)
    return made
