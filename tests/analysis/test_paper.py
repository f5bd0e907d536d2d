"""The paper's statements beside made-up labs: each of the four answers for each, twice reckoned.

Nothing published becomes a measurement.
"""

from __future__ import annotations

import ast
import json
import math
import random
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import labtui.analysis.published as published
from labtui.__main__ import main
from labtui.analysis import intervals
from labtui.analysis.paper import Row, compare_paper, counts
from labtui.analysis.settings import differences
from labtui.analysis.stored import measured
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
    parse,
)
from runners.spec.study import Study
from store.read import open_lab
from store.write.submit import submit
from tests.analysis.conftest import nstar
from tests.support.paper_by_hand import verdicts

T, L, D = "transformer", "lstm", "dense_ssm"
SETTINGS = """
grid = { learning_rates = [1e-2], seeds = [1, 2] }
training = { steps = 2000, eval_every = 50, validation_size = 256 }
search = { strategy = "adaptive", eps = 1e-2 }
"""
STUDY = f"""
name = "made up"
[models.transformer]
kind = "transformer"
layers = 1
d = 16
heads = 2
[models.lstm]
kind = "lstm"
hidden = 8
[models.dense_ssm]
kind = "dense_ssm"
hidden = 8

[[sweep]]
m = 3
model = ["transformer", "lstm", "dense_ssm"]
format = ["outcome", "cot", "acot"]
L = [8, 9, 10, 12]
min_length = 8
generalisation = true
{SETTINGS}
[[sweep]]
m = 3
model = ["lstm", "dense_ssm"]
format = ["outcome", "acot"]
distribution = "short_to_long"
L = 10
min_length = 8
measure = "joint"
{SETTINGS}
"""
Number = float | tuple[float, float, float] | None
Places = Mapping[tuple[str, str, str], Number]
"""(model, format, lengths) -> N* with its interval, N* alone (10 % either side), or None: censored. Lengths:
n9 of length 9 alone, u10 uniform over 8..10, s10 short to long."""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with the study above and no result."""
    path = tmp_path_factory.mktemp("paper") / "empty.db"
    submit(path, parse(STUDY))
    return path


def made_up(empty: Path, path: Path, places: Places, accuracies: Mapping[Any, Any] | None = None) -> Path:
    """The lab with these results, as if each search were over."""
    shutil.copy(empty, path)
    with sqlite3.connect(path) as lab:
        for (model, fmt, lengths), found in places.items():
            kind = {"n": "fixed", "u": "uniform", "s": "short_to_long"}[lengths[0]]
            told: tuple[Any, ...] = ("censored", 0, None, None)
            if found is not None:
                value, low, high = found if isinstance(found, tuple) else (found, found / 1.1, found * 1.1)
                told = ("bracket", math.floor(low), math.ceil(high), json.dumps([value, low, high]))
            tested = (accuracies or {}).get((model, fmt, lengths))
            accuracy = tested[0] if isinstance(tested, tuple) else tested
            done = lab.execute(
                "UPDATE job SET state = 'done', status = ?, lo = ?, hi = ?, estimate = ?, generalisation = ? "
                "WHERE model = ? AND format = ? AND distribution = ? AND length = ?",
                (*told, accuracy, model, fmt, kind, int(lengths[1:])),
            )
            assert done.rowcount == 1
        for (model, fmt, lengths), found in (accuracies or {}).items():
            job, n = lab.execute(
                "SELECT id, n_max FROM job WHERE model = ? AND format = ? AND length = ? "
                "AND distribution = 'uniform'",
                (model, fmt, int(lengths[1:])),
            ).fetchone()
            values = found if isinstance(found, tuple) else (found, found)
            lab.execute(PROBE, (job, job, n, len(values)))
            lab.executemany(TRIAL, [(job, job, n, seed, 0.1 + seed, a) for seed, a in enumerate(values)])
    lab.close()
    return path


PROBE = """
INSERT INTO probe (id, job_id, ordinal, n, members, state, verdict, speculative, epoch, attempt, started_at,
wall_s, device_s, member_steps, trials, trials_ended, step, fraction, seeds, successes, checkpoint_step, plan)
VALUES (?, ?, 0, ?, '[]', 'done', 1, 0, 1, 1, 0, 0, 0, 0, ?, 0, 0, 1, 0, 0, 0, '')
"""
TRIAL = """
INSERT INTO trial
(probe_id, job_id, n, lr, seed, outcome, best_loss, best_step, steps, wall_s, generalisation)
VALUES (?, ?, ?, 0.01, ?, 'failure', ?, 0, 0, 0, ?)
"""


def rows(path: Path) -> dict[str, Row]:
    with open_lab(path, read_only=True) as lab:
        return {row.statement.number: row for row in compare_paper(*measured(lab))}


def kappas(model: str, fmt: str, ratio: float, joint: float = 300.0, width: float = 1.1) -> dict[Any, Any]:
    """kappa = ratio at lengths 8..10."""
    part = ratio * joint / 3
    parts = {(model, fmt, f"n{n}"): (part, part / width, part * width) for n in (8, 9, 10)}
    return {**parts, (model, fmt, "u10"): (joint, joint / width, joint * width)}


def law(model: str, fmt: str, exponent: float, noise: float = 0.0) -> dict[Any, Any]:
    """N*_joint = 1000 (L / 8)^exponent, every other one by ``noise`` more."""
    return {
        (model, fmt, f"u{n}"): 1000 * (n / 8) ** exponent * math.exp(noise * (-1) ** i)
        for i, n in enumerate((8, 9, 10, 12))
    }


def all_of(*parts: Mapping[Any, Any]) -> dict[Any, Any]:
    return {k: v for part in parts for k, v in part.items()}


def two(fmt: str, **n: Number) -> dict[Any, Any]:
    """The same N* for both recurrent models."""
    return {(model, fmt, lengths): value for model in (L, D) for lengths, value in n.items()}


GOOD_ORDER = two("acot", n10=50, u10=100, s10=200)
SHARING = [kappas(m, f, r) for m in (L, D) for f, r in (("outcome", 4.0), ("acot", 5.0), ("cot", 1.0))]
NARROW = [kappas(m, f, r, width=1.03) for m in (L, D) for f, r in (("outcome", 4), ("acot", 5), ("cot", 1))]
TOLD = {(L, "acot"): (3.0, 0.99), (D, "acot"): (2.8, 0.98), (L, "cot"): (1.0, 0.1), (D, "cot"): (0.9, 0.08),
        (T, "outcome"): (0.8, 0.05), (T, "acot"): (0.7, 0.03), (T, "cot"): (0.3, 0.01)}  # fmt: skip
GENERALISING = all_of(*(kappas(m, f, k) for (m, f), (k, _) in TOLD.items()))
ACCURACIES = {(m, f, "u10"): a for (m, f), (_, a) in TOLD.items()}
"""kappa and accuracy at 2L of each."""

CASES: list[tuple[str, str, Places, Mapping[Any, Any]]] = [
    ("3.1", "confirmed", {(T, "cot", "u10"): 100, (T, "acot", "u10"): 900}, {}),
    ("3.1", "confirmed", {(T, "cot", "u10"): 100, (T, "acot", "u10"): None}, {}),
    ("3.1", "contradicted", {(T, "cot", "u10"): 900, (T, "acot", "u10"): 100}, {}),
    ("3.1", "open", {(T, "cot", "u10"): 100, (T, "acot", "u10"): 110}, {}),
    ("3.1", "open", {(T, "cot", "u10"): None, (T, "acot", "u10"): None}, {}),
    ("3.1", "not measured", {(T, "cot", "u10"): 100, (T, "acot", "u9"): 900}, {}),
    ("3.2", "confirmed", all_of(two("acot", u10=100), two("cot", u10=900)), {}),
    ("3.2", "contradicted", all_of(two("acot", u10=100), two("cot", u10=900), two("acot", u9=500),
                                   two("cot", u9=50)), {}),
    ("3.2", "open", {(L, "acot", "u10"): 100, (L, "cot", "u10"): None}, {}),
    ("3.2", "not measured", two("acot", u10=100), {}),
    ("3.3", "confirmed", all_of(two("outcome", u10=100), {(T, "outcome", "u10"): None}), {}),
    ("3.3", "contradicted", all_of(two("outcome", u10=900), {(T, "outcome", "u10"): 200}), {}),
    ("3.3", "open", all_of(two("outcome", u10=(100, 50, 50_000)), {(T, "outcome", "u10"): None}), {}),
    ("3.3", "not measured", two("outcome", u10=100), {}),
    ("3.4a", "confirmed", GOOD_ORDER, {}),
    ("3.4a", "contradicted", all_of(GOOD_ORDER, {(L, "acot", "s10"): 70}), {}),
    ("3.4a", "open", all_of(GOOD_ORDER, {(D, "acot", "n10"): 95}), {}),
    ("3.4a", "not measured", two("acot", u9=100, s10=300), {}),
    ("3.4b", "confirmed", all_of(law(L, "acot", -2), law(D, "acot", -3), law(T, "cot", 2)), {}),
    ("3.4b", "contradicted", all_of(law(L, "acot", -2), law(D, "acot", -3), law(T, "cot", -2)), {}),
    ("3.4b", "open", all_of(law(L, "acot", -2), law(D, "acot", -1, 0.5), law(T, "cot", 2)), {}),
    ("3.4b", "not measured", two("acot", u8=100), {}),
    ("3.5", "confirmed", two("outcome", s10=100, u10=200), {}),
    ("3.5", "contradicted", two("outcome", s10=300, u10=200), {}),
    ("3.5", "open", two("outcome", s10=195, u10=200), {}),
    ("3.5", "not measured", two("outcome", s10=100), {}),
    ("4.1", "confirmed", all_of(*(kappas(T, f, 0.7) for f in ("outcome", "cot", "acot"))), {}),
    ("4.1", "contradicted", all_of(kappas(T, "cot", 0.7), kappas(T, "acot", 1.6)), {}),
    ("4.1", "open", all_of(*(kappas(T, f, k) for f, k in (("outcome", 1.2), ("cot", 0.7), ("acot", 1)))), {}),
    ("4.1", "not measured", {(T, "acot", "u10"): 10}, {}),
    ("4.2", "confirmed", kappas(T, "cot", 0.28), {}),
    ("4.2", "confirmed", all_of(kappas(T, "cot", 0.3, joint=300), {(T, "cot", "u10"): None}), {}),
    ("4.2", "contradicted", kappas(T, "cot", 0.9), {}),
    ("4.2", "open", kappas(T, "cot", 0.5), {}),
    ("4.2", "not measured", kappas(T, "acot", 0.28), {}),
    ("4.3", "confirmed", all_of(*NARROW), {}),
    ("4.3", "contradicted", all_of(*NARROW, kappas(D, "cot", 0.3)), {}),
    ("4.3", "open", all_of(*NARROW[:5]), {}),
    ("4.3", "open", all_of(*NARROW, kappas(L, "acot", 2.05)), {}),
    ("4.3", "not measured", kappas(T, "acot", 5), {}),
    ("4.4", "confirmed", law(D, "acot", -2), {}),
    ("4.4", "contradicted", law(D, "acot", 2), {}),
    ("4.4", "open", law(D, "acot", -0.2, 0.8), {}),
    ("4.4", "not measured", law(L, "acot", -2), {}),
    ("4.5", "confirmed", GENERALISING, ACCURACIES),
    ("4.5", "contradicted", GENERALISING, {**ACCURACIES, (T, "cot", "u10"): 0.9}),
    ("4.5", "contradicted", GENERALISING, {k: 1 - a for k, a in ACCURACIES.items()}),
    ("4.5", "open", GENERALISING, {**ACCURACIES, (D, "acot", "u10"): 0.8}),
    ("4.5", "open", GENERALISING, {**ACCURACIES, (D, "acot", "u10"): (0.98, 0.4)}),
    ("4.5", "open", GENERALISING, {**ACCURACIES, (T, "cot", "u10"): (0.9,)}),
    ("4.5", "contradicted", GENERALISING, {**ACCURACIES, (D, "acot", "u10"): (0.98, 0.4), (T, "cot", "u10"):
                                           (0.5, 0.9, 0.6)}),
    ("4.5", "not measured", GENERALISING, {}),
]  # fmt: skip


@pytest.mark.parametrize(("number", "verdict", "places", "accuracies"), CASES)
def test_each_answer_of_each_statement(
    number: str, verdict: str, places: Places, accuracies: Mapping[Any, Any], empty: Path, tmp_path: Path
) -> None:
    lab = made_up(empty, tmp_path / "lab.db", places, accuracies)
    found = rows(lab)
    assert found[number].verdict == verdict, found[number].comparisons
    assert {n: row.verdict for n, row in found.items()} == verdicts(lab)


def test_there_are_eleven_and_each_has_every_answer() -> None:
    numbers = [s.number for s in published.STATEMENTS]
    assert len(numbers) == 11
    for number in numbers:
        assert {v for n, v, *_ in CASES if n == number} == {
            "confirmed",
            "contradicted",
            "open",
            "not measured",
        }


@pytest.mark.parametrize("seed", range(6))
def test_any_lab_is_read_as_by_the_second_script(seed: int, empty: Path, tmp_path: Path) -> None:
    rng = random.Random(seed)
    places: dict[Any, Number] = {}
    for model in (T, L, D):
        for fmt in ("outcome", "cot", "acot"):
            for lengths in ("n8", "n9", "n10", "n11", "n12", "u8", "u9", "u10", "u12"):
                value = 10 ** rng.uniform(1, 3)
                width = rng.choice([1.02, 1.3])
                places[model, fmt, lengths] = (
                    None if rng.random() < 0.1 else (value, value / width, value * width)
                )
            if model != T and fmt != "cot":
                places[model, fmt, "s10"] = 10 ** rng.uniform(1, 3)
    accuracies = {k: rng.choice([0.0, 0.1, 0.5, 0.95]) for k in places if k[2].startswith("u")}
    lab = made_up(empty, tmp_path / "lab.db", places, accuracies)
    mine, other = {n: row.verdict for n, row in rows(lab).items()}, verdicts(lab)
    slopes = {"3.4b", "4.4"}  # censored points: a likelihood here, none there
    assert {n: v for n, v in mine.items() if n not in slopes} == {
        n: v for n, v in other.items() if n not in slopes
    }


def test_one_bisection_decides_nothing(empty: Path, tmp_path: Path) -> None:
    lab = made_up(empty, tmp_path / "lab.db", {(T, "cot", "u10"): 100, (T, "acot", "u10"): 900})
    with sqlite3.connect(lab) as connection:
        connection.execute("UPDATE job SET estimate = NULL WHERE format = 'cot'")
    connection.close()
    row = rows(lab)["3.1"]
    assert (row.verdict, row.comparisons[0].why) == ("open", intervals.ONE_BISECTION)
    assert verdicts(lab)["3.1"] == "open"


def test_kappa_of_mixed_parts_says_which_have_no_interval(empty: Path, tmp_path: Path) -> None:
    lab = made_up(empty, tmp_path / "lab.db", kappas(T, "cot", 0.2))
    with sqlite3.connect(lab) as connection:
        connection.execute("UPDATE job SET estimate = NULL WHERE format = 'cot' AND length = 9")
    connection.close()
    row = rows(lab)["4.2"]
    assert row.verdict == "open"
    assert row.comparisons[0].why == f"N*_9: {intervals.ONE_BISECTION}"


def test_unequal_settings_are_not_compared(tmp_path: Path) -> None:
    text = STUDY.split("[[sweep]]")[0] + "".join(
        f"""
