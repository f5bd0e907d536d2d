"""Published beside measured: direction, order of magnitude, and at whose settings.

Nothing published becomes a measurement.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import labtui.analysis.published as published
from labtui.analysis.paper import Comparison, compare_paper
from labtui.analysis.settings import differences
from runners.spec import (
    LSTM,
    DenseSSM,
    Grid,
    Job,
    Lengths,
    ModularAddition,
    Search,
    Training,
    Transformer,
    load,
)
from runners.spec.study import Study
from store.rows import CellRow
from tests.analysis.conftest import cell, nstar


def cell_of(model: str, fmt: str, ratio: float, **other: Any) -> CellRow:
    """kappa = ratio with a narrow bracket."""
    total = round(1000 * ratio)
    return cell(
        nstar(None, 990, 1000),
        [nstar(2, total - 5, total)],
        model=model,
        model_label=model,
        format=fmt,
        **other,
    )


def only(found: tuple[Comparison, ...]) -> Comparison:
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("model", "fmt", "ratio", "direction", "magnitude"),
    [
        ("transformer", "cot", 0.3, "agrees", "agrees"),
        ("transformer", "cot", 0.9, "differs", "differs"),
        ("transformer", "cot", 0.7, "agrees", "agrees"),
        ("transformer", "cot", 0.02, "agrees", "differs"),
        ("transformer", "cot", 4.0, "differs", "differs"),
        ("transformer", "acot", 0.1, "agrees", None),
        ("transformer", "outcome", 5.0, "differs", None),
        ("lstm", "acot", 7.0, "agrees", "agrees"),
        ("dense_ssm", "outcome", 2.0, "agrees", "differs"),
        ("dense_ssm", "acot", 0.5, "differs", "differs"),
        ("lstm", "cot", 1.2, "agrees", None),
        ("lstm", "cot", 1.5, "differs", None),
        ("lstm", "cot", 20.0, "differs", None),
    ],
)
def test_kappa(model: str, fmt: str, ratio: float, direction: str, magnitude: str | None) -> None:
    found = only(compare_paper([cell_of(model, fmt, ratio)]))
    assert (found.published.quantity, found.direction, found.magnitude) == ("kappa", direction, magnitude)


def test_what_the_evidence_leaves_open_is_undecided() -> None:
    wide = cell(nstar(None, 100, 1000), [nstar(2, 400, 2000)], model="lstm", format="acot")
    assert only(compare_paper([wide])).direction == "undecided"
    pending = cell(
        nstar(None, 0, None, status="open", state="queued"), [nstar(2, 1, 2)], model="lstm", format="acot"
    )
    assert only(compare_paper([pending])).direction == "undecided"
    bounded = cell(nstar(None, 99, None, n_max=99), [nstar(2, 30, 40)], model="lstm", format="acot")
    assert only(compare_paper([bounded])).direction == "differs"
    above = cell(nstar(None, 9, 10), [nstar(2, 500, None, n_max=500)], model="lstm", format="acot")
    found = only(compare_paper([above]))
    assert (found.direction, found.magnitude) == ("agrees", "agrees")


def test_nstar_only_at_the_papers_place() -> None:
    there = cell(
        nstar(None, 1_500, 2_000), [nstar(2, 1, 2)], model="transformer", format="cot", m=5, task="Z5", L=20
    )
    found = [c for c in compare_paper([there]) if c.published.quantity == "nstar"]
    assert (only(tuple(found)).magnitude, found[0].measured) == ("agrees", "N* 2k")
    other = cell(
        nstar(None, 1_500, 2_000), [nstar(2, 1, 2)], model="transformer", format="cot", m=5, task="Z5", L=10
    )
    assert not [c for c in compare_paper([other]) if c.published.quantity == "nstar"]
    censored = cell(
        nstar(None, 900_000, None, n_max=900_000),
        [nstar(2, 1, 2)],
        model="transformer",
        format="acot",
        m=5,
        task="Z5",
        L=20,
    )
    (found_acot,) = [c for c in compare_paper([censored]) if c.published.quantity == "nstar"]
    assert (found_acot.magnitude, found_acot.measured) == ("undecided", "N* > 900k")


def test_the_trend_needs_cells_that_differ_in_length_alone() -> None:
    def at(L: int, n: int, m: int = 3) -> CellRow:
        return cell(nstar(None, n - 5, n, job_id=L), [nstar(2, 1, 2)], id=L, L=L, m=m, task=f"Z{m}")

    def trend(cells: list[CellRow]) -> list[Comparison]:
        return [c for c in compare_paper(cells) if c.published.quantity == "trend"]

    (falling,) = trend([at(20, 100), at(5, 400), at(10, 300)])
    assert (falling.direction, falling.measured, falling.where) == (
        "agrees",
        "400 → 300 → 100",
        "dense_ssm 16 acot Z3 L=2..5/10/20",
    )
    (rising,) = trend([at(5, 100), at(10, 300)])
    assert rising.direction == "differs"
    assert trend([at(5, 100), at(10, 50, m=5)]) == []


def test_generalisation() -> None:
    def with_accuracy(model: str, accuracy: float) -> CellRow:
        return cell(
            nstar(None, 9, 10, generalisation=accuracy), [nstar(2, 9, 10)], model=model, format="acot"
        )

    def verdict(c: CellRow) -> str:
        return next(x.direction for x in compare_paper([c]) if x.published.quantity == "generalisation")

    assert verdict(with_accuracy("lstm", 0.97)) == "agrees"
    assert verdict(with_accuracy("lstm", 0.4)) == "differs"
    assert verdict(with_accuracy("transformer", -0.03)) == "agrees"


def test_cells_of_which_the_paper_says_nothing() -> None:
    automaton = cell_of("lstm", "acot", 5.0, m=None, task="turnstile")
    ordered = cell_of("lstm", "acot", 5.0, distribution="short_to_long")
    plugin = cell_of("my_model", "acot", 5.0)
    assert compare_paper([automaton, ordered, plugin]) == ()


def paper_job(**other: Any) -> Job:
    fields: dict[str, Any] = {
        "task": ModularAddition(m=5),
        "format": "acot",
        "lengths": Lengths(distribution="uniform", length=20),
        "model": DenseSSM(),
    }
    return Job(**(fields | other))


def test_the_papers_settings() -> None:
    assert differences(paper_job()) == ()
    assert differences(paper_job(model=LSTM(hidden=256))) == ()
    assert differences(paper_job(model=Transformer(layers=2))) == ()
    assert differences(paper_job(search=Search(strategy="paper"))) == ()
    assert differences(paper_job(lengths=Lengths(distribution="fixed", length=7))) == ()


def test_every_difference_is_told() -> None:
    small = paper_job(
        task=ModularAddition(m=7),
        model=Transformer(layers=1, d=32, heads=4),
        lengths=Lengths(distribution="uniform", length=7, min_length=4),
        training=Training(steps=500, eval_every=25, batch_size=32, validation_size=256, precision="bf16"),
        grid=Grid(learning_rates=(3e-3,), seeds=(1, 2)),
        search=Search(eps=1e-2),
    )
    told = "; ".join(differences(small))
    for part in (
        "layers 1 (paper: 6)", "d 32 (paper: 256)", "m 7 (not in the paper)", "L 7 (not in the paper)",
        "min_length 4 (paper: 2)", "steps 500 (paper: "
                                   "250,000)", "batch size 32", "evaluation every 25", "precision bf16",
        "learning rates 0.003 (paper: "
        "1e-05/0.0001/0.001)", "seeds 2 (paper: 5)", "eps 0.01", "N_max asked for 16,000 (paper",
    ):  # fmt: skip
        assert part in told


def test_settings_of_a_cell() -> None:
    row = cell_of("dense_ssm", "acot", 5.0)
    jobs = {100: paper_job(), 2: paper_job(lengths=Lengths(distribution="fixed", length=2))}
    assert only(compare_paper([row], jobs)).settings == "paper"
    assert only(compare_paper([row], {100: paper_job()})).settings == "unknown"
    found = only(compare_paper([row], {2: paper_job(training=Training(steps=9))}))
    assert (found.settings, found.differences[0]) == ("reduced", "steps 9 (paper: 250,000)")


def test_the_presets_stand_where_they_should() -> None:
    paper, quick = load("paper"), load("quick")
    assert isinstance(paper, Study)
    assert isinstance(quick, Study)
    few = [j for sweep in paper.sweep for j in next(iter(sweep.cells())).jobs]
    assert few
    assert all(differences(j) == () for j in few)
    assert all(differences(j) for j in quick.jobs())


def test_json_form_keeps_published_and_measured_apart() -> None:
    found = only(compare_paper([cell_of("transformer", "cot", 0.3)]))
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["published"]["value"] == 0.28
    assert "arXiv:2602.18333" in data["published"]["source"]
    assert data["measured"].startswith("0.30")


def test_text_tells_both_numbers_and_the_settings() -> None:
    row = cell_of("transformer", "cot", 0.3)
    unknown = only(compare_paper([row])).text()
    assert (
        "paper kappa = 0.28; measured 0.30 [0.29, 0.31]; direction agrees, order of magnitude agrees"
        in unknown
    )
    assert unknown.endswith("settings not known: specs are missing")
    reduced = only(compare_paper([row], {2: paper_job(training=Training(steps=9))})).text(ascii=True)
    assert reduced.isascii()
    assert "reduced settings: steps 9 (paper: 250,000)" in reduced


def test_only_the_comparison_reads_what_is_published() -> None:
    """So that no published number can enter a table, a fit or the store as if it were measured."""
    root = Path(published.__file__).parents[2]
    allowed = {"labtui/analysis/paper.py", "labtui/analysis/settings.py"}
    readers = set()
    for wing in ("labtui", "runners", "store"):
        for path in (root / wing).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
                if any(name.endswith("analysis.published") for name in names):
                    readers.add(path.relative_to(root).as_posix())
    assert readers == allowed
