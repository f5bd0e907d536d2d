"""Named parameters in one flat row, and their initial values."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from runners.interrupt import check_interrupt
from runners.streams import Stream, key, normal, uniform

ALIGN = 16
"""A member's row is a multiple of this many numbers, so that rows begin at multiples of 64 bytes: a CPU's
matrix products may sum in an order that depends on where their operands begin, and a member's bits may not
depend on its place."""

DRAWN_AT_ONCE = 1 << 18
"""Numbers: temporaries of about what a core's cache holds."""

Initial = Callable[[int, Tensor], Tensor]
"""(stream key, places int64 [n]) -> float64 [n], a function of key and place alone."""


def gaussian(std: float) -> Initial:
    return lambda k, places: normal(k, places) * std


def flat(bound: float) -> Initial:
    """Uniform in +-bound."""
    return lambda k, places: (uniform(k, places) * 2 - 1) * bound


def constant(value: float) -> Initial:
    return lambda _k, places: torch.full((len(places),), value, dtype=torch.float64)


def aligned(count: int) -> int:
    """``count``, or the next multiple of ALIGN."""
    return -(-count // ALIGN) * ALIGN


def part(views: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The views whose names begin with ``prefix``, without it: one layer's own."""
    return {name.removeprefix(prefix): v for name, v in views.items() if name.startswith(prefix)}


class Layout:
    """The order of the parameters in [P], which ends in a few numbers that are always zero.

    Each parameter draws from a sub-stream of its own, named by its place in that order."""

    def __init__(self, parameters: dict[str, tuple[tuple[int, ...], Initial]]) -> None:
        self.names: dict[str, tuple[slice, tuple[int, ...]]] = {}
        self._initial = [initial for _, initial in parameters.values()]
        start = 0
        for name, (shape, _) in parameters.items():
            self.names[name] = (slice(start, start + prod(shape)), shape)
            start += prod(shape)
        self.used, self.size = start, aligned(start)

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """Each parameter as [E, *shape], a view of buffer [E, P]."""
        E = buffer.shape[0]
        return {name: buffer[:, where].view(E, *shape) for name, (where, shape) in self.names.items()}

    def finish(self, grad: Tensor) -> None:
        """Zero the gradient of what no parameter uses."""
        if self.used < self.size:
            grad[:, self.used :].zero_()

    def init(self, seed: int) -> Tensor:
        """Draw float32 [P] on the CPU."""
        out = torch.zeros(self.size, dtype=torch.float32)
        for i, ((where, _), initial) in enumerate(zip(self.names.values(), self._initial, strict=True)):
            drawn = key(seed, Stream.PARAMETERS, i)
            for at in range(where.start, where.stop, DRAWN_AT_ONCE):
                check_interrupt()
                end = min(at + DRAWN_AT_ONCE, where.stop)
                out[at:end] = initial(
                    drawn, torch.arange(at - where.start, end - where.start, dtype=torch.int64)
                )
        return out
