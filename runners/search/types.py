"""What goes into a strategy and what comes out: frozen, standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["open", "bracket", "censored"]
"""open: not over yet; bracket: N* in (lo, hi]; censored: N* > n_max."""


@dataclass(frozen=True)
class Evidence:
    """The verdict on one candidate."""

    n: int
    """Training set size N, in sequences."""
    success: bool
    """At least one trial reached a validation loss below eps."""
    seeds: int = 0
    """``adaptive`` and ``scan``: fresh seeds that were trained, each with every learning rate."""
    successes: int = 0
    """``adaptive`` and ``scan``: seeds with at least one success."""
    best_loss: float | None = None
    """Lowest validation loss of any trial, nats per position; None where there was no finite one."""


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
