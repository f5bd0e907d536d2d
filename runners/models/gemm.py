"""Batched matrix products over members, in the job's precision, none of which lets E choose the kernel."""

from __future__ import annotations

import torch
from torch import Tensor

LARGE = 1 << 15
"""Entries of a product above which one call per member costs less than a copy (CPU)."""


def flush_denormals(like: Tensor) -> None:
    """Let this thread's CPU arithmetic round numbers below 1e-38 to zero: where a loss vanishes they would cost tenfold.

    Called by every entry of a model, so that no result depends on who called before.
    """
    if like.device.type == "cpu":
        torch.set_flush_denormal(True)


def fold_(x: Tensor) -> Tensor:
    """Sum over the first axis by halves, in place. A reduction would choose its order by the other sizes, E among them."""
    n = x.shape[0]
    while n > 1:
        half = n // 2
        x[:half].add_(x[n - half : n])
        n -= half
    return x[0]


class Gemm:
    """``half``: operands are rounded to bfloat16, sums and results are float32."""

    def __init__(self, half: bool = False) -> None:
        self.half = half

    def __call__(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        """a [E, m, k] times b [E, k, n]; ``out`` must be contiguous."""
        if self.half and a.dtype == torch.float32:
            product = torch.bmm(a.bfloat16(), b.bfloat16())
            return product.float() if out is None else out.copy_(product)
        return torch.bmm(a, b) if out is None else torch.bmm(a, b, out=out)

    def add_(self, total: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """total [E, m, n] (contiguous) += a b."""
        if self.half and a.dtype == torch.float32:
            return total.add_(torch.bmm(a.bfloat16(), b.bfloat16()))
        return total.baddbmm_(a, b)

    def to(self, out: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """out [E, m, n] (contiguous) = a b."""
        return self(a, b, out)

    def affine(self, bias: Tensor, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        """bias + a b, bias broadcast to [E, m, n]."""
        if self.half and a.dtype == torch.float32:
            product = torch.bmm(a.bfloat16(), b.bfloat16())
            return torch.add(product, bias) if out is None else torch.add(product, bias, out=out)
        return torch.baddbmm(bias, a, b) if out is None else torch.baddbmm(bias, a, b, out=out)

    def into(self, out: Tensor, a: Tensor, b: Tensor) -> None:
        """a b into a view of a gradient buffer: rows of ``out`` [E, m, n] are contiguous, the members are strides apart."""
        if out.device.type == "cpu" and not self.half and a.shape[1] * b.shape[2] >= LARGE:
            for e in range(a.shape[0]):
                torch.mm(a[e], b[e], out=out[e])
        else:
            out.copy_(self(a, b))
