"""The tasks of the field by name: ``task = "A5"``, ``"S5 swaps"``, ``"flip-flop"``, ``"random 16 seed 3"``.

A name becomes plain data, a transition table where no shorter kind exists, when a spec is loaded: a stored
job holds the table and never needs the name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from hashlib import sha256
from itertools import combinations, permutations, product
from typing import Any

from pydantic import TypeAdapter, ValidationError

from runners.spec.errors import SpecError
from runners.spec.task import Task

Permutation = tuple[int, ...]
Data = dict[str, Any]

EXAMPLES = (
    "Z2", "Z5", "Z60", "S3", "S5", "A4", "A5", "A4 x Z5", "D4", "S5 swaps", "S5 swaps and 3-cycles",
    "S5 point", "random 16 seed 3", "parity with resets", "flip-flop", "even pairs", "cycle 5",
    "arithmetic 5", "tomita 1", "tomita 2", "tomita 3", "tomita 4", "tomita 5", "tomita 6", "tomita 7",
    "dyck 1 depth 3", "dyck 2 depth 3",
)  # fmt: skip
"""One name of every form, for lists and messages."""


def named_task(name: str) -> Data:
    """Give the spec data of a named task; `` x `` between names makes their product.

    Raises:
        SpecError: there is no task of that name; the sentence says which there are.
    """
    parts = re.split(r"\s+[x×]\s+", name.strip())
    if len(parts) > 1:
        return {"kind": "product", "factors": [named_task(part) for part in parts]}
    for pattern, make in _FORMS:
        found = re.fullmatch(pattern, name.strip())
        if found:
            return make(*(int(g) for g in found.groups()))
    near = get_close_matches(name, EXAMPLES, 1, 0.7)
    hint = f"did you mean {near[0]!r}?" if near else f"expected a table or one such as {', '.join(EXAMPLES)}"
    raise SpecError(f"there is no task called {name!r}; {hint}")


def task_of(name: str) -> Task:
    """Give the task itself, checked as a spec's is.

    Raises:
        SpecError: no such name, or the product that it makes is too large.
    """
    try:
        return _TASK.validate_json(json.dumps(named_task(name)))
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise SpecError(f"{name}: {problem}") from None


_TASK: TypeAdapter[Task] = TypeAdapter(Task)

# Groups


def _compose(x: Permutation, s: Permutation) -> Permutation:
    """x after s."""
    return tuple(x[i] for i in s)


def _even(p: Permutation) -> bool:
    return sum(a > b for a, b in combinations(p, 2)) % 2 == 0


def _acting(name: str, elements: Sequence[Permutation], tokens: Sequence[Permutation]) -> Data:
    """The states are ``elements``, from the identity, and each token is composed from the left."""
    place = {p: i for i, p in enumerate(elements)}
    table = [[place[_compose(x, s)] for x in tokens] for s in elements]
    start = place[tuple(range(len(elements[0])))]
    return {"kind": "automaton", "name": name, "table": table, "start": start}


def _alternating(k: int) -> Data:
    _within("A", k, 3, 6)
    elements = [p for p in permutations(range(k)) if _even(p)]
    return _acting(f"A{k}", elements, elements) | {"shared": True}


def _moving(p: Permutation) -> int:
    return sum(i != v for i, v in enumerate(p))


def _swaps(k: int) -> Data:
    _within("S", k, 2, 6)
    elements = list(permutations(range(k)))
    return _acting(f"S{k} swaps", elements, [p for p in elements if _moving(p) == 2]) if k > 2 else _few(k)


def _few(k: int) -> Data:
    raise SpecError(f"S{k} has one swap; expected S3 to S6, so that there are two tokens")


def _swaps_and_cycles(k: int) -> Data:
    _within("S", k, 3, 6)
    elements = list(permutations(range(k)))
    return _acting(f"S{k} swaps and 3-cycles", elements, [p for p in elements if _moving(p) in (2, 3)])


def _point(k: int) -> Data:
    _within("S", k, 2, 6)
    tokens = list(permutations(range(k)))
    table = [[x[s] for x in tokens] for s in range(k)]
    return {"kind": "automaton", "name": f"S{k} point", "table": table}


def _within(what: str, k: int, low: int, high: int) -> None:
    if not low <= k <= high:
        raise SpecError(f"{what}{k} is out of range; expected {what}{low} to {what}{high}")


def _random(k: int, seed: int) -> Data:
    """K states, K tokens, each a permutation of the states, token 0 the identity: ordered by hashes, so
    that a seed gives the same automaton everywhere.
    """
    if not 2 <= k <= 512:
        raise SpecError(f"random {k} is out of range; expected 2 to 512 states")

    def shuffled(token: int) -> list[int]:
        if not token:
            return list(range(k))
        return sorted(range(k), key=lambda s: sha256(f"{k} {seed} {token} {s}".encode()).digest())

    columns = [shuffled(token) for token in range(k)]
    return {
        "kind": "automaton",
        "name": f"random {k} seed {seed}",
        "table": [list(r) for r in zip(*columns, strict=True)],
    }


# Automata and languages


def _resets() -> Data:
    return {
        "kind": "automaton", "name": "parity with resets",
        "table": [[0, 1, 0], [1, 0, 0]], "tokens": ["0", "1", "reset"],
    }  # fmt: skip


def _flip_flop() -> Data:
    return {
        "kind": "automaton", "name": "flip-flop",
        "table": [[0, 1, 0, 0], [0, 1, 1, 1]], "tokens": ["write 0", "write 1", "read", "ignore"],
    }  # fmt: skip


def _even_pairs() -> Data:
    """The label is x_1 xor x_n; states: nothing read, then (first, last)."""
    pairs = list(product((0, 1), repeat=2))
    table = [[1, 4]] + [[1 + pairs.index((first, x)) for x in (0, 1)] for first, _ in pairs]
    return {
        "kind": "automaton", "name": "even pairs", "table": table,
        "output": [0, *(first ^ last for first, last in pairs)],
    }  # fmt: skip


def _cycle(m: int) -> Data:
    _within("cycle ", m, 2, 1_000)
    table = [[(s + 1) % m, s, (s - 1) % m] for s in range(m)]
    return {"kind": "automaton", "name": f"cycle {m}", "table": table, "tokens": ["+1", "0", "-1"]}


def _arithmetic(m: int) -> Data:
    """A token is an operator with its operand; the state is (sum before the last term, last term), so that
    products bind first; the label is their sum modulo m.
    """
    _within("arithmetic ", m, 2, 31)
    states = list(product(range(m), repeat=2))
    place = {s: i for i, s in enumerate(states)}
    tokens = [(op, d) for op in "+-x" for d in range(m)]

    def step(total: int, term: int, op: str, d: int) -> int:
        if op == "x":
            return place[total, term * d % m]
        return place[(total + term) % m, d if op == "+" else -d % m]

    return {
        "kind": "automaton", "name": f"arithmetic {m}",
        "table": [[step(total, term, *x) for x in tokens] for total, term in states],
        "output": [(total + term) % m for total, term in states],
        "tokens": [f"{op}{d}" for op, d in tokens],
    }  # fmt: skip


TOMITA: dict[int, tuple[list[list[int]], list[int]]] = {
    1: ([[1, 0], [1, 1]], [1, 0]),
    2: ([[2, 1], [0, 2], [2, 2]], [1, 0, 0]),
    3: ([[0, 1], [2, 0], [3, 4], [2, 1], [4, 4]], [1, 1, 0, 1, 0]),
    4: ([[1, 0], [2, 0], [3, 0], [3, 3]], [1, 1, 1, 0]),
    5: ([[1, 2], [0, 3], [3, 0], [2, 1]], [1, 0, 0, 0]),
    6: ([[1, 2], [2, 0], [0, 1]], [1, 0, 0]),
    7: ([[0, 1], [2, 1], [2, 3], [4, 3], [4, 4]], [1, 1, 1, 1, 0]),
}
"""Tomita 1982: (table[state][bit], whether a state accepts): 1 1*; 2 (10)*; 3 no odd run of 1s followed later
by an odd run of 0s; 4 no 000; 5 even numbers of 0s and of 1s; 6 #0 - #1 divisible by 3; 7 0*1*0*1*.
"""


def _tomita(i: int) -> Data:
    if i not in TOMITA:
        raise SpecError(f"tomita {i} is out of range; expected tomita 1 to tomita 7")
    table, accepts = TOMITA[i]
    return {"kind": "automaton", "name": f"tomita {i}", "table": table, "output": accepts}


def _dyck(k: int, depth: int) -> Data:
    """k pairs of brackets nested at most that deep; states are the open brackets, and one for an error."""
    if not (1 <= k <= 8 and 1 <= depth <= 12) or sum(k**i for i in range(depth + 1)) > 5_000:
        raise SpecError(
            f"dyck {k} depth {depth} is out of range; expected 1 to 8 kinds and a depth of 1 to 12, with at "
            "most 5,000 states"
        )
    stacks = [s for d in range(depth + 1) for s in product(range(k), repeat=d)]
    place = {s: i for i, s in enumerate(stacks)}
    error = len(stacks)

    def step(s: tuple[int, ...], token: int) -> int:
        if token < k:
            return place.get((*s, token), error)
        return place[s[:-1]] if s and s[-1] == token - k else error

    table = [[step(s, x) for x in range(2 * k)] for s in stacks] + [[error] * (2 * k)]
    tokens = [f"open {i}" for i in range(k)] + [f"close {i}" for i in range(k)]
    return {"kind": "automaton", "name": f"dyck {k} depth {depth}", "table": table, "tokens": tokens}


def _kind(kind: str, key: str) -> Callable[..., Data]:
    return lambda n: {"kind": kind, key: n}


_FORMS: tuple[tuple[str, Callable[..., Data]], ...] = (
    (r"[Zz](\d{1,5})", _kind("modular_addition", "m")),
    (r"[Ss](\d{1,3})", _kind("permutation_composition", "k")),
    (r"[Dd](\d{1,4})", _kind("dihedral", "n")),
    (r"parity", lambda: {"kind": "modular_addition", "m": 2}),
    (r"[Aa](\d{1,3})", _alternating),
    (r"[Ss](\d{1,3}) swaps", _swaps),
    (r"[Ss](\d{1,3}) swaps and 3-cycles", _swaps_and_cycles),
    (r"[Ss](\d{1,3}) point", _point),
    (r"random (\d{1,5}) seed (\d{1,9})", _random),
    (r"parity with resets", _resets),
    (r"flip-flop", _flip_flop),
    (r"even pairs", _even_pairs),
    (r"cycle (\d{1,5})", _cycle),
    (r"arithmetic (\d{1,4})", _arithmetic),
    (r"tomita (\d)", _tomita),
    (r"dyck (\d{1,2}) depth (\d{1,2})", _dyck),
)
