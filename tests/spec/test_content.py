"""What a spec means: hash, expansion, defaults, plugins, reference, cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.spec import (
    SCIENCE_VERSION,
    Automaton,
    Grid,
    Job,
    Lengths,
    ModularAddition,
    PluginTask,
    Search,
    SpecError,
    Study,
    Training,
    load,
    parse,
    plugins,
    shares,
)
from runners.spec.document import BEGIN, END, SECTIONS, meanings, reference
from runners.spec.load import read_source
from runners.spec.model import LSTM, DenseSSM, Transformer
from runners.strategies import STRATEGIES

ROOT = Path(__file__).resolve().parents[2]


def job(**changes: Any) -> Job:
    base: dict[str, Any] = {
        "task": ModularAddition(m=3),
        "format": "acot",
        "lengths": Lengths(distribution="uniform", length=5),
        "model": LSTM(hidden=8),
    }
    return Job(**(base | changes))


def test_hash_is_pinned() -> None:
    """Results are found again by this hash: when it changes for an old spec,
    SCIENCE_VERSION must have been raised.
    """
    assert SCIENCE_VERSION == 4
    assert job().hash == "2d9e40a7da3abf9e1a87fd66e3a35a01"


def test_fields_that_came_later_left_older_hashes_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same spec at science version 3 has the hash that it had before there were more models."""
    monkeypatch.setattr("runners.spec.job.SCIENCE_VERSION", 3)
    assert job().hash == "4f0b25933d7ea72d6c21b947a4d48027"


@pytest.mark.parametrize(
    "changed",
    [
        job(task=ModularAddition(m=5)),
        job(format="cot"),
        job(lengths=Lengths(distribution="uniform", length=6)),
        job(lengths=Lengths(distribution="short_to_long", length=5)),
        job(lengths=Lengths(distribution="uniform", length=5, min_length=3)),
        job(model=LSTM(hidden=9)),
        job(model=LSTM(hidden=8, init_std=0.1)),
        job(model=DenseSSM(hidden=8)),
        job(grid=Grid(seeds=(1,))),
        job(training=Training(precision="bf16")),
        job(training=Training(eval_every=499)),
        job(training=Training(threads=1)),
        job(search=Search(eps=1e-3)),
        job(search=Search(strategy="paper")),
        job(search=Search(rtol=0.2)),
        job(generalisation=True),
    ],
)
def test_everything_that_defines_the_number_is_hashed(changed: Job) -> None:
    assert changed.hash != job().hash


def test_what_does_not_define_the_number_is_not_hashed() -> None:
    assert job(search=Search(multiplier=10)).hash == job().hash, (
        "the multiplier is the paper strategy's alone"
    )
    assert job(search=Search(max_candidates=60)).hash == job().hash, "a default written out is the default"
    space = job().training_space
    assert job(search=Search(n_max=space)).hash == job(search=Search(n_max=space + 5)).hash, (
        "capped by the training space"
    )
    flip = ((0, 1), (1, 0))
    named = Automaton(name="a", table=flip, states=("even", "odd"))
    assert job(task=named).hash == job(task=Automaton(name="b", table=flip)).hash


@given(
    st.sampled_from([ModularAddition(m=4), Automaton(table=((0, 1), (1, 1)))]),
    st.sampled_from(["outcome", "cot", "acot"]),
    st.integers(2, 12),
    st.sampled_from([Transformer(layers=1, d=8, heads=2, dropout=0.1), LSTM(), DenseSSM(d=3)]),
    st.floats(1e-6, 1),
    st.sampled_from(sorted(STRATEGIES)),
)
def test_a_stored_job_is_the_job(
    task: Any, fmt: Any, length: int, model: Any, eps: float, strategy: Any
) -> None:
    one = job(
        task=task,
        format=fmt,
        lengths=Lengths(distribution="uniform", length=length),
        model=model,
        search=Search(eps=eps, strategy=strategy),
    )
    again = Job.from_json(one.to_json())
    assert again == one
    assert again.hash == one.hash
    assert json.loads(one.to_json())["training"]["steps"] == 250_000, (
        "defaults are resolved in what is stored"
    )


