"""The tasks of the field by name, against their definitions read off the words."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import pytest
import torch

from runners.spec import Job, SpecError, parse
from runners.spec.named_tasks import EXAMPLES, named_task
from runners.tasks import TransitionTable
from runners.tasks.formats import Formatter

Word = tuple[int, ...]


def job_of(task: str, form: str = "acot", length: int = 6) -> Job:
    text = f"""
    [job]
    task = "{task}"
    format = "{form}"
    lengths = {{ distribution = "fixed", length = {length} }}
    model = {{ kind = "lstm", hidden = 8 }}
    """
    found = parse(text)
    assert not isinstance(found, tuple)
    return found.job  # type: ignore[union-attr]


def labels(task: str, words: list[Word]) -> list[list[int]]:
    """What is supervised after each token of each word."""
    job = job_of(task, length=len(words[0]))
    return Formatter(job, torch.device("cpu")).states(torch.tensor(words)).tolist()


def runs(word: Word) -> list[tuple[int, int]]:
    """(bit, length) of each run."""
    found = re.finditer("0+|1+", "".join(map(str, word)))
    return [(int(m[0][0]), len(m[0])) for m in found]


TOMITA: dict[int, Callable[[Word], bool]] = {
    1: lambda w: 0 not in w,
    2: lambda w: w == (1, 0) * (len(w) // 2),
    3: lambda w: not any(a[0] == 1 and a[1] % 2 and b[1] % 2 for a, b in pairwise(runs(w))),
    4: lambda w: "000" not in "".join(map(str, w)),
    5: lambda w: w.count(0) % 2 == 0 and w.count(1) % 2 == 0,
    6: lambda w: (w.count(0) - w.count(1)) % 3 == 0,
    7: lambda w: re.fullmatch("0*1*0*1*", "".join(map(str, w))) is not None,
}


@pytest.mark.parametrize("i", sorted(TOMITA))
def test_tomita(i: int) -> None:
    words = list(product((0, 1), repeat=9))
    for word, found in zip(words, labels(f"tomita {i}", words), strict=True):
        assert found == [TOMITA[i](word[: n + 1]) for n in range(len(word))], word


def test_even_pairs() -> None:
    words = list(product((0, 1), repeat=6))
    for word, found in zip(words, labels("even pairs", words), strict=True):
        assert found == [word[0] ^ x for x in word]


def test_arithmetic_has_precedence() -> None:
    m, rng = 5, np.random.default_rng(1)
    words = [tuple(int(x) for x in rng.integers(0, 3 * m, 7)) for _ in range(200)]
    for word, found in zip(words, labels(f"arithmetic {m}", words), strict=True):
        text = "0"
        for token, label in zip(word, found, strict=True):
            text += f"{'+-*'[token // m]}{token % m}"
            # Terms by hand, products first.
            total = 0
            for sign, term in re.findall(r"([+-]?)((?:\d\*)*\d)", text):
                value = int(np.prod([int(d) for d in term.split("*")]))
                total += -value if sign == "-" else value
            assert label == total % m, text


def test_flip_flop_keeps_the_last_bit_written() -> None:
    words = list(product(range(4), repeat=5))
    for word, found in zip(words, labels("flip-flop", words), strict=True):
        bit = 0
        for token, label in zip(word, found, strict=True):
            bit = token if token < 2 else bit
            assert label == bit


@pytest.mark.parametrize(("k", "depth"), [(1, 3), (2, 2), (2, 3)])
def test_dyck_tells_words_apart_by_what_is_open(k: int, depth: int) -> None:
    length = 6
    words = list(product(range(2 * k), repeat=length))[:4_000]
    seen: dict[object, int] = {}
    for word, found in zip(words, labels(f"dyck {k} depth {depth}", words), strict=True):
        stack: list[int] | None = []
        for token, label in zip(word, found, strict=True):
            if stack is not None and token < k:
                stack = [*stack, token] if len(stack) < depth else None
            elif stack is not None:
                stack = stack[:-1] if stack and stack[-1] == token - k else None
            name = None if stack is None else tuple(stack)
            assert seen.setdefault(name, label) == label
    assert len(set(seen.values())) == len(seen)


@pytest.mark.parametrize(
    ("name", "order"), [("A4", 12), ("A5", 60), ("A4 x Z5", 60), ("Z60", 60), ("S4", 24)]
)
def test_groups_are_groups(name: str, order: int) -> None:
    """Each state's row and each token's column is a permutation, and the table is associative."""
    table = TransitionTable.of(job_of(name).task)
    T = table.table
    assert T.shape == (order, order)
    assert table.shared
    everything = np.arange(order)
    assert (np.sort(T, 0) == everything[:, None]).all()
    assert (np.sort(T, 1) == everything).all()
    assert (T[0] == everything).all()
    some = np.random.default_rng(0).integers(0, order, (500, 3))
    a, b, c = some.T
    assert (T[T[a, b], c] == T[a, T[b, c]]).all()


@pytest.mark.parametrize(
    ("name", "tokens"), [("S5 swaps", 10), ("S5 swaps and 3-cycles", 30), ("S4 swaps", 6)]
)
def test_generators_reach_the_whole_group(name: str, tokens: int) -> None:
    table = TransitionTable.of(job_of(name, length=4).task)
    assert table.n_tokens == tokens
    assert len(table.reachable) == table.n_states


def test_random_automata_are_permutations_and_the_same_everywhere() -> None:
    T = TransitionTable.of(job_of("random 8 seed 3").task).table
    assert (np.sort(T, 0) == np.arange(8)[:, None]).all()
    assert (T[:, 0] == np.arange(8)).all()
    assert T[:, 1].tolist() == [2, 4, 5, 6, 1, 7, 0, 3]
    other = TransitionTable.of(job_of("random 8 seed 4").task).table
    assert (other != T).any()


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_a_task_that_can_be_stored(name: str) -> None:
    job = job_of(name, "cot")
    assert Job.from_json(job.to_json()).hash == job.hash


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("A9", "A9 is out of range; expected A3 to A6"),
        ("tomita 8", "expected tomita 1 to tomita 7"),
        ("flipflop", "did you mean 'flip-flop'?"),
        ("S2 swaps", "S2 has one swap"),
        ("dyck 8 depth 9", "dyck 8 depth 9 is out of range"),
        ("quantum", "there is no task called 'quantum'; expected a table or one such as Z2"),
        ("A5 x nonsense", "there is no task called 'nonsense'"),
        ("even pairs x Z2", "the factor even pairs has an output map"),
    ],
)
def test_a_name_that_is_none_gets_a_sentence(name: str, says: str) -> None:
    with pytest.raises(SpecError, match=re.escape(says)) as error:
        job_of(name)
    assert "\n" not in str(error.value)


def test_older_automata_keep_their_hash() -> None:
    """The output map and shared ids are hashed only where they are used."""
    text = job_of("random 8 seed 3").canonical()
    assert '"output"' not in text
    assert '"shared"' not in text
    assert '"output"' in job_of("tomita 4").canonical()
    assert named_task("A5")["shared"]
