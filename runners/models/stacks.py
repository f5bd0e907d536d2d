"""Stacks of residual blocks as ``runners.kernels.stack`` takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from runners.kernels.codes import CHUNK, PANEL, padded, panels_of_block
from runners.models.native import Call, kernel_for
from runners.models.shape import Shape
from runners.models.workspace import Workspace

MOST = 1 << 28
"""Numbers that a stack's buffers may hold; what needs more is torch's."""
BESIDE = 64
"""Numbers behind a buffer, as whole vectors are read of it."""


@dataclass(frozen=True)
class Stack:
    """What the kernel of a family has to know of a model, whose parameters are in its order."""

    family: str
    d: int
    """Numbers of a row."""
    layers: int
    size: int
    """Parameters of a block."""
    operations: float
    """Floating-point operations of a training step for one position, whatever it sees."""
    panels: int
    """Numbers of a block's packed weights."""
    kept: Callable[[int, int], int]
    """(rows, positions) -> numbers that a block keeps of them, its input among them."""
    scratch: Callable[[int, int], int]
    """(rows, positions) -> numbers that a block needs beside them."""
    about: Callable[[int], Sequence[int]] = lambda _: (0,)
    """Positions -> what the family has to be told."""
    table: Callable[[int], Tensor] | None = None
    """Positions -> a table of its own."""
    fixed: bool = False
    """The table is added to the embedding."""
    learned: int = 0
    """Positions whose embedding is learned."""
    loops: int = 1
    further: float = 0.0
    """Operations of a position for each position of its sequence."""


def stack_call(
    stack: Stack, shape: Shape, params: Tensor, batch: Sequence[int], workspace: Workspace, longest: float
) -> Call | None:
    """The kernel for batches [Et, B, T] with its buffers in ``workspace``; None: torch has to do, as where a
    member takes more than ``longest`` operations.
    """
    Et, B, T = batch
    rows = B * T
    room, applied = max(CHUNK, T), stack.layers * stack.loops
    kept, scratch = stack.kept(room, T), stack.scratch(room, T)
    work = stack.operations + stack.further * T
    short = work * rows <= longest and applied * kept + scratch <= MOST
    kernel = kernel_for(stack.family, params) if short and not shape.half else None
    if kernel is None:
        return None
    V, S, d = shape.n_inputs, shape.n_outputs, stack.d
    buffers = workspace.group(("kernel", Et, B, T), params)

    # Long: a list of sizes and buffers in the kernel's order.
    def make() -> Call:
        logits = padded(S)
        sizes = [B, T, V, S, d, stack.layers, stack.loops, stack.learned, int(stack.fixed), Et]
        sizes += [params.shape[1], CHUNK, room, stack.size, kept, stack.panels]
        integers = [torch.empty(n, dtype=torch.int64) for n in (5 * room, B + 1, B + 1, 4)]
        told = [
            torch.tensor(list(stack.about(T)), dtype=torch.int64),
            stack.table(T).to(torch.float32).contiguous() if stack.table else params.new_zeros(1),
        ]
        numbers = [
            stack.layers * stack.panels,
            applied * kept + room * (3 * d + 2),  # activations
            scratch,
            d * logits,  # the head turned round
            room * logits,
            3 * room + 2 * d,
            room * d,
            room * d,
        ]
        made = (params.new_zeros(n + BESIDE) for n in numbers)
        return Call(kernel, [*sizes, *[0] * 6, *integers, *told, *made], 19, work)

    return buffers.views("call", make)


def attention_stack(
    family: str, d: int, heads: int, layers: int, how: int, table: Callable[[int], Tensor] | None, *,
    loops: int = 1, learned: int = 0, fixed: bool = False,
) -> Stack:  # fmt: skip
    """The stack of a transformer; ``how``, ``table``: see ``runners.kernels.transformer``."""

    def kept(room: int, T: int) -> int:
        return room * (19 * d + heads * padded(T) + 4)

    def scratch(room: int, T: int) -> int:
        wide = padded(T)
        return room * (14 * d + wide + padded(4 * d, PANEL)) + padded(d) * wide + 2 * d

    return Stack(
        family, d, layers,
        size=12 * d * d + 13 * d,
        operations=72.0 * layers * loops * d**2,
        further=6.0 * layers * loops * d,
        panels=2 * panels_of_block(d),
        kept=kept,
        scratch=scratch,
        about=lambda T: (heads, padded(T), how),
        table=table,
        loops=loops,
        learned=learned,
        fixed=fixed,
    )  # fmt: skip
