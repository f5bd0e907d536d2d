"""Every task as a transition table T[state, token] -> state with a start state (docs/science.md, Tasks)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from runners.spec import (
    Automaton,
    Dihedral,
    ModularAddition,
    PermutationComposition,
    PluginTask,
    Product,
    SpecError,
    Task,
)

Table = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TransitionTable:
    """A finite automaton, with an output map or the states themselves as labels: ``s_k = table[s_{k-1},
    x_k]``, ``s_0 = start``.
    """

    table: Table
    """int64 [S, K], read-only."""
    start: int
    """The state before the first token."""
    shared: bool
    """The states are the tokens: the state s after the single token x from the start is x itself,
    so both share ids.
    """
    reachable: tuple[int, ...]
    """The states that some sequence of tokens (the empty one too) reaches, ascending."""
    output: Table | None = None
    """int64 [S], the label of each state, read-only; None: the state itself."""

    @property
    def n_states(self) -> int:
        return int(self.table.shape[0])

    @property
    def n_tokens(self) -> int:
        return int(self.table.shape[1])

    @property
    def n_labels(self) -> int:
        """How many labels the head tells apart."""
        return self.n_states if self.output is None else int(self.output.max()) + 1

    @property
    def reachable_labels(self) -> int:
        """How many different labels the reachable states have."""
        if self.output is None:
            return len(self.reachable)
        return len(np.unique(self.output[list(self.reachable)]))

    @classmethod
    def of(cls, task: Task) -> TransitionTable:
        """The table of a task; equal tasks share one.

        Raises:
            SpecError: a plugin that was not resolved on loading.
        """
        if isinstance(task, PluginTask):
            raise SpecError(
                f"the plugin task {task.name!r} is not resolved; expected a spec read by runners.spec.load"
            )
        return _of(task)

    def run(self, tokens: npt.ArrayLike) -> Table:
        """Compute the states s_1..s_n after each token.

        Args:
            tokens: integers [..., n] in 0..K-1.

        Returns:
            int64 of the same shape.
        """
        x = np.asarray(tokens, dtype=np.int64)
        states = np.empty_like(x)
        state = np.full(x.shape[:-1], self.start, dtype=np.int64)
        for i in range(x.shape[-1]):
            state = self.table[state, x[..., i]]
            states[..., i] = state
        return states


@lru_cache(maxsize=64)
def _of(task: Task) -> TransitionTable:
    table, start, shared = _build(task)
    table.setflags(write=False)
    output = None
    if isinstance(task, Automaton) and task.output:
        output = np.array(task.output, dtype=np.int64)
        output.setflags(write=False)
    return TransitionTable(table, start, shared, _reachable(table, start), output)


def _build(task: Task) -> tuple[Table, int, bool]:
    match task:
        case ModularAddition(m=m):
            i = np.arange(m, dtype=np.int64)
            return (i[:, None] + i) % m, 0, True
        case PermutationComposition(k=k):
            return _symmetric(k), 0, True
        case Dihedral(n=n):
            return _dihedral(n), 0, True
        case Automaton():
            return np.array(task.table, dtype=np.int64), task.start, task.shared
        case Product(factors=factors):
            return _product(factors)
        case _:
            raise TypeError(f"{type(task).__name__} is no task with a table")


def _symmetric(k: int) -> Table:
    """S_k, elements in lexicographic order (the identity is 0): T[s, x] = x ∘ s, that is i -> x[s[i]]."""
    elements = np.array(list(permutations(range(k))), dtype=np.int64)
    place = k ** np.arange(k - 1, -1, -1, dtype=np.int64)
    code = elements @ place  # ascending, since the order is lexicographic
    composed = elements[:, elements]  # [x, s, i] = x[s[i]]
    return np.searchsorted(code, composed @ place).astype(np.int64).T.copy()


def _dihedral(n: int) -> Table:
    """D_n on the corners 0..n-1: element a < n turns v to v + a, element n + a reflects v to a - v;
    T[s, x] = x ∘ s.
    """
    a = np.arange(n, dtype=np.int64)
    s, x = a[:, None], a[None, :]
    table = np.empty((2 * n, 2 * n), dtype=np.int64)
    table[:n, :n] = (x + s) % n
    table[:n, n:] = n + (x - s) % n
    table[n:, :n] = n + (x + s) % n
    table[n:, n:] = (x - s) % n
    return table


def _product(factors: tuple[Any, ...]) -> tuple[Table, int, bool]:
    """All factors step at once; indices of states and of tokens are mixed-radix,
    the first factor the most significant.
    """
    parts = [TransitionTable.of(f) for f in factors]
    table, start, shared = parts[0].table, parts[0].start, parts[0].shared
    for part in parts[1:]:
        states, tokens = part.table.shape
        table = (table[:, None, :, None] * states + part.table[None, :, None, :]).reshape(
            table.shape[0] * states, table.shape[1] * tokens
        )
        start = start * states + part.start
        shared = shared and part.shared
    return table.copy(), start, shared


def _reachable(table: Table, start: int) -> tuple[int, ...]:
    seen = np.zeros(table.shape[0], dtype=bool)
    front = np.array([start])
    while front.size:
        seen[front] = True
        after = np.unique(table[front])
        front = after[~seen[after]]
    return tuple(int(s) for s in np.flatnonzero(seen))
