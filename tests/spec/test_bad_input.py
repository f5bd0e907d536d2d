"""Every bad input is one sentence with the place and what was expected;
nothing a file holds makes a traceback.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.presets import preset_names
from runners.spec import SpecError, load, parse
from runners.spec.sentences import line_of

QUICK = (Path(__file__).parent / "two_sweeps.toml").read_text("utf-8")
"""A study of two sweeps and two models, in which one thing at a time is made wrong."""
JOB = """
[job]
m = 3
format = "acot"
model = { kind = "lstm", hidden = 4 }
lengths = { distribution = "uniform", length = 5 }
"""


def problem(text: str, folder: Path | None = None) -> str:
    with pytest.raises(SpecError) as caught:
        parse(text, source="x.toml", folder=folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.isprintable()
    return sentence


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("m = 3", "m = 1", "sweep[0].m is 1; expected at least 2"),
        ("m = 3", "m = [2, 1]", "sweep[0].m[1] is 1; expected at least 2"),
        ("m = 3", "m = 2.0", "sweep[0].m is 2.0; expected an integer"),
        ("m = 3", "m = 3\ntask = { k = 9 }", "sweep has both m and task; expected one of them"),
        (
            "m = 3",
            'task = { kind = "permutation_composition", k = 9 }',
            "sweep[0].task.k is 9; expected at most 6",
        ),
        (
            "m = 3",
            'task = { kind = "product", factors = [{ kind = "dihedral", n = 40 }, '
            '{ kind = "modular_addition", m = 13 }] }',
            "sweep[0].task.factors make a product of 1040 tokens; expected at most 1000",
        ),
        ("L = 7", "L = 1", "sweep[0].L is 1; expected at least 2"),
        ("L = 7", "L = [5, 5]", "sweep[0].L has the same value twice; expected distinct values"),
        ("L = 7", "L = '7'", "sweep[0].L is '7'; expected an integer"),
        ("L = 7", "LL = 7", "unknown key sweep[0].LL; did you mean 'L'?"),
        ("min_length = 4", "min_length = 9", "sweep[1].min_length is 9; expected at most L = 6"),
        (
            'format = "acot"',
            'format = "acott"',
            "sweep[0].format is 'acott'; expected 'outcome', 'cot', 'acot' or 'icot'",
        ),
        ('format = "acot"', "format = []", "sweep[0].format has no values; expected at least 1"),
        ("hidden = 16", "hiden = 16", "unknown key models.dense_ssm.hiden; did you mean 'hidden'?"),
        ("hidden = 16", "hidden = 0", "models.dense_ssm.hidden is 0; expected at least 1"),
        ("hidden = 16", "hidden = true", "models.dense_ssm.hidden is true; expected an integer"),
        ("heads = 4", "heads = 5", "models.transformer.heads is 5; expected a divisor of d = 32"),
        (
            'model = "dense_ssm"',
            'model = "x"',
            "sweep[0].model is 'x'; expected an inline table or one of the [models.NAME]",
        ),
        (
            'model = "dense_ssm"',
            'model = ["dense_ssm", { kind = "lstm", hiddn = 3 }]',
            "unknown key sweep[0].model[1].hiddn; did you mean 'hidden'?",
        ),
        (
            'model = "dense_ssm"',
            'model = [{ kind = "gnu" }]',
            "sweep[0].model[0].kind is 'gnu'; expected one of 'transformer', 'lstm', 'dense_ssm', 'rnn', "
            "'gru', 'slstm', 'diagonal', 'deltanet', 'mamba', 'pd_ssm', 'plugin'",
        ),
        ("steps = 500", "steps = 500.5", "sweep[0].training.steps is 500.5; expected an integer"),
        ("eps = 1e-3", "eps = nan", "sweep[0].search.eps is nan; expected a finite number"),
        ("eps = 1e-3", "eps = -1", "sweep[0].search.eps is -1; expected more than 0"),
        (
            "eps = 1e-3",
            "strategy = 'papr'",
            "sweep[0].search.strategy is 'papr'; expected 'log', 'paper', 'adaptive' or 'scan'",
        ),
        (
            "eps = 1e-3",
            "ladder = [3, 3]",
            "sweep[0].search.ladder has the same value twice; expected distinct values",
        ),
        (
            "eps = 1e-3",
            "strategy = 'paper'\nmax_candidates = 30",
            "sweep[0].search.max_candidates is 30; expected at most 20 for the strategy 'paper'",
        ),
        ("eps = 1e-3", "n_max = 1" + "0" * 300, "; expected at most 1099511627776"),
        (
            "seeds = [10, 20, 30]",
            "seeds = [10, 10]",
            "sweep[0].grid.seeds has the same value twice; expected distinct values",
        ),
        (
            "validation_size = 256",
            "validation_size = 3",
            "sweep[0].training.validation_size is 3; expected at least one sequence for each of 6 lengths",
        ),
        ('name = "quick"', 'nam = "quick"', "unknown key nam; did you mean 'name'?"),
        ('name = "quick"', "", "name is missing; expected a value"),
        ('name = "quick"', "name = 2020-01-01", "name is a date; expected no dates"),
    ],
)
def test_the_sentence_names_key_value_and_expectation(old: str, new: str, sentence: str) -> None:
    text = QUICK.replace(old, new)
    assert text != QUICK
    assert sentence in problem(text)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("[[0, 1], [1]]", "sweep[0].task.table row 1 has 1 entries; expected 2 like row 0"),
        ("[[0], [0]]", "none is left to train on; expected at least 2, one for each token"),
        ("[[0, 2], [1, 0]]", "sweep[0].task.table[0][1] is 2; expected a state 0 to 1"),
        ("[[0, 0], [1, 0]]", "never leaves the start state; expected at least 2 states that can be reached"),
        ("[]", "table has 0 rows"),
        ("[[0, 1.5], [1, 0]]", "sweep[0].task.table[0][1] is 1.5; expected an integer"),
    ],
)
def test_tables_are_checked(table: str, sentence: str) -> None:
    assert sentence in problem(QUICK.replace("m = 3", f'task = {{ kind = "automaton", table = {table} }}', 1))


def test_a_product_of_too_many_states_is_refused_on_loading() -> None:
    ring = "{ kind = 'automaton', table = " + str([[s, (s + 1) % 72] for s in range(72)]) + " }"
    text = QUICK.replace("m = 3", f"task = {{ kind = 'product', factors = [{ring}, {ring}] }}", 1)
    assert "sweep[0].task.factors make a product of 5184 states; expected at most 5040" in problem(text)
    assert parse(text.replace(ring, "{ kind = 'modular_addition', m = 5 }", 1))


def test_a_table_file_names_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "flip.toml").write_text("start = 0\ntable = [[0, 1], [1, 2]]\n")
    text = QUICK.replace("m = 3", 'task = { kind = "automaton", file = "flip.toml" }', 1)
    assert (
        problem(text, tmp_path)
        == f"{tmp_path / 'flip.toml'}, line 2: table[1][1] is 2; expected a state 0 to 1"
    )
    (tmp_path / "flip.toml").write_text("table = [[0, 1], [1, 0], [2, 2]]\n")
    study = parse(text, folder=tmp_path)
    task = study.sweep[0].task[0]  # type: ignore[union-attr]
    assert task.label == "flip"
    assert task.unreachable == ("2",)  # type: ignore[union-attr]
    factors = '[{ kind = "modular_addition", m = 2 }, { kind = "automaton", file = "flip.toml" }]'
    within = text.replace(
        '{ kind = "automaton", file = "flip.toml" }', f'{{ kind = "product", factors = {factors} }}'
    )
    assert parse(within, folder=tmp_path).sweep[0].task[0].label == "Z2×flip"  # type: ignore[union-attr]
    (tmp_path / "flip.toml").unlink()
    assert "flip.toml: does not exist; expected a TOML file" in problem(text, tmp_path)


def test_the_line_is_the_one_that_is_wrong() -> None:
    text = QUICK.replace("heads = 4", "heads = 5")
    number = text.splitlines().index("heads = 5") + 1
    assert problem(text).startswith(f"x.toml, line {number}: ")
    second = "\n".join(QUICK.rsplit("steps = 1500", 1)).replace(
        "\n\neval_every = 50", "\nsteps = 0\neval_every = 50"
    )
    number = second.splitlines().index("steps = 0") + 1
    assert problem(second) == f"x.toml, line {number}: sweep[1].training.steps is 0; expected at least 1"


def test_job_files() -> None:
    assert parse(JOB)
    bad = JOB.replace("length = 5", "length = 5, min_length = 6")
    assert problem(bad) == "x.toml, line 6: job.lengths.min_length is 6; expected at most length = 5"
    assert "has neither a [[sweep]] nor a [job]; did you mean 'job'?" in problem(
        JOB.replace("[job]", "[jobb]")
    )
    assert "job.m is 1; expected at least 2" in problem(JOB.replace("m = 3", "m = 1"))
    assert (
        "job.training.validation_size is 2; expected at least one sequence for each of 4 lengths"
        in problem(JOB + "[job.training]\nvalidation_size = 2\n")
    )


def test_neither_preset_nor_file() -> None:
    told = "no preset and no file is called 'papr'; expected a TOML file or one of: demo, laptop, paper"
    with pytest.raises(SpecError, match=told):
        load("papr")


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_valid(name: str) -> None:
    study = load(name)
    assert study.name == name
    assert study.jobs()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "a = 1" + "0" * 6000,
        ".".join("a" * 100_000) + " = 1",
        "x = {" + ".".join("a" * 10_000) + " = 1}",
        "sweep = " + "[" * 5000,
        "sweep = 3",
        "sweep = []",
        "sweep = [3]",
        "job = 3",
        "job = {}",
        "models = 3\n[[sweep]]\nm = 3",
        '"\x1b[31m" = 1',
        '"\\u202e\\u001b[31m" = 1\n[[sweep]]\nm = 3',
        "[[sweep]]\nm = 3\nm = 4",
        "[[sweep]]\nm = inf\nL = nan",
        '[[sweep]]\ntask = { kind = "product", factors = [{ kind = "product", factors = [] }] }',
        '[[sweep]]\ntask = { kind = "plugin", name = "nobody" }',
        '[[sweep]]\ntask = { kind = "plugin", name = 3 }',
        '[[sweep]]\ntask = { kind = "automaton", file = "/" }',
        '[[sweep]]\ntask = { kind = "automaton", file = 3 }',
    ],
)
def test_hostile_files_end_in_a_sentence(text: str) -> None:
    assert problem(text)


def test_a_study_too_large_is_refused_before_it_expands() -> None:
    text = QUICK.replace("m = 3", f"m = {list(range(2, 900))}", 1).replace("L = 7", "L = [9000, 9500]", 1)
    assert "expands to" in problem(text)


VALUES = st.recursive(
    st.none().map(lambda _: "''")
    | st.booleans().map(lambda b: str(b).lower())
    | st.integers(-(2**70), 2**70).map(str)
    | st.sampled_from(
        ["nan", "inf", "-inf", "1e-3", "0.5", "1979-05-27", "07:32:00", "'acot'", "'dense_ssm'", "''"]
    )
    | st.text("abc'\\ é\u202e", max_size=5).map(lambda s: '"' + s.replace("\\", "").replace('"', "") + '"'),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda v: "[" + ", ".join(v) + "]")
        | st.dictionaries(
            st.sampled_from(["kind", "m", "k", "table", "hidden", "x", "factors"]), inner, max_size=3
        ).map(lambda d: "{" + ", ".join(f"{k} = {v}" for k, v in d.items()) + "}")
    ),
    max_leaves=6,
)


@given(line=st.integers(0, QUICK.count("\n")), value=VALUES, drop=st.booleans())
def test_any_value_in_any_place_never_makes_a_traceback(line: int, value: str, drop: bool) -> None:
    lines = QUICK.splitlines()
    if line < len(lines) and "=" in lines[line]:
        lines[line] = "" if drop else lines[line].split("=")[0] + "= " + value
    with contextlib.suppress(SpecError):
        parse("\n".join(lines), source="x.toml")


@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=60) | st.text("[]{}=.\"'\n#abm3,_ ", max_size=60)
)
def test_any_text_never_makes_a_traceback(text: str) -> None:
    with contextlib.suppress(SpecError):
        parse(text, source="x.toml")


@given(st.text(max_size=200), st.lists(st.text(max_size=4) | st.integers(0, 3), max_size=4))
def test_line_of_takes_anything(text: str, keys: list[str | int]) -> None:
    line = line_of(text, keys)
    assert line is None or 1 <= line <= len(text.splitlines())


@pytest.mark.timeout(60)
def test_a_file_with_very_many_problems_is_told_the_first() -> None:
    seeds = ", ".join(['"x"'] * 40_000)
    assert problem(JOB + f"grid = {{ learning_rates = [1e-2], seeds = [{seeds}] }}\n").startswith(
        "x.toml, line 7: job.grid.seeds[0] is"
    )
