"""Tasks as data: finite groups and automata with a transition table T[state, token] -> state
(docs/science.md, Tasks).
"""

from __future__ import annotations

from functools import cached_property
from itertools import product
from math import factorial, prod
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue, model_validator

from runners.spec.base import Spec
from runners.spec.program import Axes

MAX_TOKENS = 1_000
MAX_STATES = 5_040


class ModularAddition(Spec):
    """Running sum over Z_m: tokens and states are 0..m-1; m = 2 is parity."""

    kind: Literal["modular_addition"] = "modular_addition"
    m: Annotated[int, Field(ge=2, le=MAX_TOKENS)]
    """The modulus."""

    @property
    def n_tokens(self) -> int:
        return self.m

    @property
    def n_states(self) -> int:
        return self.n_tokens

    @property
    def label(self) -> str:
        return f"Z{self.m}"


class PermutationComposition(Spec):
    """Composition in S_k: tokens are all k! permutations,
    s_i = x_i after s_{i-1} (the last applied stands left).
    """

    kind: Literal["permutation_composition"] = "permutation_composition"
    k: Annotated[int, Field(ge=2, le=6)]
    """The number of points that are permuted."""

    @property
    def n_tokens(self) -> int:
        return factorial(self.k)

    @property
    def n_states(self) -> int:
        return self.n_tokens

    @property
    def label(self) -> str:
        return f"S{self.k}"


