"""The dense SSM's recurrence with states as rows, [T, E, B, h]:
on a CPU, the fast way for all but the smallest states.

A step is one product, of groups of sequences that read the same token where that saves arithmetic, else of
one-hot (x) state with the transitions below one another. Either way the gradient of the transitions is one
product at the end: a transition's states and their gradients are gathered over all steps, where their number
scatters far less than it does in one step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from runners.models.batch import Frame, Places, capacity, everywhere, places
from runners.models.matmul import Matmul, fold_
from runners.models.workspace import Buffers


def run(A: Tensor, h0: Tensor, batch: Frame, buffers: Buffers, matmul: Matmul) -> tuple[Tensor, Tensor]:
    """States as [T, E, h, B] (rows of h in memory) and the last of them.

    Args:
        A: [E, V, in, out], the transposed transitions; the same buffer at every call.
        h0: [E, h].
        batch: with ranks that fit (groups of one step)
            or an order that fits (groups over all steps), or both.
        buffers: kept for :func:`back`.
        matmul: the product.
    """
    T, _, B = batch.tokens.shape
    E, _, h, _ = A.shape
    rows = buffers("rows", (T + 1) * E * B + 1, h)
    rows[: E * B].view(E, B, h).copy_(h0.unsqueeze(1))
    (_run_spread if batch.ranks is None else _run_grouped)(A, h0, batch, rows, buffers, matmul)
    states = rows[E * B : (T + 1) * E * B].view(T, E, B, h).transpose(2, 3)
    return states, states[-1]


def back(
    A: Tensor, batch: Frame, buffers: Buffers, matmul: Matmul, d_states: Tensor
) -> tuple[Tensor, Tensor]:
    """(d(A) [E, V, in, out], d(h0) [E, h]) from the gradient of the last W states,
    as :func:`run` lays them out.
    """
    W, E, h, B = d_states.shape
    T, V = batch.tokens.shape[0], A.shape[1]
    rows = buffers("rows", (T + 1) * E * B + 1, h)
    # The gradient of the state after step t stands at the row of the state before it,
    # so that one index serves both.
    new = buffers("d_new", (T + 1) * E * B + 1, h)
    first = buffers("d_first", E * B, h)
    given = d_states.transpose(2, 3).reshape(W, E * B, h).unbind(0)
    by_step = new[: T * E * B].view(T, E * B, h)
    targets = buffers.views("targets", lambda: (first, *by_step[:-1]))
    transposed = buffers("backward", E, V, h, h).copy_(A.transpose(2, 3))
    by_step[T - 1].copy_(given[W - 1])
    step = (_back_spread if batch.ranks is None else _back_grouped)(
        transposed, batch, new, targets, buffers, matmul
    )
    for t in range(T - 1, -1, -1):
        step(t)
        if t > T - W:
            targets[t].add_(given[t - 1 - (T - W)])
    assert batch.order is not None
    index = everywhere(batch.order, E, T, B, V, buffers)
    before, after, d_A = (
        buffers("before", len(index), h),
        buffers("after", len(index), h),
        buffers("d_A", E * V, h, h),
    )
    torch.index_select(rows, 0, index, out=before)
    torch.index_select(new, 0, index, out=after)
    pair = before.view(E * V, -1, h).transpose(1, 2), after.view(E * V, -1, h)
    buffers.views("product of all", lambda: matmul.bound(d_A, *pair))()
    return d_A, fold_(first.view(E, B, h).transpose(0, 1))


def _run_grouped(A: Tensor, h0: Tensor, batch: Frame, rows: Tensor, buffers: Buffers, matmul: Matmul) -> None:
    """Between two steps rows are gathered from groups into the order of the batch and from there into the
    next groups; a row is copied in a few nanoseconds. A place in a group that nobody takes holds zeros."""
    T, _, B = batch.tokens.shape
    E, V, h, _ = A.shape
    C = capacity(V, B)
    assert C is not None
    at = places(batch, E, V, C, buffers)
    read = buffers("read", E * V * C, h)
    made = buffers("made", E * V * C + 1 + E, h)
    made[E * V * C + 1 :].copy_(h0)
    out = made[: E * V * C].view(E * V, C, h)
    product = buffers.views("product", lambda: matmul.bound(out, read.view(E * V, C, h), A.view(E * V, h, h)))
    following = buffers.views("following", lambda: rows[E * B : -1].view(T, E * B, h).unbind(0))
    for state, index, back_to_rows in zip(following, at.rows, at.forward, strict=True):
        torch.index_select(rows, 0, index, out=read)
        product()
        torch.index_select(made, 0, back_to_rows, out=state)
    buffers.put("places", at)


def _back_grouped(
    transposed: Tensor,
    batch: Frame,
    new: Tensor,
    targets: tuple[Tensor, ...],
    buffers: Buffers,
    matmul: Matmul,
) -> Callable[[int], None]:
    E, V, h, _ = transposed.shape
    at: Places = buffers.get("places")
    total = at.rows[0].shape[0]
    size = targets[0].shape[0]
    grouped = buffers("read", total, h)
    # Gradients of one step's old states by place, an empty row, and, where sequences begin late,
    # those of the new states.
    old = buffers("d_old", total + 1 + size, h)
    late = old[total + 1 :]
    pair = grouped.view(E * V, -1, h), transposed.view(E * V, h, h)
    product = buffers.views("product back", lambda: matmul.bound(old[:total].view(E * V, -1, h), *pair))

    def step(t: int) -> None:
        torch.index_select(new, 0, at.rows[t], out=grouped)
        product()
        if batch.before:
            late.copy_(new[t * size : (t + 1) * size])
        torch.index_select(old, 0, at.backward[t], out=targets[t])

    return step


def _run_spread(A: Tensor, h0: Tensor, batch: Frame, rows: Tensor, buffers: Buffers, matmul: Matmul) -> None:
    T, Et, B = batch.tokens.shape
    E, V, h, _ = A.shape
    mask = buffers("mask", T, Et, B, V, 1)
    tokens = buffers.views("tokens", lambda: torch.arange(V))
    mask.squeeze(-1).copy_(batch.tokens.unsqueeze(-1) == tokens)
    # One column more than the transitions have: where a sequence begins late, its state until then is h0.
    spread = buffers("spread", E, B, V * h + batch.before)
    operand = A.view(E, V * h, h)
    if batch.before:
        operand = buffers("operand", E, V * h + 1, h)
        operand[:, : V * h].copy_(A.view(E, V * h, h))
        operand[:, V * h].copy_(h0)
        buffers("absent", T, Et, B, 1).copy_(batch.tokens.unsqueeze(-1) < 0)
    by_token, last = spread[..., : V * h].view(E, B, V, h), spread[..., V * h :]
    states = rows[:-1].view(T + 1, E, B, h)
    steps = buffers.views(
        "steps",
        lambda: [
            (states[t].unsqueeze(2), mask[t], matmul.bound(states[t + 1], spread, operand)) for t in range(T)
        ],
    )
    for t, (state, here, product) in enumerate(steps):
        torch.mul(state, here, out=by_token)
        if batch.before:
            last.copy_(buffers("absent", T, Et, B, 1)[t])
        product()


def _back_spread(
    transposed: Tensor,
    batch: Frame,
    new: Tensor,
    targets: tuple[Tensor, ...],
    buffers: Buffers,
    matmul: Matmul,
) -> Callable[[int], None]:
    E, V, h, _ = transposed.shape
    T, Et, B = batch.tokens.shape
    mask, absent = buffers("mask", T, Et, B, V, 1), buffers("absent", T, Et, B, 1)
    by_token = buffers("by_token", E, B, V, h)
    d = new[: T * E * B].view(T, E, B, h)
    pair = by_token.view(E, B, V * h), transposed.view(E, V * h, h)
    steps = buffers.views(
        "steps back",
        lambda: [
            (d[t].unsqueeze(2), mask[t], matmul.bound(targets[t].view(E, B, h), *pair)) for t in range(T)
        ],
    )

    def step(t: int) -> None:
        after, here, product = steps[t]
        torch.mul(after, here, out=by_token)
        product()
        if batch.before:
            targets[t].view(E, B, h).addcmul_(d[t], absent[t])

    return step
