"""Transition tables against compositions that are done one by one, by itertools and by sympy."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from sympy.combinatorics import Permutation

from runners.spec import (
    Automaton,
    Dihedral,
    ModularAddition,
    PermutationComposition,
    PluginTask,
    Product,
    SpecError,
)
from runners.tasks import TransitionTable
from tests.tasks.helpers import LAMP


@pytest.mark.parametrize("m", [2, 3, 10, 100])
def test_modular_addition_is_the_running_sum(m: int) -> None:
    x = np.random.default_rng(m).integers(0, m, (20, 9))
    np.testing.assert_array_equal(TransitionTable.of(ModularAddition(m=m)).run(x), np.cumsum(x, 1) % m)


def test_the_last_applied_permutation_stands_left() -> None:
    elements = list(permutations(range(4)))
    table = TransitionTable.of(PermutationComposition(k=4))
    assert elements[table.start] == (0, 1, 2, 3)
    for s, x in product(range(24), repeat=2):
        x_after_s = tuple(elements[x][elements[s][i]] for i in range(4))
        assert elements[table.table[s, x]] == x_after_s


def test_s5_agrees_with_sympy_over_whole_sequences() -> None:
    elements = list(permutations(range(5)))
    x = np.random.default_rng(0).integers(0, 120, (25, 6))
    states = TransitionTable.of(PermutationComposition(k=5)).run(x)
    for row, got in zip(x, states, strict=True):
        state = Permutation(4)
        for token, s in zip(row, got, strict=True):
            state = state * Permutation(elements[token])  # sympy's product applies its left factor first
            assert elements[s] == tuple(state.array_form)


def test_order_matters_in_s3() -> None:
    table = TransitionTable.of(PermutationComposition(k=3)).table
    assert (table != table.T).any()


@pytest.mark.parametrize("n", [3, 4, 7])
def test_dihedral_elements_move_the_corners_of_a_polygon(n: int) -> None:
    corner = np.arange(n)
    moves = [tuple((corner + a) % n) for a in range(n)] + [tuple((a - corner) % n) for a in range(n)]
    table = TransitionTable.of(Dihedral(n=n))
    assert len(set(moves)) == 2 * n
    for s, x in product(range(2 * n), repeat=2):
        assert moves[table.table[s, x]] == tuple(moves[x][moves[s][v]] for v in range(n))


@pytest.mark.parametrize(
    "task",
    [
        ModularAddition(m=6),
        PermutationComposition(k=4),
        Dihedral(n=2),
        Dihedral(n=5),
        Product(factors=(Dihedral(n=3), ModularAddition(m=2))),
    ],
)
def test_groups_are_groups_and_share_ids(task: ModularAddition) -> None:
    found = TransitionTable.of(task)
    t, n = found.table, found.n_tokens
    assert found.shared
    assert found.n_states == n
    assert found.reachable == tuple(range(n))
    np.testing.assert_array_equal(
        t[found.start], np.arange(n)
    )  # one token from the start is that token's own state
    np.testing.assert_array_equal(t[:, found.start], np.arange(n))  # the start is the neutral element
    np.testing.assert_array_equal(np.sort(t, 0), np.tile(np.arange(n)[:, None], n))
    np.testing.assert_array_equal(np.sort(t, 1), np.tile(np.arange(n), (n, 1)))
    a, b, c = np.random.default_rng(1).integers(0, n, (3, 200))
    np.testing.assert_array_equal(t[t[c, b], a], t[c, t[b, a]])  # a ∘ (b ∘ c) = (a ∘ b) ∘ c


def test_product_steps_every_factor() -> None:
    factors = (ModularAddition(m=3), LAMP, PermutationComposition(k=3))
    parts = [TransitionTable.of(f) for f in factors]
    found = TransitionTable.of(Product(factors=factors))
    assert not found.shared
    assert (found.n_states, found.n_tokens) == (3 * 4 * 6, 3 * 3 * 6)
    rng = np.random.default_rng(2)
    x = [rng.integers(0, p.n_tokens, (30, 5)) for p in parts]
    joint = (x[0] * 3 + x[1]) * 6 + x[2]
    s = [p.run(v) for p, v in zip(parts, x, strict=True)]
    np.testing.assert_array_equal(found.run(joint), (s[0] * 4 + s[1]) * 6 + s[2])


def test_reachable_states_are_those_of_all_sequences() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        n_states = int(rng.integers(2, 7))
        table = rng.integers(0, n_states, (n_states, 2))
        start = int(rng.integers(0, n_states))
        table[start, 0] = (start + 1) % n_states  # a spec that never leaves its start is refused
        seen = {start}
        for x in product(range(2), repeat=n_states):
            s = start
            for token in x:
                s = int(table[s, token])
                seen.add(s)
        task = Automaton(table=tuple(tuple(int(v) for v in r) for r in table), start=start)
        assert TransitionTable.of(task).reachable == tuple(sorted(seen))
        assert len(task.unreachable) == n_states - len(seen)
    assert LAMP.unreachable == ("3",)


def test_unreachable_states_of_a_product_are_those_that_its_table_never_reaches() -> None:
    """Two switches that every token flips stay in step, so half of their pairs are out of reach."""
    flip = Automaton(name="flip", states=("off", "on"), table=((1, 1), (0, 0)))
    assert Product(factors=(flip, flip)).unreachable == ("(off, on)", "(on, off)")
    rng = np.random.default_rng(4)
    for _ in range(20):
        a, b = (
            Automaton(
                table=tuple(tuple(int(v) for v in r) for r in [[1, 1], *rng.integers(0, n, (n - 1, 2))])
            )
            for n in (3, 4)
        )
        for factors in ((a, b), (a, ModularAddition(m=3)), (Product(factors=(a, b)), flip)):
            task = Product(factors=factors)
            assert task.n_states == TransitionTable.of(task).n_states
            names = [
                f"({', '.join(map(str, np.unravel_index(s, sizes(task))))})" for s in range(task.n_states)
            ]
            lost = set(range(task.n_states)) - set(TransitionTable.of(task).reachable)
            told = [name.replace("off", "0").replace("on", "1") for name in task.unreachable]
            assert told == [names[s] for s in sorted(lost)]
    assert Product(factors=(ModularAddition(m=3), PermutationComposition(k=3))).unreachable == ()


def sizes(task: Product) -> list[int]:
    return [n for f in task.factors for n in (sizes(f) if isinstance(f, Product) else [f.n_states])]


def test_a_plugin_must_have_been_resolved() -> None:
    with pytest.raises(SpecError, match=r"'mine' is not resolved"):
        TransitionTable.of(PluginTask(name="mine", params={"a": 1}))


def test_tables_are_shared_and_cannot_be_written_to() -> None:
    table = TransitionTable.of(ModularAddition(m=5))
    assert TransitionTable.of(ModularAddition(m=5)) is table
    with pytest.raises(ValueError, match="read-only"):
        table.table[0, 0] = 1
