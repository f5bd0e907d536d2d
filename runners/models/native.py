"""Calls of the kernels: which of them serve, and the table of sizes and addresses that each takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from runners.interrupt import check_interrupt
from runners.kernels import library
from runners.kernels.library import Kernel
from runners.models.shape import Shape

TRAIN, EVALUATE = 0, 1
"""What a kernel is to do."""
ALL, FIXED, SHIFTED = 0, 1, 2
"""How a batch lies (see ``runners.kernels.batches``)."""
PADDED = 16
"""Logits are padded to a multiple of this."""
PANEL = 32
"""Columns of a panel, at most."""
LONG = 2e8
"""Floating-point operations of one call, after which a request is heard: some thousandths of a second."""


def kernel_for(family: str, params: Tensor, *widths: int) -> Kernel | None:
    """The kernel of a family for these parameters, where widths are whole vectors; None: torch has to do."""
    if params.dtype != torch.float32 or params.device.type != "cpu" or torch.get_num_threads() > 1:
        return None
    if any(width % 16 for width in widths):
        return None
    return library.kernel(family)


class Call:
    """A kernel with its table of arguments; the first three say what to do, and with which members."""

    def __init__(self, kernel: Kernel, values: Sequence[int | Tensor], given: int) -> None:
        """``given``: the place of what differs from call to call, which :meth:`fill` sets."""
        self._kernel = kernel
        self._given = given
        self._held = [v for v in values if isinstance(v, Tensor)]
        self._table = np.array([0, 0, 0, *(_number(v) for v in values)], dtype=np.int64)
        self._address = int(self._table.ctypes.data)

    def fill(self, *tensors: Tensor) -> None:
        """Parameters, gradient, two results, tokens, targets."""
        for place, tensor in enumerate(tensors, self._given):
            self._table[place] = tensor.data_ptr()

    def __call__(self, what: int, members: int, work: float) -> None:
        """For all members, some at a time where that takes long; ``work``: operations for one member.

        Raises:
            Interrupted: between two calls.
        """
        at_once = max(1, int(LONG / work))
        self._table[0] = what
        for first in range(0, members, at_once):
            check_interrupt()
            self._table[1], self._table[2] = first, min(members, first + at_once)
            self._kernel(self._address)


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
