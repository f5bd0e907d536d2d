"""How many sequences a task has, and how many of them train (docs/science.md, Length distributions).

Exact integers only.
"""

from __future__ import annotations

from typing import NamedTuple


class LengthShare(NamedTuple):
    """The sequences of one length: ``total = K**n`` exist, ``validation`` are held out,
    ``training`` may train.
    """

    length: int
    total: int
    validation: int

    @property
    def training(self) -> int:
        return self.total - self.validation


def shares(n_tokens: int, lengths: range, validation_size: int) -> tuple[LengthShare, ...]:
    """The split of every length.

    Each length's share of the validation set is ``validation_size // len(lengths)``, the remainder goes to
    the longest; V_n = min(share, floor(S_n / 5)), but 1 where 2 <= S_n <= 4. A shortfall is not given to
    other lengths.

    Raises:
        ValueError: a length has a single sequence, or the validation set is smaller than the
        number of lengths.
    """
    count = len(lengths)
    if validation_size < count:
        raise ValueError(
            f"validation_size is {validation_size}; expected at least one sequence for each of {count} "
            "lengths"
        )
    share, rest = divmod(validation_size, count)
    out = []
    total = n_tokens ** (lengths[0] - 1)
    for n in lengths:
        total *= n_tokens  # S_n = K**n, from S_(n-1): powers afresh cost seconds at length 10,000
        if total < 2:
            raise ValueError(
                f"length {n} has a single sequence; expected at least 2, one of them to validate on"
            )
        wanted = share + (rest if n == lengths[-1] else 0)
        out.append(LengthShare(n, total, 1 if total <= 4 else min(wanted, total // 5)))
    return tuple(out)
