"""Additive effects of a search's traits on the log of a quantity, each shrunk towards none.

A normal linear model whose effects have a stated spread around 0 (a random effect for each level of each
trait), solved at once: what few searches have shown moves an estimate little, what many have shown moves it
all the way. One scale of all spreads is learnt from how far off the data lie. Standard library only: it is
asked while the screens draw.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from operator import mul
from typing import NamedTuple

Level = Hashable
Traits = Mapping[Level, tuple[float, float]]
"""Level -> (its value: 1, or a covariate; standard deviation of its effect before anything is known)."""
TRUST = 6.0
"""Observations that the stated spreads are worth, when their scale is learnt."""
LEVELS = 64
"""Levels that are told apart; observations that would bring more are left out."""
FAR = 2.0
"""Standard deviations beyond which an observation counts the less, the farther off it lies."""


class Observation(NamedTuple):
    """A search that was measured."""

    traits: Traits
    value: float
    """Log of measured / assumed."""
    noise: float
    """Variance around the sum of the effects."""


class Effects:
    """What observations say of the levels' effects."""

    def __init__(self, observations: Sequence[Observation] = (), robust: bool = False) -> None:
        """``observations``: the ones that matter most first; ``robust``: those far off count the less."""
        self._index: dict[Level, int] = {}
        self._prior: list[float] = []
        kept = [o for o in observations if self._add(o.traits, LEVELS)]
        self._fit(kept)
        if not robust:
            return
        sds = (math.sqrt(o.noise * self.scale) * FAR for o in kept)
        far = [abs(o.value - self.mean(o.traits)) / sd for o, sd in zip(kept, sds, strict=True)]
        if any(f > 1 for f in far):
            self._fit([o._replace(noise=o.noise * max(1, f) ** 2) for o, f in zip(kept, far, strict=True)])

    def _add(self, traits: Traits, most: float = math.inf) -> bool:
        """Give the traits' levels their places; False: there would be too many."""
        new = [level for level in traits if level not in self._index]
        if len(self._index) + len(new) > most:
            return False
        for level in new:
            self._index[level] = len(self._prior)
            self._prior.append(traits[level][1] ** 2)
        return True

    def _fit(self, observations: Sequence[Observation]) -> None:
        size = len(self._prior)
        precision = [[0.0] * size for _ in range(size)]
        for i, variance in enumerate(self._prior):
            precision[i][i] = 1 / variance
        pull = [0.0] * size
        squares = 0.0
        for traits, value, noise in observations:
            at = [(self._index[level], v) for level, (v, _) in traits.items()]
            for i, v in at:
                pull[i] += v * value / noise
                row = precision[i]
                for j, w in at:
                    row[j] += v * w / noise
            squares += value * value / noise
        self._cov = inverse(precision)
        self._mean = [sum(map(mul, row, pull)) for row in self._cov]
        squares -= sum(map(mul, self._mean, pull))
        self.scale = (TRUST + max(0.0, squares)) / (TRUST + len(observations))
        """Variances here are the stated ones times this."""

    def learn(self, observation: Observation) -> None:
        """Take one more observation."""
        traits, value, noise = observation
        size = len(self._prior)
        self._add(traits)
        for row in self._cov:
            row += [0.0] * (len(self._prior) - size)
        for i in range(size, len(self._prior)):
            self._cov.append([0.0] * i + [self._prior[i]] + [0.0] * (len(self._prior) - i - 1))
            self._mean.append(0.0)
        at = [(self._index[level], v) for level, (v, _) in traits.items()]
        with_each = [sum(v * row[i] for i, v in at) for row in self._cov]
        gain = (value - self.mean(traits)) / (whole := sum(v * with_each[i] for i, v in at) + noise)
        for i, own in enumerate(with_each):
            self._mean[i] += own * gain
            part = own / whole
            self._cov[i] = [c - part * w for c, w in zip(self._cov[i], with_each, strict=True)]

    def mean(self, traits: Traits) -> float:
        """The expected log of measured / assumed."""
        at = self._index
        return float(sum(v * self._mean[at[level]] for level, (v, _) in traits.items() if level in at))

    def variance(self, traits: Traits) -> float:
        """How well the sum of the effects is known."""
        found, own = [], 0.0
        for level, (v, sd) in traits.items():
            i = self._index.get(level)
            if i is None:
                own += (v * sd) ** 2
            else:
                found.append((i, v))
        own += sum(v * w * self._cov[i][j] for i, v in found for j, w in found)
        return float(max(0.0, own) * self.scale)

    def copy(self) -> Effects:
        """Copy it; what the copy learns from now on, this one does not."""
        out = Effects.__new__(Effects)
        out._index, out._prior, out.scale = dict(self._index), list(self._prior), self.scale
        out._mean, out._cov = list(self._mean), [list(row) for row in self._cov]
        return out


def inverse(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """The inverse of a symmetric positive definite matrix, by Cholesky's factors."""
    size = len(matrix)
    lower: list[list[float]] = []
    for i, given in enumerate(matrix):
        row: list[float] = []
        for j in range(i):
            row.append((given[j] - sum(map(mul, row, lower[j]))) / lower[j][j])
        row.append(math.sqrt(given[i] - sum(map(mul, row, row))))
        lower.append(row)
    # Columns of L^-1 as rows, so that every product runs along one list.
    columns: list[list[float]] = []
    for j in range(size):
        column = [1 / lower[j][j]]
        for i in range(j + 1, size):
            column.append(-sum(map(mul, lower[i][j:i], column)) / lower[i][i])
        columns.append(column)
    out = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i, size):
            out[i][j] = out[j][i] = sum(map(mul, columns[i][j - i :], columns[j]))
    return out
