"""Batched matrix products over members, in the job's precision, none of which lets E choose the kernel.

With ``small``, products on one core of a CPU go through numpy's BLAS:
it takes a third less time than torch's on matrices that fit a cache.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

LARGE = 1 << 15
"""Entries of a product above which one call of torch per member costs less than a copy (CPU)."""
LONG = 32
"""Where numpy's right operand lies column by column it is the faster one if the length of its sums
divides by this.
"""
FEW, DEEP = 4, 128
"""The rows from which, and the length of the sums up to which,
both libraries add up one product after another.
"""


def flush_denormals(like: Tensor) -> None:
    """Let this thread's CPU arithmetic round numbers below 1e-38 to zero:
    where a loss vanishes they would cost tenfold.

    Called by every entry of a model, so that no result depends on who called before.
    """
    if like.device.type == "cpu":
        torch.set_flush_denormal(True)


def fold_(x: Tensor) -> Tensor:
    """Sum over the first axis by halves, in place.

    A reduction would choose its order by the other sizes, E among them.
    """
    n = x.shape[0]
    while n > 1:
        half = n // 2
        x[:half].add_(x[n - half : n])
        n -= half
    return x[0]


def _narrow_product(a: Tensor, b: Tensor) -> Tensor:
    if a.device.type == "cpu":  # has no product of bfloat16 with another result
        return torch.bmm(a.bfloat16(), b.bfloat16())
    return torch.bmm(a.bfloat16(), b.bfloat16(), out_dtype=torch.float32)


class Matmul:
    """The product of one model.

    Args:
        half: operands are rounded to bfloat16; sums are float32, and so are results on a GPU. On a CPU a
            result is
            rounded to bfloat16 once more.
        small: expect small matrices.
        free: its sums may be in another order than torch's.
            Else numpy gets the products alone of which it gives the same bits.
    """

    def __init__(self, half: bool = False, *, small: bool = False, free: bool = False) -> None:
        self.half = half
        self.small = small
        self.free = free

    def __call__(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        """a [E, m, k] times b [E, k, n]; ``out`` must be contiguous."""
        if self._narrow(a):
            product = _narrow_product(a, b)
            return product.float() if out is None else out.copy_(product)
        if self._by_numpy(a, b):
            out = a.new_empty(a.shape[0], a.shape[1], b.shape[2]) if out is None else out
            np.matmul(a.numpy(), b.numpy(), out=out.numpy())
            return out
        return torch.bmm(a, b) if out is None else torch.bmm(a, b, out=out)

    def bound(self, out: Tensor, a: Tensor, b: Tensor, scratch: Tensor | None = None) -> Callable[[], object]:
        """out = a b as a call without arguments, for buffers that live from step to step;
        with scratch of the shape of ``out``, out += a b. Both must be contiguous."""
        if self._narrow(a) or not self._by_numpy(a, b):
            return partial(self, a, b, out) if scratch is None else partial(self.add_, out, a, b)
        if scratch is None:
            return partial(np.matmul, a.numpy(), b.numpy(), out=out.numpy())
        product = partial(np.matmul, a.numpy(), b.numpy(), out=scratch.numpy())

        def add() -> None:
            product()
            out.add_(scratch)

        return add

    def add_(self, total: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """total [E, m, n] (contiguous) += a b."""
        if self._narrow(a):
            return total.add_(_narrow_product(a, b))
        return total.baddbmm_(a, b)

    def affine(self, bias: Tensor, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        """bias + a b, bias broadcast to [E, m, n]."""
        if self._narrow(a):
            product = _narrow_product(a, b)
            return torch.add(product, bias) if out is None else torch.add(product, bias, out=out)
        if self._by_numpy(a, b):
            return self(a, b, out).add_(bias)
        return torch.baddbmm(bias, a, b) if out is None else torch.baddbmm(bias, a, b, out=out)

    def into(self, out: Tensor, a: Tensor, b: Tensor) -> None:
        """a b into a view of a gradient buffer: rows of ``out`` [E, m, n] are contiguous,
        the members are strides apart.
        """
        if not self._narrow(a) and self._by_numpy(a, b):
            np.matmul(a.numpy(), b.numpy(), out=out.numpy())
        elif out.device.type == "cpu" and not self.half and a.shape[1] * b.shape[2] >= LARGE:
            for e in range(a.shape[0]):
                torch.mm(a[e], b[e], out=out[e])
        else:
            out.copy_(self(a, b))

    def _narrow(self, a: Tensor) -> bool:
        return self.half and a.dtype == torch.float32

    def _by_numpy(self, a: Tensor, b: Tensor) -> bool:
        if not self.small or a.device.type != "cpu" or torch.get_num_threads() > 1:
            return False
        by_rows = b.stride(2) == 1
        if self.free:
            return by_rows or b.shape[1] % LONG == 0
        return by_rows and a.shape[1] >= FEW and b.shape[1] <= DEEP
