"""What kind of automaton a task is: does every token permute the states, how many maps do the tokens make
together, and is that group solvable? Standard library alone; for lists, never on the way of a number.
"""

from __future__ import annotations

from dataclasses import dataclass

from runners.spec.task import Automaton, Product, Task

Map = tuple[int, ...]
LARGEST = 720
"""Elements of a group that are looked at; above it nothing is said of solvability."""


@dataclass(frozen=True)
class Algebra:
    """What the tokens of a task generate."""

    group: bool
    """Every token permutes the states that can be reached."""
    order: int | None
    """Elements of that group; None where it is none or larger than LARGEST."""
    solvable: bool | None
    """None where it is not known."""


def algebra(task: Task) -> Algebra:
    """Describe the maps of the tokens of ``task`` over its states."""
    if isinstance(task, Product):
        parts = [algebra(f) for f in task.factors]
        if not all(part.group for part in parts):
            return Algebra(False, None, None)
        order = 1
        for part in parts:
            order *= part.order or 0
        known = [part.solvable for part in parts]
        return Algebra(True, order or None, None if None in known else all(known))
    if task.kind == "modular_addition":
        return Algebra(True, task.n_states, True)
    if task.kind == "dihedral":
        return Algebra(True, task.n_states, True)
    if task.kind == "permutation_composition":
        return Algebra(True, task.n_states, task.n_states < 120)
    if not isinstance(task, Automaton):
        return Algebra(False, None, None)
    maps = [tuple(row[x] for row in task.table) for x in range(task.n_tokens)]
    if task.unreachable or any(len(set(m)) < len(m) for m in maps):
        return Algebra(False, None, None)
    elements = _closure(maps)
    if elements is None:
        return Algebra(True, None, None)
    return Algebra(True, len(elements), _is_solvable(elements))


def _after(a: Map, b: Map) -> Map:
    return tuple([a[i] for i in b])


def _inverse(a: Map) -> Map:
    out = [0] * len(a)
    for i, v in enumerate(a):
        out[v] = i
    return tuple(out)


def _closure(generators: list[Map]) -> set[Map] | None:
    """The group that they generate; None where it has more than LARGEST elements."""
    seen = {tuple(range(len(generators[0])))}
    front = list(seen)
    while front:
        new = []
        for g in generators:
            for s in front:
                made = _after(g, s)
                if made not in seen:
                    seen.add(made)
                    new.append(made)
        if len(seen) > LARGEST:
            return None
        front = new
    return seen


def _is_solvable(elements: set[Map]) -> bool:
    """The derived series ends in the identity alone."""
    while len(elements) > 1:
        generators = _generators(elements)
        inverses = {g: _inverse(g) for g in elements}
        commutators = {
            _after(_after(a, b), _after(inverses[a], inverses[b])) for a in generators for b in elements
        }
        derived = _closure(sorted(commutators)) or elements
        if len(derived) == len(elements):
            return False
        elements = derived
    return True


def _generators(elements: set[Map]) -> list[Map]:
    """A few elements that generate all of them."""
    found: list[Map] = []
    made: set[Map] = set()
    for g in sorted(elements):
        if g not in made:
            found.append(g)
            made = _closure(found) or elements
        if len(made) == len(elements):
            break
    return found
