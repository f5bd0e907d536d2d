"""The dense SSM's recurrence with the sequences of each step grouped by token: V products of a group with its transition.

States are rows here, [T, E, B, h]. Between two steps rows are gathered from groups into the order of the batch and from there
into the next step's groups; a row is copied in a few nanoseconds, so this costs little beside the products. A place in a group
that nobody takes holds zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor

from runners.models.frame import Frame
from runners.models.gemm import Gemm, fold_
from runners.models.grouping import Places, places
from runners.models.workspace import Buffers


def run(A: Tensor, h0: Tensor, batch: Frame, C: int, buffers: Buffers, gemm: Gemm) -> tuple[Tensor, Tensor]:
    """States as [T, E, h, B] (rows of h in memory) and the last of them.

    Args:
        A: [E, V, in, out], the transposed transitions.
        h0: [E, h].
        batch: with ranks, all below C.
        C: places of a group.
        buffers: kept for :func:`back`.
        gemm: the product.
    """
    T, _, B = batch.tokens.shape
    E, V, h, _ = A.shape
    at = places(batch, E, V, C, buffers)
    rows = buffers("rows", (T + 1) * E * B + 1, h)
    rows[: E * B].view(E, B, h).copy_(h0.unsqueeze(1))
    read = buffers("read", T, E * V * C, h)
    made = buffers("made", E * V * C + 1 + E, h)
    made[E * V * C + 1 :].copy_(h0)
    out = made[: E * V * C].view(E * V, C, h)
    steps = buffers.views(
        "steps",
        lambda: list(zip(read, read.view(T, E * V, C, h), rows[E * B : -1].view(T, E * B, h), strict=True)),
    )
    transitions = A.view(E * V, h, h)
    for (read_t, groups, following), index, back_to_rows in zip(steps, at.rows, at.forward, strict=True):
        torch.index_select(rows, 0, index, out=read_t)
        gemm(groups, transitions, out)
        torch.index_select(made, 0, back_to_rows, out=following)
    buffers.put("places", at)
    states = rows[E * B : (T + 1) * E * B].view(T, E, B, h).transpose(2, 3)
    return states, states[-1]


def back(A: Tensor, batch: Frame, buffers: Buffers, gemm: Gemm, d_states: Tensor) -> tuple[Tensor, Tensor]:
    """(d(A) [E, V, in, out], d(h0) [E, h]) from the gradient of the last W states, as :func:`run` lays them out."""
    W, E, h, B = d_states.shape
    T, V = batch.tokens.shape[0], A.shape[1]
    at: Places = buffers.get("places")
    total = at.rows[0].shape[0]
    C = total // (E * V)
    read, grouped = buffers("read", T, total, h), buffers("d_grouped", total, h)
    # Gradients of one step's old states by place, an empty row, and, where sequences begin late, those of the new states.
    old = buffers("d_old", total + 1 + E * B, h)
    late = old[total + 1 :]
    # The gradient of the state after step t stands at the rows of the state before it, so that one index serves both.
    new = buffers("d_new", (T + 1) * E * B + 1, h)
    first = buffers("d_first", E * B, h)
    by_step = new[: T * E * B].view(T, E * B, h)
    steps = buffers.views(
        "steps back",
        lambda: list(zip(read.view(T, E * V, C, h).transpose(2, 3), by_step, (first, *by_step[:-1]), strict=True)),
    )
    given = d_states.transpose(2, 3).reshape(W, E * B, h)
    groups, by_place = grouped.view(E * V, C, h), old[:total].view(E * V, C, h)
    operand = buffers("backward", E * V, h, h).copy_(A.view(E * V, h, h).transpose(1, 2))
    d_A = buffers("d_A", E * V, h, h).zero_()
    by_step[T - 1].copy_(given[W - 1])
    for t in range(T - 1, -1, -1):
        states, d, earlier = steps[t]
        torch.index_select(new, 0, at.rows[t], out=grouped)
        gemm.add_(d_A, states, groups)
        gemm(groups, operand, by_place)
        if batch.before:
            late.copy_(d)
        torch.index_select(old, 0, at.backward[t], out=earlier)
        if t > T - W:
            earlier.add_(given[t - 1 - (T - W)])
    return d_A, fold_(first.view(E, B, h).transpose(0, 1))
