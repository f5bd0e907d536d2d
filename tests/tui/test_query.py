"""The filter language."""

from __future__ import annotations

import pytest

from labtui.filters import holds, parse

FIELDS = frozenset(
    {"state", "model", "L", "task", "format", "id", "label", "name", "notes", "hi", "eps", "tag", "status"}
)


def read(text: str) -> list[tuple[str, str, object]]:
    query = parse(text, FIELDS)
    assert not query.problem
    return [(c.field, c.op, c.value) for c in query.where]


def test_words() -> None:
    assert read("state:running model:lstm L>=10 eps<1e-3") == [
        ("state", "=", "running"), ("model", "=", "lstm"), ("L", ">=", 10), ("eps", "<", 1e-3),
    ]  # fmt: skip
    assert read("state:done,failed") == [("state", "=", ("done", "failed"))]
    assert read("-state:done hi>16M") == [("state", "!=", "done"), ("hi", ">", 16_000_000)]
    assert read("running acot z3 42 lstm") == [
        ("state", "=", "running"), ("format", "=", "acot"), ("task", "=", "Z3"), ("id", "=", 42),
        ("model", "=", "lstm"),
    ]  # fmt: skip
    assert read('"by night" notes:redo') == [("label", "~", "by night"), ("notes", "~", "redo")]


def test_kappa_is_apart() -> None:
    query = parse("kappa<1 L:7", FIELDS)
    assert query.kappa == (("<", 1.0),)
    assert holds(0.4, query.kappa)
    assert not holds(1.4, query.kappa)
    assert not holds(None, query.kappa)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colour:red", "there is no field colour"),
        ("kappa<x", "needs a number"),
        ('"open', "no filter"),
        ("-name~x", "turned round"),
    ],
)
def test_problems_are_sentences(text: str, told: str) -> None:
    problem = parse(text, FIELDS).problem
    assert told in problem
    assert "expected" in problem
