"""The filter language."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtui.filters import holds, parse
from labtui.text import clean
from store.filters import JOB_FIELDS, TRIAL_FIELDS
from store.read import Lab, open_lab
from tests.support.fakelab import small_lab

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
        ("L:12e45678", "needs a number"),
        ("kappa<1e999", "needs a number"),
        ("state:bogus", "running"),
        ("tag<a", "list of words"),
        ("name:\udcff", "no text"),
    ],
)
def test_problems_are_sentences(text: str, told: str) -> None:
    problem = parse(text, FIELDS).problem
    assert told in problem
    assert "expected" in problem


def test_text_fields_compare_text_and_number_fields_numbers() -> None:
    assert read("tag:007") == [("tag", "=", "007")]
    assert read("name:1e3 model:12,013") == [("name", "~", "1e3"), ("model", "=", ("12", "013"))]
    assert read("L:007 hi<1e3") == [("L", "=", 7), ("hi", "<", 1000)]
    assert read("12e45678") == [("label", "~", "12e45678")]


VALUES = st.one_of(
    st.sampled_from(
        (
            "12e45678",
            "1e308",
            "-1e309",
            "9" * 400,
            "nan",
            "inf",
            "007",
            "0x10",
            "1_0",
            "\u0663",
            "\u00b2",
            "1k",
            "1e5M",
            "\0",
            "'",
            ",",
            "\udcff",
        )
    ),
    st.floats().map(str),
    st.integers().map(str),
    st.text(max_size=12),
)
FIELD_NAMES = (*TRIAL_FIELDS, "kappa", "\u03ba", "colour")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with open_lab(small_lab(tmp_path_factory.mktemp("query") / "lab.db"), read_only=True) as lab:
        yield lab


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.builds(
            "{}{}{}{}".format,
            st.sampled_from(("", "-")),
            st.sampled_from(FIELD_NAMES),
            st.sampled_from((":", "=", "!=", "<", "<=", ">", ">=", "~", "")),
            VALUES,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_no_filter_ends_anything(lab: Lab, words: list[str]) -> None:
    """Whatever is typed is a list of rows or a sentence, on both screens that have filters."""
    text = " ".join(words)
    for fields, ids in ((JOB_FIELDS, lab.job_ids), (TRIAL_FIELDS, lab.trial_ids)):
        query = parse(text, frozenset(fields))
        if query.problem:
            assert clean(query.problem) == query.problem
        else:
            assert len(ids(query.where)) >= 0
            holds(1.0, query.kappa)
