"""A trial's losses as a small blob: thinned to 32 points, float32. Standard library only.

Layout, little-endian: one byte of version (1: steps are uint32, 2: uint64), three of zeros, then all steps,
all training losses, all validation losses (float32; what is beyond its range becomes infinite, NaN stays
NaN). Version 3, of a trial that was tested at further lengths: after the zeros the number of points as
uint32, then as version 2, then for each length the length and the number of positions as uint32 and the
accuracy at each as float32.
"""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from itertools import pairwise

from store.rows import Curve

LIMIT = 32
_MAX_POINTS = 4096
_MOST_LENGTHS = 64
_FLOAT_MAX = 3.4028234663852886e38


def thin(curve: Curve, limit: int = LIMIT) -> Curve:
    """At most ``limit`` points: the first, the lowest validation loss and the last,
    the others evenly by index.

    Raises:
        ValueError: the three parts differ in length, or ``limit`` is below 3.
    """
    count = len(curve.steps)
    if not count == len(curve.train) == len(curve.validation):
        raise ValueError(
            "a curve's steps, training and validation losses differ in number; expected one of each per point"
        )
    if limit < 3:
        raise ValueError(f"limit is {limit}; expected at least 3")
    if count <= limit:
        return curve
    losses = [x if not math.isnan(x) else math.inf for x in curve.validation]
    best = min(range(count), key=losses.__getitem__)
    keep = {round(i * (count - 1) / (limit - 1)) for i in range(limit)}
    if best not in keep:
        inner = sorted(keep - {0, count - 1})
        keep.remove(min(inner, key=lambda i: abs(i - best)))
        keep.add(best)
    chosen = sorted(keep)
    return Curve(
        tuple(curve.steps[i] for i in chosen),
        tuple(curve.train[i] for i in chosen),
        tuple(curve.validation[i] for i in chosen),
        curve.by_position,
    )


def _float(x: float) -> float:
    if x != x or abs(x) <= _FLOAT_MAX:
        return x
    return math.copysign(math.inf, x)


def encode(curve: Curve) -> bytes:
    """The blob of a curve, thinned."""
    curve = thin(curve)
    count = len(curve.steps)
    values = [_float(float(x)) for x in (*curve.train, *curve.validation)]
    if curve.by_position:
        head = struct.pack(f"<B3xI{count}Q{2 * count}f", 3, count, *curve.steps, *values)
        return head + b"".join(
            struct.pack(f"<II{len(part)}f", length, len(part), *map(_float, part))
            for length, part in curve.by_position[:_MOST_LENGTHS]
        )
    wide = any(s >= 1 << 32 for s in curve.steps)
    head = struct.pack(f"<B3x{count}{'Q' if wide else 'I'}", 2 if wide else 1, *curve.steps)
    return head + struct.pack(f"<{2 * count}f", *values)


def decode(blob: object) -> Curve | None:
    """The curve of a blob; None where it is none (a damaged or hostile file)."""
    if not isinstance(blob, bytes) or len(blob) < 4 or blob[0] not in (1, 2, 3):
        return None
    if blob[0] == 3:
        return _with_positions(blob)
    return _losses(blob[4:], blob[0] == 2)


def _losses(data: bytes, wide: bool) -> Curve | None:
    count, rest = divmod(len(data), 16 if wide else 12)
    if rest or count > _MAX_POINTS:
        return None
    numbers = struct.unpack(f"<{count}{'Q' if wide else 'I'}{2 * count}f", data)
    steps = numbers[:count]
    if any(b <= a for a, b in pairwise(steps)):
        return None
    return Curve(steps, numbers[count : 2 * count], numbers[2 * count :])


def _with_positions(blob: bytes) -> Curve | None:
    if len(blob) < 8:
        return None
    (count,) = struct.unpack_from("<I", blob, 4)
    at = 8 + 16 * count
    curve = _losses(blob[8:at], True) if count <= _MAX_POINTS and at <= len(blob) else None
    parts: list[tuple[int, tuple[float, ...]]] = []
    while curve is not None and at < len(blob):
        if len(parts) == _MOST_LENGTHS or at + 8 > len(blob):
            return None
        length, positions = struct.unpack_from("<II", blob, at)
        at += 8
        if positions > (len(blob) - at) // 4:
            return None
        parts.append((length, struct.unpack_from(f"<{positions}f", blob, at)))
        at += 4 * positions
    return curve and replace(curve, by_position=tuple(parts))
