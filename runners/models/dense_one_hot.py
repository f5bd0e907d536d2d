"""The dense SSM's recurrence as one product per step for a whole batch,
with shapes that do not depend on the data.

With the transitions side by side, [A(0) A(1) ...], and the state multiplied by its token's one-hot vector (so
that it stands in the rows of its token and zeros stand elsewhere), a step of all B sequences is one product
of matrices. It does V times the arithmetic that is needed, and is still the fastest for small states, and the
only way in a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from runners.models.batch import Frame, one_hot_
from runners.models.matmul import Matmul
from runners.models.workspace import Buffers


def run(
    A: Tensor, h0: Tensor, batch: Frame, buffers: Buffers, matmul: Matmul, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """States [T, E, h, B] and the last of them.

    Args:
        A: [E, V, in, out], the transposed transitions; the same buffer at every call.
        h0: [E, h].
        batch: tokens [T, Et, B].
        buffers: kept for :func:`back`.
        matmul: the product.
        state: [E, h, B] to go on from; None: from h0.
    """
    T, Et, B = batch.tokens.shape
    E, V, h, _ = A.shape
    # One row more than the transitions have: where a sequence begins late, its state until then is h0.
    rows = V * h + 1 if batch.before else V * h
    mask, spread = buffers("mask", T, Et, V, B), buffers("spread", T, E, rows, B)
    states = buffers("states", T, E, h, B)
    one_hot_(mask, batch.tokens)
    operand = A.view(E, V * h, h)
    if batch.before:
        spread[:, :, V * h].copy_(batch.tokens < 0)
        operand = buffers("operand", E, rows, h)
        operand[:, : V * h].copy_(A.view(E, V * h, h))
        operand[:, V * h].copy_(h0)

    def views() -> list[tuple[Tensor, Tensor, Callable[[], object], Tensor]]:
        """Step by step: the mask, the state as it is to be spread, the product,
        and what that makes for the next one.
        """
        made = [matmul.bound(states[t], operand.transpose(1, 2), spread[t]) for t in range(T)]
        return [
            (mask[t].unsqueeze(2), _by_token(spread[t], V, h), made[t], states[t].unsqueeze(1))
            for t in range(T)
        ]

    previous = (h0.unsqueeze(-1) if state is None else state).unsqueeze(1)
    for here, by_token, product, following in buffers.views("steps", views):
        torch.mul(previous, here, out=by_token)
        product()
        previous = following
    return states, states[-1].clone() if batch.targets is None else states[-1]


def back(
    A: Tensor, batch: Frame, buffers: Buffers, matmul: Matmul, d_states: Tensor
) -> tuple[Tensor, Tensor]:
    """(d(A) [E, V h h in the order of A], d(h0) [E, h])
    from the gradient of the last W states [W, E, h, B].
    """
    W, E, h, B = d_states.shape
    T, V = batch.tokens.shape[0], A.shape[1]
    rows = V * h + 1 if batch.before else V * h
    mask = buffers("mask", T, batch.tokens.shape[1], V, B)
    spread, by_token = buffers("spread", T, E, rows, B), buffers("by_token", E, V, h, B)
    operand = buffers("backward", E, h, V, h).copy_(A.transpose(1, 2)).view(E, h, V * h)
    d_forward = buffers("d_forward", E, rows, h).zero_()
    flat = by_token.view(E, V * h, B)
    two, scratch = buffers("two", 2, E, h, B), buffers("scratch", E, h, B)

    def views() -> list[tuple[Tensor, Tensor, Callable[[], object], Tensor]]:
        """Step by step from the end: the state as it was spread, the mask, and the product,
        which goes to or is added to the gradient one step earlier."""
        early = T - W
        made = []
        for t in range(T - 1, -1, -1):
            earlier = d_states[t - 1 - early] if t > early else two[t % 2]
            product = matmul.bound(earlier, operand, flat, scratch if t > early else None)
            made.append((spread[t], mask[t].unsqueeze(2), product, earlier))
        return made

    d = d_states[W - 1]
    for here, token, product, earlier in buffers.views("steps back", views):
        matmul.add_(d_forward, here, d.transpose(1, 2))
        torch.mul(d.unsqueeze(1), token, out=by_token)
        product()
        d = earlier
    d_h0 = d.sum(-1)
    if batch.before:
        return d_forward[:, : V * h].reshape(E, -1), d_h0 + d_forward[:, V * h]
    return d_forward.view(E, -1), d_h0


def _by_token(spread: Tensor, V: int, h: int) -> Tensor:
    """[E, V h or one row more, B] -> [E, V, h, B]."""
    return spread[:, : V * h].view(spread.shape[0], V, h, spread.shape[2])
