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
CHUNK = 256
"""Rows that a transformer's kernel takes forward and back at once."""
LONGEST = 1.5e10
"""Operations of one member's step up to which a transformer's kernel makes it."""


def padded(columns: int, to: int = PAD) -> int:
    """The next multiple of ``to``."""
    return (columns + to - 1) // to * to


def block_parameters(d: int) -> int:
    """Parameters of a transformer's block."""
    return 12 * d * d + 13 * d


def panels_of_block(d: int, to: int = PANEL) -> int:
    """Numbers of the weights of a transformer's block in panels of ``to`` columns, as they are or turned."""
    one, four = (d + to - 1) // to * to, (4 * d + to - 1) // to * to
    return d * (8 * one + four)


def kept_by_block(room: int, d: int, heads: int, wide: int) -> int:
    """Numbers that a transformer's block keeps of ``room`` rows, its input among them."""
    return room * (19 * d + heads * wide + 4)
