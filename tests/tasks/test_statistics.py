"""What the shuffles draw looks random: fixed seeds, exact chi-square tests,
each at a level that one in 10,000 would miss.
"""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from runners import streams
from runners.tasks import BatchOrder, DataSource, bijection
from runners.tasks.bijection import Shuffle
from runners.tasks.data import LengthStream
from tests.tasks.helpers import job, lengths_one_by_one, training_rows

LEVEL = 1e-4
SPACES = [  # (tokens, length): sorted keys, two words, many words
    (3, 10),
    (3, 30),
    (100, 4),
    (2, 60),
    (100, 12),
    (7, 40),
]


def even(counts: torch.Tensor) -> None:
    assert stats.chisquare(counts.reshape(-1).double().numpy()).pvalue > LEVEL


def drawn(k: int, n: int, count: int, seed: int = 10) -> torch.Tensor:
    return (
        DataSource(job(k, distribution="fixed", longest=n), seed)
        .training(count)
        .sequences(torch.arange(count))[0]
        .long()
    )


def few_values(k: int, x: torch.Tensor) -> torch.Tensor:
    """Fewer values, so that every pair of them is expected often enough for a chi-square."""
    return x % 5 if k % 5 == 0 else x


@pytest.mark.parametrize(("k", "n"), SPACES)
def test_tokens_are_even_at_every_position(k: int, n: int) -> None:
    x = drawn(k, n, 20_000)
    each = stats.chi2(k - 1)
    counts = torch.stack([torch.bincount(x[:, i], minlength=k) for i in range(n)]).double()
    p = each.sf((((counts - 20_000 / k) ** 2) / (20_000 / k)).sum(1).numpy())
    assert p.min() > LEVEL / n
    assert (
        stats.kstest(p, "uniform").pvalue > LEVEL or k**n < 100_000
    )  # without replacement a small space is too even


@pytest.mark.parametrize(("k", "n"), SPACES)
def test_pairs_of_positions_are_even(k: int, n: int) -> None:
    x = few_values(k, drawn(k, n, 40_000))
    values = int(x.max()) + 1
    for i, j in [(0, 1), (0, n - 1), (n // 2 - 1, n // 2), (n // 2, n - 1), (1, n // 2)]:
        even(torch.bincount(x[:, i] * values + x[:, j], minlength=values**2))


@pytest.mark.parametrize(("k", "n"), SPACES)
def test_one_entry_says_nothing_of_the_next(k: int, n: int) -> None:
    x = few_values(k, drawn(k, n, 40_000))
    values = int(x.max()) + 1
    for lag in (1, 2, 64):
        start = torch.arange(0, 40_000 - lag)
        start = start[start % (2 * lag) < lag]  # every entry in one pair only
        for i, j in [(0, 0), (n - 1, n - 1), (0, n - 1), (n // 2, 0)]:
            even(torch.bincount(x[start, i] * values + x[start + lag, j], minlength=values**2))


@pytest.mark.parametrize("words", [1, 2, 3, 4])
def test_every_sequence_is_as_likely_to_be_drawn_early(words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a small space, over many keys: which sequences are among the first, and which comes first."""
    if words > 1:
        monkeypatch.setattr(bijection, "EXACT", 1)
    k, n, first = (3, 4, 10) if words < 3 else (2, 3 * words, 8)
    if words > 2:
        monkeypatch.setattr(bijection, "WORD", 8)
    total, keys = k**n, 2_000 if words < 3 else 1_000
    members = torch.zeros(total, dtype=torch.int64)
    leader = torch.zeros(total, dtype=torch.int64)
    follower = torch.zeros(total, dtype=torch.int64)
    for key in range(keys):
        shuffle = Shuffle(k, n, streams.key(key, 1), torch.device("cpu"))
        assert len(shuffle.split) == words
        value = torch.zeros(first, dtype=torch.int64)
        for word, bound in zip(shuffle.words(torch.arange(first)), shuffle.bounds, strict=True):
            value = value * bound + word
        members[value] += 1
        leader[value[0]] += 1
        follower[(value[1] - value[0]) % total] += 1
    assert follower[0] == 0
    # members are drawn without replacement, so their counts vary less than a chi-square's:
    # its upper tail is a valid bound
    even(members)
    if total < 1000:
        even(leader)
        even(follower[1:])


def test_validation_and_first_training_sequences_are_fair_over_seeds() -> None:
    """Addition modulo 3 at length 3: 27 sequences, of which 5 are held out;
    which of them, and which are trained on first.
    """
    assert next(iter(job(3, distribution="fixed", longest=3).shares)).validation == 5
    held, trained, first = (torch.zeros(27, dtype=torch.int64) for _ in range(3))
    for seed in range(2000):
        stream = LengthStream(3, 3, 5, seed, torch.device("cpu"))
        (values,) = stream.training(torch.arange(6))
        held[stream.held[0]] += 1
        trained[values] += 1
        first[values[0]] += 1
    for counts in (held, trained, first):
        even(counts)


def test_lengths_are_drawn_evenly_over_seeds() -> None:
    of = job(10, distribution="uniform", longest=8)
    counts = torch.zeros(9, dtype=torch.int64)
    for seed in range(300):
        for n in lengths_one_by_one(of, seed, 3):
            counts[n] += 1
    even(counts[2:])
    many = torch.bincount(
        torch.tensor([len(x) for x in training_rows(job(30, longest=8, shortest=5), 1, 20_000)])
    )
    even(many[5:])


@pytest.mark.parametrize("n", [6, 5000])
def test_every_entry_is_as_likely_at_every_place_of_an_epoch(n: int) -> None:
    counts = torch.zeros(6, 6, dtype=torch.int64)
    for seed in range(40):
        order = BatchOrder(seed, n, n).block(0, 60 if n == 6 else 4)
        place = torch.arange(n).expand_as(order)
        counts += torch.bincount((place * 6 // n * 6 + order * 6 // n).reshape(-1), minlength=36).reshape(
            6, 6
        )
    part = torch.bincount(torch.arange(n) * 6 // n).double()
    expected = part[:, None] * part / n * counts.sum() / n
    statistic = float(((counts - expected) ** 2 / expected).sum())
    # rows and columns are fixed: 25 degrees of freedom;
    # a cell's variance is n / (n - 1) times the multinomial one
    assert LEVEL < stats.chi2(25).sf(statistic * (n - 1) / n) < 1 - LEVEL


def test_epochs_of_one_seed_and_seeds_of_one_epoch_are_unrelated() -> None:
    for n in (2000, 6000):
        a, b = BatchOrder(1, n, n).block(0, 2)
        c = BatchOrder(2, n, n).indices(0)
        for left, right in ((a, b), (a, c), (a[:-1], a[1:])):
            r = stats.spearmanr(left.numpy(), right.numpy()).pvalue
            assert r > LEVEL
