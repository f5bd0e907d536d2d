"""The coverage floor: the closed form, a simulation that was written apart, and where it is shown."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from math import log
from pathlib import Path

import pytest

from labtui.analysis.floor import accuracy_at_least, coverage_floor, simulated, uniform
from labtui.tui.screens.scaling import ScalingRequest
from labtui.views.scaling import floor_series
from runners.spec import Job
from store.read import open_lab

DEMO = Path(__file__).resolve().parents[2] / "docs" / "labs" / "demo.db"


def cyclic(m: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple((s + x) % m for x in range(m)) for s in range(m))


def test_the_closed_form_is_the_published_one() -> None:
    """K^2 ln(1 / (1 - q^(1/n))) transitions: 5.74 K^2 for n = 16 and q = 0.95."""
    for K in (8, 12, 16):
        found = uniform(K * K, (16,), accuracy_at_least(0.95, (16,)))
        assert 16 * found / K**2 == pytest.approx(log(1 / (1 - 0.95 ** (1 / 16))), rel=1e-6)
        assert 16 * found / K**2 == pytest.approx(5.745, abs=0.005)


@pytest.mark.parametrize(
    ("m", "lengths", "ratio"),
    [
        (8, (16,), 1.09),
        (12, (16,), 0.99),
        (16, (16,), 0.92),
        (10, (2, 3, 4, 5, 6, 7), 0.85),
        (3, (2, 3, 4, 5, 6, 7), 1.49),
    ],
)
def test_how_far_the_closed_form_is_from_the_simulation(
    m: int, lengths: tuple[int, ...], ratio: float
) -> None:
    """It neglects that every sequence begins at one state, and that few sequences scatter."""
    met = accuracy_at_least(0.95, lengths)
    closed, streamed = uniform(m * m, lengths, met), simulated(cyclic(m), 0, lengths, met)
    assert streamed is not None
    assert closed / streamed == pytest.approx(ratio, abs=0.006)


def test_a_learner_that_tabulates_needs_about_as_many() -> None:
    """Trained and tested as a program would: random sequences, a dictionary, 2,000 test sequences."""
    m, n = 8, 16
    met = accuracy_at_least(0.95, (n,))
    floor = uniform(m * m, (n,), met)

    def accuracy(sequences: int, source: random.Random) -> float:
        table: dict[tuple[int, int], int] = {}
        for _ in range(sequences):
            state = 0
            for _ in range(n):
                token = source.randrange(m)
                table[state, token] = (state + token) % m
                state = (state + token) % m
        right = 0
        for _ in range(500):
            state, known = 0, True
            for _ in range(n):
                token = source.randrange(m)
                known &= (state, token) in table
                state = (state + token) % m
            right += known
        return right / 500

    few, many = ([accuracy(round(share * floor), random.Random(i)) for i in range(9)] for share in (0.7, 1.4))
    assert sorted(few)[4] < 0.95 < sorted(many)[4]


def job(**more: object) -> Job:
    data = {
        "task": {"kind": "modular_addition", "m": 3},
        "format": "acot",
        "lengths": {"distribution": "uniform", "length": 7},
        "model": {"kind": "dense_ssm", "hidden": 4},
        "training": {"steps": 100, "eval_every": 10, "validation_size": 64},
    }
    return Job.model_validate(data | more)


def test_a_search_has_the_floor_of_its_criterion() -> None:
    floor, strict = coverage_floor(job()), coverage_floor(job(search={"eps": 1e-6}))
    assert floor is not None
    assert strict is not None
    assert 0 < floor < strict
    group = {"kind": "automaton", "name": "Z3", "table": cyclic(3)}
    assert coverage_floor(job(task=group)) == pytest.approx(floor, rel=1e-9)


def test_a_table_that_is_not_uniform_is_simulated_the_same_each_time() -> None:
    swaps = {"kind": "automaton", "table": ((0, 1, 2, 3), (0, 0, 2, 3), (1, 1, 2, 0), (3, 3, 3, 3))}
    first, again = (coverage_floor(job(task=swaps)) for _ in range(2))
    assert first is not None
    assert first > 0
    assert first == again


@pytest.mark.parametrize(
    "more",
    [
        {"format": "cot"},
        {"format": "outcome"},
        {"lengths": {"distribution": "short_to_long", "length": 5}},
        {"task": {"kind": "automaton", "table": cyclic(3), "output": (0, 1, 1)}},
    ],
    ids=["cot", "outcome", "ordered", "output map"],
)
def test_where_labels_do_not_tell_transitions_there_is_none(more: dict[str, object]) -> None:
    assert coverage_floor(job(**more)) is None


def labtui(*words: str) -> str:
    command = [sys.executable, "-P", "-m", "labtui", "--read-only", "--lab", str(DEMO), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_commands_tell_it_and_none_is_told_where_there_is_none() -> None:
    cells_told = labtui("kappa", "--details").split("\ncell ")[1:]
    acot, outcome = (next(c for c in cells_told if f" Z3 {form} " in c) for form in ("acot", "outcome"))
    assert "floor" in acot
    assert "floor" not in outcome
    cells = json.loads(labtui("--json", "kappa"))
    for cell in cells:
        for part in (cell["joint"], *cell["parts"]):
            assert (part["floor"] is not None) == (cell["format"] == "acot")
    assert "coverage floor: a table would do" in labtui("plot", "scaling")


def test_the_screen_has_a_dashed_line_of_them() -> None:
    with open_lab(DEMO) as lab:
        first = ScalingRequest(axis="n")(lab)
        second = ScalingRequest(axis="n", laws=True)(lab)
    assert floor_series(first.curves, "n") == (), "the points come first"
    lines = floor_series(second.curves, "n")
    assert lines
    assert all(line.dash == (3, 3) and line.joined and not line.sign for line in lines)
