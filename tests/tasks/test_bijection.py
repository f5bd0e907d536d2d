"""Shuffles are bijections, at every size and for every number of words."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runners.tasks import bijection
from runners.tasks.bijection import Digits, Shuffle

CPU = torch.device("cpu")


def digits_of(shuffle: Shuffle, words: list[torch.Tensor], base: int) -> torch.Tensor:
    parts, writer = [], Digits(base, torch.int16, CPU)
    for word, width in zip(words, shuffle.split, strict=True):
        out = torch.empty(len(word), width, dtype=torch.int16)
        writer.write(word.clone(), width, out)
        parts.append(out)
    return torch.cat(parts, 1)


@pytest.mark.parametrize(
    ("base", "digits"), [(2, 2), (3, 5), (2, 16), (2, 17), (3, 11), (300, 2), (47, 3), (1000, 2)]
)
def test_every_sequence_of_the_space_comes_once(base: int, digits: int) -> None:
    shuffle = Shuffle(base, digits, 7, CPU)
    total = base**digits
    assert shuffle.reach == total
    assert len(shuffle.split) == (1 if total <= bijection.EXACT else 2)
    words = shuffle.words(torch.arange(total))
    drawn = digits_of(shuffle, words, base)
    place = base ** torch.arange(digits)
    assert torch.equal((drawn.long() * place).sum(1).sort().values, torch.arange(total))
    assert torch.equal(shuffle.index(words), torch.arange(total))


@pytest.mark.parametrize("words", [3, 4, 5])
def test_long_networks_are_bijections(words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bijection, "EXACT", 1)
    monkeypatch.setattr(bijection, "WORD", 8)
    shuffle = Shuffle(2, 3 * words, 5, CPU)
    assert shuffle.split == [3] * words
    every = torch.cartesian_prod(*[torch.arange(8)] * words)
    inside = shuffle.index(list(every.unbind(1)))
    assert (inside >= 0).sum() == shuffle.reach == 64
    assert torch.equal(inside[inside >= 0].sort().values, torch.arange(64))
    back = torch.stack(shuffle.words(inside[inside >= 0]), 1)
    assert torch.equal(back, every[inside >= 0])


@given(
    base=st.integers(2, 1000),
    digits=st.integers(2, 80),
    key=st.integers(-(2**63), 2**63 - 1),
    at=st.lists(st.integers(0, 2**38), min_size=1, max_size=20),
)
def test_there_and_back_at_any_size(base: int, digits: int, key: int, at: list[int]) -> None:
    shuffle = Shuffle(base, digits, key, CPU)
    assert sum(shuffle.split) == digits
    assert all(2 <= b <= bijection.WORD for b in shuffle.bounds)
    assert shuffle.reach == Shuffle.reach_of(base, digits) >= min(base**digits, 2**38)
    index = torch.tensor(at) % shuffle.reach
    words = shuffle.words(index)
    for word, bound in zip(words, shuffle.bounds, strict=True):
        assert ((word >= 0) & (word < bound)).all()
    assert torch.equal(shuffle.index(words), index)


@given(base=st.integers(2, 1000), digits=st.integers(1, 30), seed=st.integers(0, 2**31))
def test_digits_are_the_numeral_of_the_word(base: int, digits: int, seed: int) -> None:
    while base**digits > bijection.WORD:
        digits -= 1
    word = torch.randint(base**digits, (9,), generator=torch.Generator().manual_seed(seed))
    out = torch.empty(9, digits, dtype=torch.int16)
    Digits(base, torch.int16, CPU).write(word.clone(), digits, out)
    for value, row in zip(word.tolist(), out.tolist(), strict=True):
        assert value == sum(d * base**i for i, d in enumerate(row))