@given(
    tokens=st.integers(2, 1000), low=st.integers(2, 12), extra=st.integers(0, 12), size=st.integers(13, 5000)
)
def test_validation_shares(tokens: int, low: int, extra: int, size: int) -> None:
    lengths = range(low, low + extra + 1)
    split = shares(tokens, lengths, size)
    assert [s.length for s in split] == list(lengths)
    assert sum(s.validation for s in split) <= size
    for s in split:
        share = size // len(lengths) + (size % len(lengths) if s.length == lengths[-1] else 0)
        assert s.total == tokens**s.length
        assert s.validation == (1 if s.total <= 4 else min(share, s.total // 5))
        assert s.training >= 1


def test_one_n_star_serves_every_longer_length() -> None:
    text = read_source("quick")[0].replace("L = 8", "L = [7, 8, 10]", 1)
    study = parse(text)
    assert isinstance(study, Study)
    cells = study.cells()
    assert len(cells) == 3 * 2
    parts = {p.job.hash for c in cells for p in c.parts}
    assert len(parts) == 5 * 2, "N*_6..N*_10 of a model are measured once"
    assert len(study.jobs()) == (5 + 3) * 2


def test_min_length_is_left_out_of_both_sides() -> None:
    cell = load("quick").cells()[1]  # type: ignore[union-attr]
    assert [p.n for p in cell.parts] == [6, 7, 8]
    assert cell.joint.job.lengths.range == range(6, 9)


def test_fixed_cells_are_the_parts_of_mixed_ones() -> None:
    paper = load("paper")
    assert isinstance(paper, Study)
    cells = paper.cells()
    parts = {p.job.hash for c in cells for p in c.parts}
    fixed = [c for c in cells if c.distribution == "fixed"]
    assert fixed
    assert all(c.joint.job.hash in parts for c in fixed)
    assert {c.L for c in cells} == {5, 10, 20, 30}
    assert len({c.task.label for c in cells}) == 10
    assert {len(p.job.grid.members) for c in cells for p in c.parts} == {15}
    assert {c.joint.job.n_max for c in cells if c.task.n_tokens >= 5 and c.L >= 20} == {16_000_000}


def test_a_copy_with_other_fields_is_worked_out_anew() -> None:
    """Hash and cells are kept where they were asked for; a copy does not take them along."""
    one = job()
    assert one.hash != one.model_copy(update={"format": "outcome"}).hash == job(format="outcome").hash
    study = parse(
        'name = "s"\n[[sweep]]\nm = 3\nmodel = { kind = "lstm", hidden = 8 }\nformat = "acot"\nL = [4, 5]\n'
    )
    assert isinstance(study, Study)
    assert [cell.L for cell in study.cells()] == [4, 5]
    assert len(study.jobs()) == 4 + 2
    shorter = study.sweep[0].model_copy(update={"L": (4,)})
    assert [cell.L for cell in shorter.cells()] == [4]
    assert len(study.model_copy(update={"sweep": (shorter,)}).jobs()) == 3 + 1
    assert study.cells()[0].parts[0].job is study.cells()[1].parts[0].job, "validated and hashed once"


def test_joint_overrides_replace_whole_sections() -> None:
    text = read_source("demo")[0].replace(
        "[sweep.search]\neps = 1e-3", "[sweep.search]\neps = 1e-3\n[sweep.joint.search]\nn_max = 99", 1
    )
    cell = parse(text).cells()[0]  # type: ignore[union-attr]
    assert cell.joint.job.search == Search(n_max=99)
    assert cell.parts[0].job.search == Search(eps=1e-3)


def test_a_plugin_task_becomes_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "flip"

        def __init__(self, factory: Callable[..., Any]) -> None:
            self.load = lambda: factory

    def offer(factory: Callable[..., Any]) -> None:
        monkeypatch.setattr(plugins, "entry_points", lambda group: [Entry(factory)])

    text = read_source("quick")[0].replace(
        "m = 3", 'task = { kind = "plugin", name = "flip", params = { k = 2 } }', 1
    )
    offer(lambda k: Automaton(name=f"flip{k}", table=((0, 1), (1, 0))))
    task = parse(text).sweep[0].task[0]  # type: ignore[union-attr]
    assert task == Automaton(name="flip2", table=((0, 1), (1, 0)))
    offer(lambda k: 1 / 0)
    with pytest.raises(
        SpecError, match=r"the task plugin 'flip' failed: ZeroDivisionError: division by zero"
    ):
        parse(text)
    offer(lambda k: "nothing")
    with pytest.raises(
        SpecError, match=r"the task plugin 'flip' returned str; expected runners\.spec\.Automaton"
    ):
        parse(text)
    with pytest.raises(ValueError, match="not resolved"):
        _ = PluginTask(name="x").n_tokens


def test_the_reference_in_docs_is_the_code() -> None:
    page = (ROOT / "docs/specs.md").read_text("utf-8")
    assert page[page.index(BEGIN) : page.index(END) + len(END) + 1] == reference(), (
        "run python -m runners.spec.document docs/specs.md"
    )


def test_the_pages_examples_are_specs() -> None:
    page = (ROOT / "docs/specs.md").read_text("utf-8")
    blocks = [b for b in page.split("```toml\n")[1:] if "[job]" in b or "[[sweep]]" in b]
    assert len(blocks) >= 3
    for block in blocks:
        assert parse(block.split("```")[0])


def test_every_key_has_a_meaning() -> None:
    for _, model in SECTIONS:
        told = meanings(model)
        assert all(told.get(name) for name in model.model_fields if name != "kind"), model.__name__
