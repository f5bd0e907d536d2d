"""A search back to TOML, keys set with checks, in what two differ, what is told before it is queued."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.spec import (
    LSTM,
    Automaton,
    DenseSSM,
    Dihedral,
    Grid,
    Job,
    Lengths,
    ModularAddition,
    NamedJob,
    PermutationComposition,
    Product,
    Search,
    SpecError,
    Study,
    Training,
    Transformer,
    advice,
    differences,
    load,
    parse,
    to_toml,
    with_keys,
)

TABLE = Automaton(name='odd "one" \u00e9 \x7f', table=((0, 1), (1, 0)))


def job(**values: Any) -> Job:
    base: dict[str, Any] = {
        "task": ModularAddition(m=5), "model": LSTM(hidden=8), "format": "acot",
        "lengths": Lengths(distribution="fixed", length=4),
    }  # fmt: skip
    return Job(**base | values)


@pytest.mark.parametrize(
    "task",
    [ModularAddition(m=3), PermutationComposition(k=4), Dihedral(n=4), TABLE,
     Product(factors=(ModularAddition(m=2), TABLE))],
    ids=lambda t: t.kind,
)  # fmt: skip
@pytest.mark.parametrize(
    "model",
    [LSTM(hidden=4, init_std=0.1), DenseSSM(hidden=3), Transformer(layers=1, d=8, heads=2, dropout=0.1)],
    ids=lambda m: m.kind,
)  # fmt: skip
def test_toml_reads_back_as_the_same_search(task: Any, model: Any) -> None:
    one = job(
        task=task, model=model, format="cot", lengths=Lengths(distribution="uniform", length=7, min_length=3),
        grid=Grid(learning_rates=(1e-5, 0.02), seeds=(1, 2)), generalisation=True,
        training=Training(steps=10, eval_every=3, validation_size=64),
        search=Search(strategy="adaptive", eps=3e-7, n_max=99, seed_budget=9),
    )  # fmt: skip
    named = NamedJob(name='a "b"\n\t\\c', notes="two\nlines", tags=("x",), priority=-3, job=one)
    back = parse(to_toml(named))
    assert back == named
    assert isinstance(back, NamedJob)
    assert back.job.hash == one.hash


@given(st.floats(1e-300, 1e300), st.text(max_size=80))
def test_any_number_and_any_name_survive(eps: float, name: str) -> None:
    name = name.encode("utf-8", "ignore").decode()
    named = NamedJob(name=name, job=job(search=Search(eps=eps)))
    assert parse(to_toml(named)) == named


def test_every_search_of_the_presets_reads_back() -> None:
    for preset in ("quick", "demo"):
        study = load(preset)
        assert isinstance(study, Study)
        for one in study.jobs():
            back = parse(to_toml(NamedJob(job=one)))
            assert isinstance(back, NamedJob)
            assert back.job.hash == one.hash


def test_a_key_is_set_and_checked() -> None:
    named = NamedJob(name="x", job=job())
    changed = with_keys(
        named, ["search.eps=0.03", "m=7", "format=cot", "name=again", "grid.seeds=[1, 2]", "L=5"]
    )
    assert isinstance(changed, NamedJob)
    assert changed.name == "again"
    assert changed.job == job(
        search=Search(eps=0.03), task=ModularAddition(m=7), format="cot", grid=Grid(seeds=(1, 2)),
        lengths=Lengths(distribution="fixed", length=5),
    )  # fmt: skip
    assert with_keys(named, ["job.search.eps = 1e-3"]).job.search.eps == 1e-3  # type: ignore[union-attr]
    assert with_keys(named, []) == named
    assert with_keys(named, ["lengths={distribution='uniform', length=6}"]).job.lengths.min_length == 2  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("search.epz=0.03", "unknown key job.search.epz; did you mean 'eps'?"),
        ("search.eps=-1", "job.search.eps is -1; expected more than 0"),
        ("search.eps=cheap", "job.search.eps is 'cheap'; expected a number"),
        ("search.eps=nan", "expected a finite number"),
        ("search.eps=2026-01-01", "expected a number"),
        ("search.eps", "is no KEY=VALUE"),
        ("=3", "is no KEY=VALUE"),
        ("search..eps=3", "is no KEY=VALUE"),
        ("format=cott", "expected 'outcome', 'cot', 'acot' or 'icot'"),
        ("model.hidden.x=3", "no table"),
        ("m=1", "is 1; expected at least 2"),
        ("training.validation_size=0", "expected at least 1"),
        ("grid.seeds=[1, 1]", "same value twice"),
        ("job=3", "job"),
        ("search=[", "search is '['; expected a table"),
    ],
)
def test_a_wrong_setting_is_told_in_one_sentence(setting: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        with_keys(NamedJob(job=job()), [setting])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert setting.split("=")[0].strip() in str(caught.value)


def test_a_study_is_set_in_every_sweep_and_its_joint_section() -> None:
    study = load("quick")
    changed = with_keys(study, ["search.eps=0.03", "L=7", "priority=2"])
    assert isinstance(changed, Study)
    assert {one.search.eps for one in changed.jobs()} == {0.03}
    assert all(sweep.L == (7,) for sweep in changed.sweep)
    assert changed.priority == 2
    again = with_keys(study, ["sweep.model.hidden=3"] * 0 + ["training.steps=7"])
    assert {one.training.steps for one in again.jobs()} == {7}  # type: ignore[union-attr]
    with pytest.raises(SpecError, match="unknown key"):
        with_keys(study, ["search.epz=0.03"])


def test_differences_name_what_differs() -> None:
    one, two = job(), job(search=Search(eps=0.03), grid=Grid(seeds=(1,)))
    assert differences(one, one) == ()
    assert differences(two, one) == (
        ("grid.seeds", "[1]", "[10, 20, 30, 40, 50]"),
        ("search.eps", "0.03", "0.0001"),
    )
    other = {k: (here, there) for k, here, there in differences(job(model=DenseSSM(hidden=8)), one)}
    assert other["model.kind"] == ("dense_ssm", "lstm")
    assert other["model.init_scale"] == ("1.0", "none")


def test_coarse_searches_are_told_and_flagged() -> None:
    parity = load_text("m = 2\nmodel = {kind = 'lstm', hidden = 8}\nformat = 'acot'\nL = 5")
    told = "\n".join(advice(parity))
    assert "task Z2: fewer than 20 sequences can train at length 2 (3), 3 (7), 4 (13)" in told
    assert {one.lengths.length for one in parity.jobs() if one.coarse} == {2, 3, 4}
    assert "capped" not in told
    low = load_text("m = 9\nmodel = {kind = 'lstm', hidden = 8}\nformat = 'acot'\nL = 4\nsearch.n_max = 9")
    assert "N_max is 9 in 4 jobs; expected at least 10" in "\n".join(advice(low))
    fine = load_text("m = 9\nmodel = {kind = 'lstm', hidden = 8}\nformat = 'acot'\nL = 4")
    assert advice(fine) == ()
    assert not any(one.coarse for one in fine.jobs())


def load_text(sweep: str) -> Study:
    study = parse(f"name = 'x'\n[[sweep]]\n{sweep}\n")
    assert isinstance(study, Study)
    return study


def test_the_command_warns_of_coarse_lengths(tmp_path: Path) -> None:
    spec = tmp_path / "parity.toml"
    text = "name = 'p'\n[[sweep]]\nm = 2\nmodel = {kind = 'lstm', hidden = 8}\nformat = 'acot'\nL = 5\n"
    spec.write_bytes(b"\xef\xbb\xbf" + text.encode())
    done = subprocess.run(
        [sys.executable, "-m", "labtui", "--lab", str(tmp_path / "a.db"), "submit", str(spec), "--dry-run"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "fewer than 20 sequences can train at length 2 (3), 3 (7), 4 (13)" in done.stdout + done.stderr
    assert not (tmp_path / "a.db").exists()


def test_a_bom_is_read() -> None:
    assert parse("\ufeff" + to_toml(NamedJob(job=job()))) == NamedJob(job=job())


UNUSED = (
    "name = 'x'\n[models.used]\nkind = 'lstm'\nhidden = 8\n[models.other]\n{}\n"
    + "[[sweep]]\nm = 9\nmodel = 'used'\nformat = 'acot'\nL = 4\n"
)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("kind = 'lstm'\nhiden = 8", "line 7: unknown key models.other.hiden; did you mean 'hidden'?"),
        ("kind = 'lstn'", "models.other.kind is 'lstn'; expected one of"),
        ("hidden = 8", "models.other.kind is missing"),
        ("kind = 'transformer'\nd = 8\nheads = 3", "heads is 3; expected a divisor of d = 8"),
    ],
)
def test_a_model_that_nothing_names_is_checked(table: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(UNUSED.format(table))
    assert words in str(caught.value)
    assert parse(UNUSED.format("kind = 'lstm'"))


def test_a_plugin_that_is_not_installed_is_told_where_it_is_queued() -> None:
    plugin = "{kind = 'plugin', name = 'nowhere', version = '1'}"
    for text in (
        f"name = 'x'\n[[sweep]]\nm = 9\nmodel = {plugin}\nformat = 'acot'\nL = 4\n",
        f"[job]\nm = 9\nmodel = {plugin}\nformat = 'acot'\n"
        "lengths = {distribution = 'fixed', length = 4}\n",
    ):
        with pytest.raises(SpecError, match="no plugin called 'nowhere' in "):
            parse(text)
    with pytest.raises(SpecError, match="nowhere"):
        with_keys(NamedJob(job=job()), [f"model={plugin}"])
