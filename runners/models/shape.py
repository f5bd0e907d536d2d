"""What a model must know of the task: sizes, and which positions can be supervised."""

from __future__ import annotations

from dataclasses import dataclass

from runners.spec import Format


@dataclass(frozen=True)
class Shape:
    """The task's side of a model's shape."""

    n_inputs: int
    """Input ids."""
    n_outputs: int
    """Logits of the head, one per state."""
    format: Format
    one_length: bool
    """All sequences of a batch have the same length, so there is no padding."""
    positions: int
    """Size of a position table: the longest input of the job at twice its length."""
    half: bool = False
    """bf16: the operands of the training step's matrix products are bfloat16."""

    def window(self, T: int) -> int:
        """The most positions of one sequence that can be supervised in an input of T positions."""
        return {"outcome": 1, "cot": (T + 1) // 2}.get(self.format, T)

    @property
    def gaps(self) -> bool:
        """Positions that are read and not supervised stand between supervised ones."""
        return self.format == "icot"
