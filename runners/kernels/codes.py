"""What models and kernels agree on: what to do, how a batch lies, sizes. Plain Python, without numba."""

from __future__ import annotations

from dataclasses import dataclass

TRAIN, EVALUATE = 0, 1
"""What a kernel is to do."""
ALL, FIXED, SHIFTED = 0, 1, 2
"""Every position may be supervised; all sequences have one length; they are moved to end at the last step."""
ROPE, ALIBI = 1, 2
"""How positions enter a transformer's attention; 0: not there."""
PLAIN, SIGMOID, MIRRORED, POLAR, ANGLES, SOFT = 0, 1, 2, 3, 4, 5
"""What makes a table of the embedding's products u: nothing, sig(u), 2 sig(u) - 1, sig(u) e^(i theta),
e^(iu); or of a table of parameters: the softmax of rows, times tanh."""
SCALES, TURNS, BLOCKS, FACTORED, MATRICES = 0, 1, 2, 3, 4
"""What a row of the table does to a state."""
PAD = 16
"""Logits are padded to a multiple of this."""
PANEL = 32
"""Columns of a panel, at most."""
CHUNK = 256
"""Rows that the kernel of a stack takes forward and back at once."""
LONGEST_STEP, LONGEST_EVALUATION = 1.2e11, 1.5e10
"""Operations up to which the kernel of a stack makes one member's step, and the evaluation of a batch:
within it no request is heard. A step takes a second or so; an evaluation has a batch many times as large.
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """A recurrent cell as ``runners.kernels.recurrent`` takes it, in blocks of h numbers."""

    joined: int
    """Gates that are sums of the input's and the state's part."""
    apart: int
    """Gates that read the two apart."""
    planes: int
    """Numbers that the cell keeps of a step beside its gates, for each of its state."""
    carried: int = 1
    """Numbers that its gradient hands on from step to step, for each of its state."""
    biases: int = 2
    """Biases of a gate: 1 where the state's part has none."""

    @property
    def parameters(self) -> int:
        """Blocks of rows of its weights."""
        return self.joined + self.apart

    @property
    def blocks(self) -> int:
        """Blocks of a row of its gates."""
        return self.joined + 2 * self.apart

    def operations(self, h: int) -> float:
        """Floating-point operations of a training step for one position."""
        return 6.0 * self.parameters * h * h


CELLS = {
    "lstm": Cell(4, 0, 2),
    "gru": Cell(2, 1, 0),
    "rnn": Cell(1, 0, 0),
    "slstm": Cell(4, 0, 4, carried=2, biases=1),
}


def padded(columns: int, to: int = PAD) -> int:
    """The next multiple of ``to``."""
    return (columns + to - 1) // to * to


def panels_of_block(d: int, to: int = PANEL) -> int:
    """Numbers of the weights of a transformer's block in panels of ``to`` columns, as they are or turned."""
    one, four = (d + to - 1) // to * to, (4 * d + to - 1) // to * to
    return d * (8 * one + four)
