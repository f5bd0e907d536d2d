"""Calls of the kernels: which of them serve, and the table of sizes and addresses that each takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from runners.interrupt import check_interrupt
from runners.kernels import library
from runners.kernels.codes import ALL, CELLS, EVALUATE, FIXED, PAD, PANEL, SHIFTED, TRAIN, padded
from runners.kernels.library import Kernel
from runners.models.shape import Shape
from runners.models.workspace import Workspace

LONG = 2e8
"""Floating-point operations of one call, after which a request is heard: some thousandths of a second."""

LARGEST_CELL, LARGE_CELL, LONGEST_CELL = 1024, 512, 2e11
"""Hidden size up to which a recurrent cell's step is one call, within which no request is heard; and from
which that holds only where it takes so many operations at most: a second or two of one core."""


def kernel_for(family: str, params: Tensor, *widths: int) -> Kernel | None:
    """The kernel of a family for these parameters, where widths are whole vectors; None: torch has to do."""
    if params.dtype != torch.float32 or params.device.type != "cpu" or torch.get_num_threads() > 1:
        return None
    if any(width % PAD for width in widths):
        return None
    return library.kernel(family)


class Call:
    """A kernel with its table of arguments; the first three say what to do, and with which members."""

    def __init__(self, kernel: Kernel, values: Sequence[int | Tensor], given: int, work: float) -> None:
        """``given``: the place of what differs from call to call; ``work``: floating-point operations of a
        member's training step for one position.
        """
        self._work = work
        self._kernel = kernel
        self._given = given
        self._held = [v for v in values if isinstance(v, Tensor)]
        self._table = np.array([0, 0, 0, *(_number(v) for v in values)], dtype=np.int64)
        self._address = int(self._table.ctypes.data)

    def train(self, params: Tensor, tokens: Tensor, targets: Tensor, grad: Tensor) -> Tensor:
        """The mean loss of each member, and its gradient.

        Raises:
            Interrupted: between two members.
        """
        made = params.new_empty(params.shape[0])
        self._run(TRAIN, params, grad, made, made, tokens, targets, self._work)
        return made

    def evaluate(self, params: Tensor, tokens: Tensor, targets: Tensor, total: Tensor, count: Tensor) -> None:
        """Add each member's summed loss to ``total`` and its supervised positions to ``count``, float64."""
        self._run(EVALUATE, params, params, total, count, tokens, targets, self._work / 3)

    def _run(
        self, what: int, params: Tensor, grad: Tensor, one: Tensor, other: Tensor, x: Tensor, y: Tensor,
        work: float,
    ) -> None:  # fmt: skip
        """For all members, some at a time where that takes long."""
        x, y = whole(x), whole(y)
        for place, tensor in enumerate((params, grad, one, other, x, y), self._given):
            self._table[place] = tensor.data_ptr()
        members, at_once = params.shape[0], max(1, int(LONG / (work * x[0].numel())))
        self._table[0] = what
        for first in range(0, members, at_once):
            check_interrupt()
            self._table[1], self._table[2] = first, min(members, first + at_once)
            self._kernel(self._address)


def takes_cell(hidden: int) -> bool:
    """Whether a recurrent cell of this size has a kernel, where there are any."""
    return hidden % PAD == 0 and hidden <= LARGEST_CELL


def cell_call(
    name: str, shape: Shape, hidden: int, params: Tensor, batch: Sequence[int], workspace: Workspace
) -> Call | None:
    """The kernel of a recurrent cell (``codes.CELLS``) for batches [Et, B, T], with its buffers in
    ``workspace``; None: torch has to do.
    """
    kernel = None if shape.half or not takes_cell(hidden) else kernel_for(name, params, hidden)
    cell, h, V, S = CELLS[name], hidden, shape.n_inputs, shape.n_outputs
    Et, B, T = batch
    if kernel is None or (h >= LARGE_CELL and cell.operations(h) * B * T > LONGEST_CELL):
        return None
    W, wide = shape.window(T), padded(S)
    buffers = workspace.group(("kernel", Et, B, T), params)

    def make() -> Call:
        sizes = [T, B, W, h, V, S, Et, params.shape[1], lying(shape, T)]
        integers = [torch.empty(T, B, dtype=torch.int64), torch.empty(W, B, dtype=torch.int64)]
        scratch = [
            params.new_empty(n)
            for n in (
                padded(cell.parameters * h, PANEL) * h,  # a weight in panels
                V * cell.blocks * h,  # the table
                V * cell.blocks * h,  # a part of its gradient
                T * B * cell.blocks * h,  # gates
                (T + 1) * B * h,  # states
                (T + 1) * B * cell.planes * h,  # what the cell keeps beside them
                W * B * h,  # d_states
                B * cell.carried * h,  # what its gradient carries
                2 * B * h,  # d_states before the window
                h * wide,  # the head turned round
                W * B * wide,  # logits
                3 * W * B,
            )
        ]
        return Call(kernel, [*sizes, *[0] * 6, *integers, *scratch], 12, cell.operations(h))

    return buffers.views("call", make)


def lying(shape: Shape, T: int) -> int:
    """How a batch of T positions lies in a recurrent model."""
    if shape.one_length:
        return FIXED
    return ALL if shape.window(T) == T and not shape.gaps else SHIFTED


def _number(value: int | Tensor) -> int:
    return value.data_ptr() if isinstance(value, Tensor) else value


def whole(x: Tensor) -> Tensor:
    """x as int64 without gaps."""
    return x.to(torch.int64).contiguous()
