"""The spec of a program: what it makes, and the one sentence for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.spec import Job, NamedJob, SpecError, Study, parse, to_toml, with_keys
from tests.programs.conftest import HEAD, TAIL, Made

STUDY = '[[sweep]]\ndataset = ["a", "b"]\nsize = [8, 16]\n'
SWEPT = HEAD.replace('"{lr}"', '"{lr}", "{dataset}", "{size}"')
SHARING = '[sharing]\nover = "dataset"\nparts = ["a", "b"]\njoint = "a,b"\n'


@pytest.fixture(autouse=True)
def _script(tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text("true")
    (tmp_path / "model.py").write_text("def train(n, lr, seed=0, *, depth=3):\n    pass\n")


def read(text: str, folder: Path) -> NamedJob | Study:
    return parse(text, source="spec.toml", folder=folder)


def test_a_program_alone_is_a_job(tmp_path: Path) -> None:
    spec = read(HEAD + TAIL, tmp_path)
    assert isinstance(spec, NamedJob)
    job = spec.job
    assert job.program is not None
    assert list(job.program.files) == ["train.sh"]
    assert job.grid.learning_rates == (1.0, 2.0)
    assert [job.grid.setting(x) for x in job.grid.learning_rates] == [{"lr": 0.1}, {"lr": 0.2}]
    assert (job.n_max, job.capped, job.coarse) == (1000, False, False)
    assert job.bound > -0.9 > job.bound - 1e-9


def test_it_reads_back_from_json_and_from_toml(tmp_path: Path) -> None:
    spec = read(HEAD + TAIL, tmp_path)
    assert isinstance(spec, NamedJob)
    assert Job.from_json(spec.job.to_json()) == spec.job
    again = parse(to_toml(spec))
    assert isinstance(again, NamedJob)
    assert again.job.hash == spec.job.hash


def test_axes_of_any_name_are_cells(tmp_path: Path) -> None:
    spec = read('name = "s"\n' + SWEPT + STUDY + TAIL, tmp_path)
    assert isinstance(spec, Study)
    assert [job.task.label for job in spec.jobs()] == ["a size=8", "a size=16", "b size=8", "b size=16"]


def test_sharing_is_over_any_axis(tmp_path: Path) -> None:
    spec = read('name = "s"\n' + SWEPT + "[[sweep]]\nsize = [8, 16]\n" + SHARING + TAIL, tmp_path)
    assert isinstance(spec, Study)
    cells = spec.cells()
    assert [[p.job.task.label for p in cell.parts] for cell in cells] == [
        ["size=8 a", "size=8 b"],
        ["size=16 a", "size=16 b"],
    ]
    assert cells[0].joint.job.task.label == "size=8 a,b"
    assert len(spec.jobs()) == spec.sweep[0].n_jobs == 6


@pytest.mark.parametrize(
    ("more", "same"),
    [
        ("timeout = 7", True),
        ("grace = 1", True),
        ("slots = 2", True),
        ('name = "other"', True),
        ("resume = true", True),
        ('read = "accuracy ([0-9.]+)"', False),
        ('env = {DEPTH = "3"}', False),
        ('files = ["model.py"]', False),
    ],
)
def test_the_hash_holds_what_defines_the_number(more: str, same: bool, tmp_path: Path) -> None:
    one, other = read(HEAD + TAIL, tmp_path), read(HEAD + more + TAIL, tmp_path)
    assert isinstance(one, NamedJob)
    assert isinstance(other, NamedJob)
    assert (one.job.hash == other.job.hash) == same


def test_the_hash_holds_the_files(tmp_path: Path) -> None:
    hashes = set()
    for text in ("true", "false"):
        (tmp_path / "train.sh").write_text(text)
        spec = read(HEAD + TAIL, tmp_path)
        assert isinstance(spec, NamedJob)
        hashes.add(spec.job.hash)
    assert len(hashes) == 2


def test_set_changes_a_program(tmp_path: Path) -> None:
    spec = with_keys(read(HEAD + TAIL, tmp_path), ["program.threshold=0.8", "search.n_max=50"])
    assert isinstance(spec, NamedJob)
    assert spec.job.program is not None
    assert (spec.job.program.threshold, spec.job.n_max) == (0.8, 50)


def test_a_program_is_not_tested_at_twice_its_length(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="generalisation is true"):
        with_keys(read(HEAD + TAIL, tmp_path), ["generalisation=true"])


FUNCTION = HEAD.replace('command = ["sh", "train.sh", "{n}", "{seed}", "{lr}"]', 'function = "model:train"')


def test_a_function_takes_its_values_by_name(tmp_path: Path) -> None:
    spec = read(FUNCTION + TAIL, tmp_path)
    assert isinstance(spec, NamedJob)
    assert spec.job.program is not None
    assert list(spec.job.program.files) == ["model.py"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD.replace("{lr}", "{rate}") + TAIL, "has the placeholder {rate}, which nothing fills"),
        (
            HEAD.replace(', "{lr}"', "") + TAIL,
            "the axis 'lr' fills no placeholder; expected {lr} in the command",
        ),
        (HEAD.replace("{n}", "10") + TAIL, "the program takes no {n}"),
        (HEAD.replace("train.sh", "trane.sh") + TAIL, "program.command names 'trane.sh', which is not in"),
        (HEAD + 'files = ["data.csv"]' + TAIL, "data.csv cannot be read in"),
        (HEAD + 'files = ["*.csv"]' + TAIL, "'*.csv', which names no file"),
        (HEAD + 'cwd = "nowhere"' + TAIL, "program.cwd is 'nowhere', which is no folder"),
        (HEAD + 'read = "accuracy [0-9]+"' + TAIL, "program.read has 0 groups; expected one"),
        (HEAD + 'read = "(("' + TAIL, "program.read is no regular expression"),
        (HEAD + 'read = "json:"' + TAIL, "program.read is 'json:'; expected json:KEY"),
        (HEAD + f'cwd = "{"x" * 5000}"' + TAIL, "which is no folder"),
        (HEAD + f'files = ["{"x" * 300}"]' + TAIL, "cannot be read in"),
        (HEAD + 'files = ["../**/no file is called so*"]' + TAIL, "which names no file"),
        (HEAD + 'files = ["/dev/zero"]' + TAIL, "no ordinary file"),
        (HEAD + 'env = {"A B" = "1"}' + TAIL, "program.env has 'A B'; expected a variable's name"),
        (HEAD + 'env = {A = "{rate}"}' + TAIL, "placeholder {rate}, which nothing fills"),
        (HEAD + 'env = {A = "\\u0000"}' + TAIL, "holds a null character"),
        (HEAD + "timeout = -1" + TAIL, "program.timeout is -1; expected more than 0"),
        (HEAD + "grace = nan" + TAIL, "program.grace is nan; expected a finite number"),
        (HEAD + "slots = 0" + TAIL, "program.slots is 0; expected at least 1"),
        (HEAD.replace('"accuracy"', '"\u00e9"') + TAIL, "expected a key of its reports"),
        (HEAD.replace('"accuracy"', "3") + TAIL, "program.metric is 3; expected a text"),
        (HEAD.replace("0.9", '"high"') + TAIL, "program.threshold is 'high'; expected a number"),
        (HEAD.replace("0.9", "nan") + TAIL, "program.threshold is nan; expected a finite number"),
        (HEAD.replace('"sh"', '""') + TAIL, "begins with '', which is no program"),
        (HEAD.replace('"sh"', '"{seed}"') + TAIL, "begins with '{seed}', which is no program"),
        (HEAD.replace('"sh"', '"no-such-program"') + TAIL, "which is not on the PATH"),
        (HEAD.replace('"sh", "train.sh"', '"./train.sh"') + TAIL, "which may not be executed"),
        (HEAD.replace("[", '"').replace("]", '"', 1) + TAIL, "not valid TOML"),
        (HEAD.replace("[program]", "[[program]]") + TAIL, "program is not a table"),
        (HEAD + TAIL.replace("0.1, 0.2", ""), "lr has no plain values"),
        (HEAD + TAIL.replace("0.1, 0.2", "inf"), "lr has no plain values"),
        (HEAD + TAIL.replace("0.1, 0.2", "[0.1]"), "lr has no plain values"),
        (HEAD + TAIL.replace("seed = [1, 2]", "seed = []"), "grid.seed has no values"),
        (HEAD + TAIL.replace("seed = [1, 2]", "seed = [1, 1]"), "grid.seed has the same value twice"),
        (HEAD + TAIL.replace("seed =", "seeds = [3]\nseed ="), "grid has both seed and seeds"),
        (HEAD + 'function = "model:train"' + TAIL, "both command and function"),
        (HEAD.replace('goal = "max"', "") + TAIL, "program.goal is missing"),
        (
            HEAD.replace("threshold", "treshold") + TAIL,
            "unknown key program.treshold; did you mean 'threshold'?",
        ),
        (HEAD + TAIL.replace("n_max = 1000", ""), "n_max is missing; expected the most examples"),
        (HEAD + TAIL + "eps = 0.1", "search.eps is not of a program; expected program.threshold"),
        (HEAD + TAIL + 'criterion = "accuracy"', "search.criterion is not of a program"),
        (HEAD + TAIL.replace("lr =", "n ="), "grid.n is filled by labtui"),
        (HEAD + TAIL.replace("0.1, 0.2", "0.1, 0.1"), "lr has the same value twice"),
        (
            HEAD.replace('"{seed}", ', "") + TAIL.replace("seed = [1, 2]", "") + 'strategy = "adaptive"',
            "the strategy 'adaptive' takes fresh seeds, and the program takes none",
        ),
        (FUNCTION.replace(":train", ":fit") + TAIL, "model.py has no function 'fit'"),
        (FUNCTION.replace("model:", "modle:") + TAIL, "has no modle.py"),
        (FUNCTION + TAIL + "[[sweep]]\nwidth = 3", "the axis 'width' fills no placeholder"),
        (
            'name = "s"\n' + SWEPT + SHARING.replace('over = "dataset"', 'over = "n"') + TAIL,
            "sharing.over is 'n'",
        ),
        (
            'name = "s"\n' + SWEPT + STUDY + SHARING + TAIL,
            "sharing.over is 'dataset', which the sweep has too",
        ),
        (
            'name = "s"\n' + SWEPT + SHARING.replace('"a", "b"', '"a"') + TAIL,
            "sharing has no parts and joint",
        ),
        ('name = "s"\n' + SWEPT + "[sharing]\n" + TAIL, "sharing.over is missing"),
        (
            'name = "s"\n' + SWEPT + SHARING.replace('"a", "b"', '"a", "a"') + TAIL,
            "sharing.parts and joint have the same value twice",
        ),
    ],
)
def test_a_mistake_is_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        read(text, tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("spec.toml")


def test_reading_a_spec_runs_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("open('ran', 'w')\ndef train(n, lr, seed):\n    pass\n")
    read(FUNCTION + TAIL, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_braces_stand_for_themselves(made: Made) -> None:
    job = made(head=HEAD.replace('"{lr}"', '"{lr}", "{{n}} {\\"a\\": 1}"'))
    assert job.program is not None
    assert job.program.placeholders == ("n", "seed", "lr")