class Dihedral(Spec):
    """The symmetries of a regular n-gon: 2n tokens, rotations 0..n-1 then reflections."""

    kind: Literal["dihedral"] = "dihedral"
    n: Annotated[int, Field(ge=2, le=MAX_TOKENS // 2)]
    """The number of corners."""

    @property
    def n_tokens(self) -> int:
        return 2 * self.n

    @property
    def n_states(self) -> int:
        return self.n_tokens

    @property
    def label(self) -> str:
        return f"D{self.n}"


class Automaton(Spec):
    """Any deterministic automaton, given by its transition table; with an output map, a Moore machine."""

    LATER: ClassVar[tuple[str, ...]] = ("output", "shared")

    kind: Literal["automaton"] = "automaton"
    name: Annotated[str, Field(min_length=1, max_length=80)] = "automaton"
    """How the task is labelled in tables; part of the hash only through the table."""
    table: tuple[tuple[int, ...], ...]
    """``table[state][token]`` is the next state."""
    start: Annotated[int, Field(ge=0)] = 0
    """The state before the first token."""
    states: tuple[str, ...] = ()
    """Names of the states, for messages; empty: their numbers."""
    tokens: tuple[str, ...] = ()
    """Names of the tokens, for messages; empty: their numbers."""
    output: tuple[Annotated[int, Field(ge=0, lt=MAX_STATES)], ...] = ()
    """``output[state]`` is what is supervised; empty: the state itself."""
    shared: bool = False
    """The states are the tokens, and share their input ids in cot, as in a group whose tokens are all its
    elements.
    """

    @model_validator(mode="after")
    def _check(self) -> Automaton:
        n_states = len(self.table)
        if not 1 <= n_states <= MAX_STATES:
            raise ValueError(f"table has {n_states} rows; expected 1 to {MAX_STATES}, one for each state")
        width = len(self.table[0])
        if width == 1:
            raise ValueError(
                "table row 0 has 1 entry, so each length has a single sequence and none is left to train on; "
                "expected at least 2, one for each token"
            )
        if not 2 <= width <= MAX_TOKENS:
            raise ValueError(
                f"table row 0 has {width} entries; expected 2 to {MAX_TOKENS}, one for each token"
            )
        for s, row in enumerate(self.table):
            if len(row) != width:
                raise ValueError(f"table row {s} has {len(row)} entries; expected {width} like row 0")
            for x, t in enumerate(row):
                if not 0 <= t < n_states:
                    raise ValueError(f"table[{s}][{x}] is {t}; expected a state 0 to {n_states - 1}")
        if self.start >= n_states:
            raise ValueError(f"start is {self.start}; expected a state 0 to {n_states - 1}")
        for what, names, want in (("states", self.states, n_states), ("tokens", self.tokens, width)):
            if names and len(names) != want:
                raise ValueError(f"{what} has {len(names)} names; expected {want} or none")
        if self.output and len(self.output) != n_states:
            raise ValueError(f"output has {len(self.output)} entries; expected {n_states} or none")
        if self.shared and (self.output or self.table[self.start] != tuple(range(n_states))):
            raise ValueError(
                "shared is true; expected it without an output map, and where the token x leads from the "
                "start to the state x"
            )
        if len(self.unreachable) == n_states - 1:
            raise ValueError(
                "table never leaves the start state; expected at least 2 states that can be reached"
            )
        return self

    @cached_property
    def successors(self) -> tuple[frozenset[int], ...]:
        """The states that one token leads to, for each state."""
        return tuple(frozenset(row) for row in self.table)

    @cached_property
    def unreachable(self) -> tuple[str, ...]:
        """Names of the states that no sequence of tokens reaches from the start."""
        seen, todo = {self.start}, [self.start]
        while todo:
            for t in self.successors[todo.pop()]:
                if t not in seen:
                    seen.add(t)
                    todo.append(t)
        return tuple(
            (self.states[s] if self.states else str(s)) for s in range(len(self.table)) if s not in seen
        )

    @property
    def n_tokens(self) -> int:
        return len(self.table[0])

    @property
    def n_states(self) -> int:
        return len(self.table)

    @property
    def label(self) -> str:
        return self.name


class Product(Spec):
    """Direct product: a token is one token of each factor, all applied at once."""

    kind: Literal["product"] = "product"
    factors: Annotated[tuple[Task, ...], Field(min_length=2, max_length=6)]
    """The tasks whose tokens are read together."""

    @model_validator(mode="after")
    def _check(self) -> Product:
        for what, count, most in (
            ("tokens", self.n_tokens, MAX_TOKENS),
            ("states", self.n_states, MAX_STATES),
        ):
            if count > most:
                raise ValueError(f"factors make a product of {count} {what}; expected at most {most}")
        for f in self._flat:
            if isinstance(f, Automaton) and f.output:
                raise ValueError(f"the factor {f.label} has an output map; expected factors without one")
        return self

    @cached_property
    def unreachable(self) -> tuple[str, ...]:
        """Names of the states, one of each factor, that no sequence of tokens reaches from the start."""
        parts = self._flat
        if all(not isinstance(f, Automaton) for f in parts):
            return ()
        after = [
            f.successors if isinstance(f, Automaton) else (frozenset(range(f.n_states)),) * f.n_states
            for f in parts
        ]
        start = tuple(f.start if isinstance(f, Automaton) else 0 for f in parts)
        seen, todo = {start}, [start]
        while todo:
            for state in product(*(follow[s] for follow, s in zip(after, todo.pop(), strict=True))):
                if state not in seen:
                    seen.add(state)
                    todo.append(state)
        names = [
            f.states if isinstance(f, Automaton) and f.states else tuple(map(str, range(f.n_states)))
            for f in parts
        ]
        every = product(*(range(f.n_states) for f in parts))
        return tuple(
            f"({', '.join(n[s] for n, s in zip(names, state, strict=True))})"
            for state in every
            if state not in seen
        )

    @property
    def _flat(
        self,
    ) -> tuple[ModularAddition | PermutationComposition | Dihedral | Automaton | PluginTask | Axes, ...]:
        """The factors, those of a factor that is a product in its place."""
        return tuple(part for f in self.factors for part in (f._flat if isinstance(f, Product) else (f,)))

    @property
    def n_tokens(self) -> int:
        return prod(f.n_tokens for f in self.factors)

    @property
    def n_states(self) -> int:
        return prod(f.n_states for f in self.factors)

    @property
    def label(self) -> str:
        return "×".join(f.label for f in self.factors)


class PluginTask(Spec):
    """A task from another package's entry point in the group ``labtui.tasks``.

    It is resolved into an :class:`Automaton` when a spec is loaded,
    so that a stored job never needs the plugin.
    """

    kind: Literal["plugin"] = "plugin"
    name: Annotated[str, Field(min_length=1, max_length=80)]
    """The entry point's name."""
    params: dict[str, JsonValue] = {}
    """Keyword arguments of the factory."""

    @property
    def n_tokens(self) -> int:
        raise ValueError(f"the plugin task {self.name!r} is not resolved yet")

    @property
    def n_states(self) -> int:
        return self.n_tokens

    @property
    def label(self) -> str:
        return self.name


Task = Annotated[
    ModularAddition | PermutationComposition | Dihedral | Automaton | Product | PluginTask | Axes,
    Field(discriminator="kind"),
]
Product.model_rebuild()
