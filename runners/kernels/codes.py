"""What models and kernels agree on: what to do, how a batch lies, sizes. Plain Python, without numba."""

from __future__ import annotations

TRAIN, EVALUATE = 0, 1
"""What a kernel is to do."""
ALL, FIXED, SHIFTED = 0, 1, 2
"""Every position may be supervised; all sequences have one length; they are moved to end at the last step."""
PAD = 16
"""Logits are padded to a multiple of this."""
PANEL = 32
"""Columns of a panel, at most."""


def padded(columns: int, to: int = PAD) -> int:
    """The next multiple of ``to``."""
    return (columns + to - 1) // to * to


def block_parameters(d: int) -> int:
    """Parameters of a transformer's block."""
    return 12 * d * d + 13 * d


def kept_by_block(room: int, d: int, heads: int, wide: int) -> int:
    """Numbers that a transformer's block keeps of ``room`` rows, its input among them."""
    return room * (19 * d + heads * wide + 4)
