"""How much one transaction takes on: verbs and screens wait for the longest one."""

from __future__ import annotations

TRANSACTION_S = 0.08
"""What a transaction is to take, on whatever machine and beside whatever else runs there."""
LEAST = 8
MOST = 512


class Portion:
    """As many things as lately fitted into :data:`TRANSACTION_S`."""

    def __init__(self, size: int) -> None:
        self.size = size

    def took(self, count: int, seconds: float) -> None:
        """So many were done in that time."""
        if seconds > TRANSACTION_S:
            fits = int(count * TRANSACTION_S / seconds)
            self.size = max(LEAST, min(self.size, (self.size + fits) // 2))
        elif count >= self.size and seconds < TRANSACTION_S / 2:
            self.size = min(MOST, self.size + self.size // 4 + 1)
