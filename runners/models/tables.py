"""Linear recurrences by a table over the vocabulary, as ``runners.kernels.structured`` takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from runners.kernels.codes import (
    ANGLES,
    BLOCKS,
    FACTORED,
    LONGEST_EVALUATION,
    MATRICES,
    PANEL,
    PLAIN,
    POLAR,
    SCALES,
    TURNS,
    padded,
)
from runners.models.layout import Layout
from runners.models.native import Call, kernel_for, lying
from runners.models.shape import Shape
from runners.models.workspace import Workspace

LARGEST_BLOCK, FEWEST_BLOCKS = 4, 8
"""Rows of a block up to which steps by blocks are faster than by a small matrix, and how many there must be
of larger ones: a step goes over blocks."""


@dataclass(frozen=True)
class Tables:
    """How the table is made of the embedding, and what it does to a state: the kernel's codes."""

    kind: int
    motion: int
    width: int
    """Numbers of the state."""
    rows: int
    """Rows of the weight that makes the table."""
    weight: str
    """The parameter's name; those of the others, where there are any."""
    bias: str = ""
    angle: str = ""
    block: int = 1
    rank: int = 0
    near: bool = False
    """The identity is added."""

    def cells(self, V: int) -> int:
        """Numbers of the table."""
        return V * self.rows * (2 if self.kind in (ANGLES, POLAR) else 1)

    def work(self, shape: Shape, d: int, B: int, T: int) -> float:
        """Floating-point operations of a training step for one of B T positions, the table's among them."""
        h, V = self.width, shape.n_inputs
        each = {SCALES: h, TURNS: 2 * h, BLOCKS: h * self.block, FACTORED: 2 * h * self.rank}
        once = self.cells(V) * (6 * d + 3 * T)
        return 6.0 * (each.get(self.motion, h * h) + h * shape.n_outputs) + once / (B * T)


def tables_call(
    tables: Tables, layout: Layout, shape: Shape, params: Tensor, batch: Sequence[int], workspace: Workspace
) -> Call | None:
    """The kernel for batches [Et, B, T] with its buffers in ``workspace``; None: torch has to do."""
    Et, B, T = batch
    d = layout.names["embedding"][1][1] if "embedding" in layout.names else 0
    work = tables.work(shape, d, B, T)
    short = work * B * T <= LONGEST_EVALUATION
    kernel = kernel_for("structured", params) if short and not shape.half else None
    if kernel is None:
        return None
    buffers = workspace.group(("kernel", Et, B, T), params)

    def place(name: str) -> int:
        return layout.names[name][0].start if name in layout.names else 0

    # Long: a list of sizes and buffers in the kernel's order.
    def make() -> Call:
        h, V, S, rows, rank = tables.width, shape.n_inputs, shape.n_outputs, tables.rows, tables.rank
        W, wide, cells = shape.window(T), padded(S), tables.cells(V)
        sizes = [T, B, W, h, V, S, d, Et, params.shape[1], lying(shape, T)]
        sizes += [tables.kind, tables.motion, int(tables.near), tables.block, rank, rows]
        sizes += [place(name) for name in (tables.weight, tables.bias, tables.angle, "h0", "read", "write")]
        sizes.append(place("head.weight"))
        matrices = tables.motion == MATRICES
        integers = [
            torch.empty(n, dtype=torch.int64)
            for n in (T * B, W * B, T * B if matrices else 1, T * (V + 2) if matrices else 1)
        ]
        packed = [padded(rows, PANEL) * d]
        packed.append(V * padded(h, PANEL) * h if matrices else 0)
        packed.append(padded(rank, PANEL) * h + padded(h, PANEL) * rank)
        made_of = 1 if tables.kind == PLAIN else 2 * V * rows
        inner = max(T * B * h if matrices else 1, 2 * T * B * rank)
        scratch = [
            max(packed),
            made_of,  # what the functions are applied to
            made_of,
            cells,
            cells,
            1 if matrices else cells,
            (T + 1) * B * h,  # states
            W * B * h,  # their gradients, of which the head gives these
            (T + 1) * B * h,
            inner,
            inner,
            2 * (S * h + S) + 2 * h,  # of blocks, the head and the first state in their order
            h * wide,  # the head turned round
            W * B * wide,  # logits
            3 * W * B,
        ]
        made = (params.new_zeros(n) for n in scratch)
        return Call(kernel, [*sizes, *[0] * 6, *integers, *made], 26, work)

    return buffers.views("call", make)
