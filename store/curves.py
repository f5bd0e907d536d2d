"""A trial's losses as a small blob: thinned to 32 points, float32. Standard library only.

Layout, little-endian: one byte of version (1 and 3: steps are uint32, 2 and 4: uint64), three of zeros, then
all steps, all training losses, all validation losses (float32; what is beyond its range becomes infinite, NaN
stays NaN); in versions 3 and 4 a byte for each point, 1 where its validation loss is that of the whole set.
Version 5, of a trial that was tested at further lengths: after the zeros the size of such a blob as uint32,
the blob, and for each length the length and the number of positions as uint32 and the accuracy at each as
float32. Version 6, of a program: after the zeros its memory, its memory on the GPU and the use of it as
float64 (NaN: not known), and such a blob.
"""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from itertools import pairwise

from store.rows import Curve, Usage

LIMIT = 32
_MAX_POINTS = 4096
_MOST_LENGTHS = 64
_USAGE = struct.Struct("<B3x3d")
_FLOAT_MAX = 3.4028234663852886e38


def thin(curve: Curve, limit: int = LIMIT) -> Curve:
    """At most ``limit`` points: the first, the lowest validation loss and the last,
    the others evenly by index.

    Raises:
        ValueError: the three parts differ in length, or ``limit`` is below 3.
    """
    count = len(curve.steps)
    if not count == len(curve.train) == len(curve.validation) or len(curve.exact) not in (0, count):
        raise ValueError(
            "a curve's steps, training and validation losses differ in number; expected one of each per point"
        )
    if limit < 3:
        raise ValueError(f"limit is {limit}; expected at least 3")
    if count <= limit:
        return curve
    sure = curve.exact or (True,) * count
    losses = [x if e and not math.isnan(x) else math.inf for x, e in zip(curve.validation, sure, strict=True)]
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
        tuple(curve.exact[i] for i in chosen) if curve.exact else (),
        curve.by_position,
        curve.usage,
    )


def _float(x: float) -> float:
    if x != x or abs(x) <= _FLOAT_MAX:
        return x
    return math.copysign(math.inf, x)


def encode(curve: Curve) -> bytes:
    """Write a curve as a blob, thinned."""
    if curve.usage is not None:
        known = (curve.usage.memory, curve.usage.gpu_memory, curve.usage.gpu_use)
        head = _USAGE.pack(6, *(math.nan if x is None else x for x in known))
        return head + encode(replace(curve, usage=None))
    if curve.by_position:
        losses = encode(replace(curve, by_position=()))
        return (
            struct.pack("<B3xI", 5, len(losses))
            + losses
            + b"".join(
                struct.pack(f"<II{len(part)}f", length, len(part), *map(_float, part))
                for length, part in curve.by_position[:_MOST_LENGTHS]
            )
        )
    curve = thin(curve)
    count = len(curve.steps)
    wide = any(s >= 1 << 32 for s in curve.steps)
    version = (2 if wide else 1) + (2 if curve.exact else 0)
    head = struct.pack(f"<B3x{count}{'Q' if wide else 'I'}", version, *curve.steps)
    values = [_float(float(x)) for x in (*curve.train, *curve.validation)]
    return head + struct.pack(f"<{2 * count}f", *values) + bytes(curve.exact)


def decode(blob: object) -> Curve | None:
    """Read the curve of a blob; None where it is none (a damaged or hostile file)."""
    if isinstance(blob, bytes) and len(blob) > _USAGE.size and blob[0] == 6:
        inner = decode(blob[_USAGE.size :]) if blob[_USAGE.size] != 6 else None
        known = (x if math.isfinite(x) and x >= 0 else None for x in _USAGE.unpack_from(blob)[1:])
        return inner and replace(inner, usage=Usage(*known))
    if isinstance(blob, bytes) and len(blob) >= 8 and blob[0] == 5:
        return _with_positions(blob)
    if not isinstance(blob, bytes) or len(blob) < 4 or blob[0] not in (1, 2, 3, 4):
        return None
    wide, marked = blob[0] in (2, 4), blob[0] > 2
    count, rest = divmod(len(blob) - 4, (16 if wide else 12) + marked)
    if rest or count > _MAX_POINTS:
        return None
    end = len(blob) - count * marked
    data = struct.unpack(f"<{count}{'Q' if wide else 'I'}{2 * count}f", blob[4:end])
    steps = data[:count]
    if any(b <= a for a, b in pairwise(steps)):
        return None
    return Curve(steps, data[count : 2 * count], data[2 * count :], tuple(b == 1 for b in blob[end:]))


def _with_positions(blob: bytes) -> Curve | None:
    at = 8 + int(struct.unpack_from("<I", blob, 4)[0])
    inner = blob[8:at]
    curve = decode(inner) if at <= len(blob) and inner[:1] != b"\5" else None
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
