"""Counter-based random streams: every draw is a function of (key, counter), so it depends on no order, batch,
device or N.

A trial's seed keys five separate streams (docs/science.md, Length distributions): data, validation split,
initial parameters, batch order, dropout. The generator is the splitmix64 finaliser (Steele, Lea, Flood 2014)
applied twice to key and counter; all arithmetic is on int64 that wraps, so CPU and CUDA give the same bits.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_C1 = 0xBF58476D1CE4E5B9
_C2 = 0x94D049BB133111EB


class Stream(IntEnum):
    """The five streams of a trial's seed."""

    DATA = 1
    VALIDATION = 2
    PARAMETERS = 3
    BATCHES = 4
    DROPOUT = 5


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _mix_int(z: int) -> int:
    z &= _MASK
    z = ((z ^ (z >> 30)) * _C1) & _MASK
    z = ((z ^ (z >> 27)) * _C2) & _MASK
    return z ^ (z >> 31)


def key(seed: int, stream: int, *parts: int) -> int:
    """A 64-bit key (as a signed integer) for one stream of a seed;
    ``parts`` name sub-streams (a length, an epoch).
    """
    z = _mix_int(seed + _GOLDEN)
    for part in (stream, *parts):
        z = _mix_int(z ^ _mix_int(part + _GOLDEN) + _GOLDEN)
    return _signed(z)


def _mix_(z: Tensor) -> Tensor:
    """The finaliser, in place: a fresh tensor per operation would cost more than the arithmetic."""
    shifted = z >> 30
    z ^= shifted.bitwise_and_((1 << 34) - 1)  # >> keeps the sign, so its copies are masked off
    z *= _signed(_C1)
    shifted = z >> 27
    z ^= shifted.bitwise_and_((1 << 37) - 1)
    z *= _signed(_C2)
    shifted = z >> 31
    z ^= shifted.bitwise_and_((1 << 33) - 1)
    return z


def bits(key: int | Tensor, counter: Tensor) -> Tensor:
    """64 random bits for each counter.

    Args:
        key: from :func:`key`, or an int64 tensor of such keys that broadcasts against ``counter``.
        counter: int64, any shape.

    Returns:
        int64 of the broadcast shape, uniform over all 2^64 values.
    """
    z = counter * _signed(_GOLDEN) + key
    return _mix_(_mix_(z).add_(key))


def _unit(key: int | Tensor, counter: Tensor) -> Tensor:
    """int64 uniform on 0..2^53-1, the integers that a float64 holds exactly."""
    return (bits(key, counter) >> 11).bitwise_and_((1 << 53) - 1)


def below(key: int | Tensor, counter: Tensor, bound: int | Tensor) -> Tensor:
    """int64 uniform on 0..bound-1 (bias below bound / 2^53;
    bound at most 2^31, a number or an int64 tensor).
    """
    scale = bound.to(torch.float64) * 2.0**-53 if isinstance(bound, Tensor) else bound * 2.0**-53
    return (_unit(key, counter).to(torch.float64) * scale).to(torch.int64)


def uniform(key: int | Tensor, counter: Tensor) -> Tensor:
    """float64 uniform on the open interval (0, 1): odd multiples of 2^-53,
    so that neither end can be rounded to.
    """
    return (_unit(key, counter) >> 1).to(torch.float64).add_(0.5).mul_(2.0**-52)


def normal(key: int, counter: Tensor) -> Tensor:
    """float64 standard normal for each counter, by inversion:
    an element is a function of (key, counter) alone.
    """
    u = uniform(key, counter)
    normal: Tensor = torch.special.ndtri(u)
    return normal
