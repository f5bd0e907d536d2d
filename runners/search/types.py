"""What comes out of a strategy: frozen, standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from runners.verdict import Status


@dataclass(frozen=True)
class Candidate:
    """An N to train next."""

    n: int
    seeds: tuple[int, ...] | None
    """Fresh seeds, each with every learning rate; None: the seeds of the grid."""


@dataclass(frozen=True)
class Interval:
    """A posterior median with its central 90 % interval, in sequences."""

    value: float
    low: float
    high: float

    @property
    def relative_width(self) -> float:
        """(high - low) / value."""
        return (self.high - self.low) / self.value

    def as_tuple(self) -> tuple[float, float, float]:
        """(value, low, high), as ``store.rows`` holds it."""
        return (self.value, self.low, self.high)


@dataclass(frozen=True)
class Progress:
    """Where a search stands after its evidence."""

    next: Candidate | None
    """None: the search is over."""
    lo: int
    """Largest failing N below ``hi``; 0: none."""
    hi: int | None
    """Smallest N that succeeded; None: none yet."""
    status: Status
    flags: tuple[str, ...] = ()
    estimate: Interval | None = None
    """``adaptive`` and ``scan``: N*."""
    n50: Interval | None = None
    """``adaptive`` and ``scan``: the N where half of the seeds succeed."""
    best_loss: float | None = None
    """Lowest validation loss of all the evidence."""
