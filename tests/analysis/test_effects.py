"""Effects that are shrunk towards none: the posterior of a linear model, by another way of computing it."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from labtui.analysis.effects import TRUST, Effects, Observation, Traits, inverse


def traits(model: str, fmt: str, length: float) -> Traits:
    return {"all": (1.0, 0.8), ("model", model): (1.0, 0.5), ("format", fmt): (1.0, 0.3), "L": (length, 0.4)}


def drawn(seed: int, count: int = 25) -> list[Observation]:
    """Observations of three models and two formats."""
    rng = random.Random(seed)
    return [
        Observation(traits(rng.choice("abc"), rng.choice("xy"), rng.gauss(0, 1)), rng.gauss(1, 1), 0.2)
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_an_inverse_is_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(9, 9))
    matrix = half @ half.T + np.eye(9)
    np.testing.assert_allclose(inverse(matrix.tolist()), np.linalg.inv(matrix), atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_effects_are_those_of_the_normal_equations(seed: int) -> None:
    seen = drawn(seed)
    levels = list(dict.fromkeys(level for o in seen for level in o.traits))
    design = np.array([[o.traits.get(level, (0.0, 0.0))[0] for level in levels] for o in seen])
    prior = np.array([next(o.traits[level][1] for o in seen if level in o.traits) for level in levels])
    noise = np.array([o.noise for o in seen])
    values = np.array([o.value for o in seen])
    covariance = np.linalg.inv(design.T @ (design / noise[:, None]) + np.diag(prior**-2.0))
    mean = covariance @ design.T @ (values / noise)
    found = Effects(seen)
    marginal = design @ np.diag(prior**2.0) @ design.T + np.diag(noise)
    scale = (TRUST + values @ np.linalg.solve(marginal, values)) / (TRUST + len(seen))
    assert found.scale == pytest.approx(scale)
    for o, row in zip(seen, design, strict=True):
        assert found.mean(o.traits) == pytest.approx(row @ mean)
        assert found.variance(o.traits) == pytest.approx(scale * row @ covariance @ row)


@pytest.mark.parametrize("seed", range(5))
def test_one_more_is_the_same_as_all_at_once(seed: int) -> None:
    seen = drawn(seed)
    new = Observation(traits("new", "x", 0.3), 2.0, 0.4)
    grown, whole = Effects(seen), Effects([*seen, new])
    before = grown.copy()
    grown.learn(new)
    for asked in (new.traits, seen[0].traits, traits("never", "y", -1.0)):
        assert grown.mean(asked) == pytest.approx(whole.mean(asked))
        assert grown.variance(asked) / grown.scale == pytest.approx(whole.variance(asked) / whole.scale)
    assert before.mean(new.traits) == pytest.approx(Effects(seen).mean(new.traits)), "a copy learns nothing"


def test_nothing_seen_is_nothing_known_and_much_is_believed() -> None:
    asked = traits("a", "x", 0.0)
    nothing = Effects()
    assert nothing.mean(asked) == 0
    assert nothing.variance(asked) == pytest.approx(0.8**2 + 0.5**2 + 0.3**2)
    means = [Effects([Observation(asked, 2.0, 0.2)] * count).mean(asked) for count in (1, 3, 100)]
    assert 0 < means[0] < means[1] < means[2] < 2.0
    assert means[2] == pytest.approx(2.0, abs=0.02)
    other = Effects([Observation(asked, 2.0, 0.2)] * 100).mean(traits("b", "x", 0.0))
    assert 0 < other < means[2], "something of all, most of its own kind"


def test_one_far_off_counts_the_less() -> None:
    seen = [Observation(traits("a", "x", 0.0), 0.1 * math.sin(i), 0.05) for i in range(12)]
    far = [*seen, Observation(traits("a", "x", 0.0), 5.0, 0.05)]
    asked = traits("a", "x", 0.0)
    plain, robust = Effects(far).mean(asked), Effects(far, robust=True).mean(asked)
    assert abs(robust) < abs(plain) / 2
    assert Effects(seen, robust=True).mean(asked) == pytest.approx(Effects(seen).mean(asked))


def test_no_more_levels_are_told_apart_than_can_be_solved_in_time() -> None:
    many = [Observation({"all": (1.0, 0.5), ("kind", i): (1.0, 0.5)}, 1.0, 0.1) for i in range(500)]
    found = Effects(many)
    assert found.mean(many[0].traits) > found.mean(many[-1].traits) > 0, "the first ones are kept"