[[sweep]]
m = 3
model = "transformer"
format = "{fmt}"
L = 10
min_length = 8
measure = "joint"
{SETTINGS.replace("1e-2 }", eps + " }")}"""
        for fmt, eps in (("cot", "1e-2"), ("acot", "1e-3"))
    )
    empty = tmp_path / "empty.db"
    submit(empty, parse(text))
    places = {(T, "cot", "u10"): 100.0, (T, "acot", "u10"): 900.0}
    row = rows(made_up(empty, tmp_path / "lab.db", places))["3.1"]
    assert (row.verdict, row.missing) == ("not measured", ("transformer: cot < acot",))


@pytest.mark.parametrize(
    ("strategy", "seeds", "share"),
    [("adaptive", 1, 2), ("adaptive", 2, 4), ("adaptive", 3, 8), ("adaptive", 5, 8), ("log", 2, 8),
     ("paper", 5, 0), ("scan", 5, 0)],
)  # fmt: skip
def test_what_a_search_without_success_bounds(strategy: Any, seeds: int, share: int) -> None:
    """All its seeds at and above the end would fail with less than 10 % if N* lay there."""
    job = paper_job(
        grid=Grid(learning_rates=(1e-2,), seeds=tuple(range(seeds))),
        search=Search(strategy=strategy, n_max=4096),
    )
    part = nstar(None, 4096, None, n_max=4096)
    found = intervals.of_nstar(part, job)
    assert found.low == (4096 / share if share else 0)
    assert bool(found.why) == (share == 0)
    if share:
        each = seeds if strategy == "log" else max(3, seeds)
        tried = each * (int(math.log2(share)) + 1)
        assert 0.5 ** (tried / seeds) <= 0.1 < 0.5 ** ((tried - each) / seeds)


def test_the_interval_of_an_accuracy() -> None:
    """A binomial's: of 2,000, chance 1/3, scipy's own Wilson interval."""
    from scipy.stats import binomtest

    told = binomtest(1800, 2000).proportion_ci(0.90, "wilson")
    found = intervals.of_accuracy((0.9 - 1 / 3) / (2 / 3), 1 / 3, 2000)
    assert found.low == pytest.approx((told.low - 1 / 3) / (2 / 3), abs=1e-6)
    assert found.high == pytest.approx((told.high - 1 / 3) / (2 / 3), abs=1e-6)


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


def test_the_presets_stand_where_they_should() -> None:
    paper, quick = load("paper"), load("quick")
    assert isinstance(paper, Study)
    assert isinstance(quick, Study)
    few = [j for sweep in paper.sweep for j in next(iter(sweep.cells())).jobs]
    assert few
    assert all(differences(j) == () for j in few)
    assert all(differences(j) for j in quick.jobs())


def test_the_command_tells_every_statement(
    empty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = made_up(empty, tmp_path / "lab.db", all_of(GOOD_ORDER, kappas(T, "cot", 0.28)))
    assert main(["--lab", str(lab), "--read-only", "compare", "paper"]) == 0
    told = capsys.readouterr().out
    assert "2 confirmed" in told.splitlines()[0]
    assert "at reduced settings" in told.splitlines()[0]
    assert "kappa = 0.28" in told
    assert main(["--lab", str(lab), "--read-only", "compare", "paper", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["counts"]["confirmed"] == 2
    (found,) = [s for s in data["statements"] if s["published"]["number"] == "4.2"]
    assert "arXiv:2602.18333" in found["published"]["source"]
    assert found["comparisons"][0]["holds"] is True
    assert len(found["jobs"]) == 4
    page = (tmp_path / "out").with_suffix(".md")
    assert main(["--lab", str(lab), "--read-only", "compare", "paper", "--out", str(page)]) == 0
    text = page.read_text("utf-8")
    assert text.count("\n| 3.") == 6
    assert "confirmed" in text
    capsys.readouterr()
    assert main(["--lab", str(lab), "--read-only", "compare", "paper", "--out", str(tmp_path / "x.pdf")]) == 2
    assert "expected a new file that ends in .md" in capsys.readouterr().err


def test_settings_of_a_row(empty: Path, tmp_path: Path) -> None:
    found = rows(made_up(empty, tmp_path / "lab.db", GOOD_ORDER))
    row = found["3.4a"]
    assert row.settings == "reduced"
    assert "steps 2,000 (paper: 250,000)" in row.differences
    assert found["3.1"].settings == "unknown"
    assert sum(counts(found.values()).values()) == 11


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


def test_the_committed_study_decides_eight_and_the_second_script_agrees(tmp_path: Path) -> None:
    study = Path(published.__file__).parents[2] / "docs" / "labs" / "laptop.db"
    assert study.stat().st_size < 5_000_000
    lab = Path(shutil.copy(study, tmp_path / "lab.db"))
    found = rows(lab)
    assert {number: row.verdict for number, row in found.items()} == verdicts(lab)
    told = counts(found.values())
    assert told["confirmed"] + told["contradicted"] >= 8
    with open_lab(lab) as opened:
        asked = load("laptop").jobs()  # type: ignore[union-attr]
        assert {job.hash for job in opened.jobs()} == {job.hash for job in asked}
        assert {job.state for job in opened.jobs()} == {"done"}
