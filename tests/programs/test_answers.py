"""What the bench answers about programs: kappa over any axis, fits, tables, screens as text."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from labtui.__main__ import main
from labtui.analysis.fits import Fit, fit_all
from labtui.analysis.kappa import kappa
from labtui.analysis.points import points
from labtui.analysis.table import value_of
from labtui.export import records
from labtui.tui.app import LabApp
from labtui.tui.screens.scaling import ScalingRequest
from labtui.views.heat import heat_map
from labtui.views.job import loss_plot
from labtui.views.kappa import kappa_lines
from labtui.views.lines import plain
from labtui.views.metric import metric, settings
from runners.programs import consent
from runners.spec import NamedJob, Study
from store.check import check
from store.read import open_lab
from tests.programs.conftest import HEAD, spec_of
from tests.support import labs
from tests.tui.conftest import until

SCRIPT = """
case "$2" in a) t=8;; b) t=12;; *) t=10;; esac
t=$((t * $3))
echo '{"step": 1, "accuracy": 0.5}' >> "$LABTUI_REPORT"
if [ "$1" -ge $t ]; then echo '{"step": 2, "accuracy": 0.95}' >> "$LABTUI_REPORT"; fi
"""
SPEC = (
    'name = "shares"\n'
    + HEAD.replace('"{seed}", "{lr}"', '"{dataset}", "{size}", "{lr}"')
    + "[[sweep]]\nsize = [1, 2, 4, 8]\n"
    + '[sharing]\nover = "dataset"\nparts = ["a", "b"]\njoint = "a,b"\n'
)
TAIL = "[grid]\nlr = 0.1\n[search]\nn_max = 128\nrtol = 0.0\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab whose program needs 8 of a, 12 of b and 10 of both together, times its size."""
    folder = tmp_path_factory.mktemp("shared")
    spec = spec_of(folder / "work", SCRIPT, head=SPEC, tail=TAIL)
    assert isinstance(spec, Study)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        consent.allow(spec.jobs())
        labs.make(folder / "lab.db", spec)
        with labs.supervisor(folder / "lab.db") as running:
            assert running.ended(100) == 0, running.log
    return folder / "lab.db"


def test_kappa_is_the_sum_of_the_parts_over_the_joint_one(shared: Path) -> None:
    with open_lab(shared) as lab:
        cells = lab.cells()
    assert [(c.over, c.axes) for c in cells] == [("dataset", (("size", s),)) for s in ("1", "2", "4", "8")]
    assert [[p.name for p in c.parts] for c in cells] == [["a", "b"]] * 4
    assert [kappa(c).value for c in cells] == [2.0] * 4
    assert [t.label for t in kappa(cells[0]).terms] == ["a", "b"]
    assert check(shared, replay=labs.replay_stored) == []


def test_the_table_takes_any_axes(shared: Path) -> None:
    with open_lab(shared) as lab:
        cells = lab.cells()
    lines = kappa_lines(cells, details=True)
    assert lines[0] == "kappa, model shares, over dataset"
    assert lines[1].split() == ["size", "accuracy"]
    assert any(line.split()[:2] == ["a", "8"] for line in lines)
    assert any(line.split()[:2] == ["joint", "10"] for line in lines)
    turned = kappa_lines(cells, "format", "size")
    assert turned[1].split() == ["format", "1", "2", "4", "8"]
    with pytest.raises(ValueError, match="min_length, size"):
        kappa_lines(cells, "sizes")
    assert json.loads(json.dumps(kappa(cells[0]).to_dict()))["over"] == "dataset"


def test_a_law_is_fitted_over_any_numeric_axis(shared: Path) -> None:
    with open_lab(shared) as lab:
        jobs = lab.jobs()
        measured = points(jobs, lab.axes(job.id for job in jobs))
        joint = points(lab.cells())
    assert {(p.series.x, p.L) for p in measured} == {("size", s) for s in (1, 2, 4, 8)}
    laws = {law.series.family: law for law in fit_all(measured)}
    assert set(laws) == {"a", "b", "a,b"}
    law = laws["a"]
    assert isinstance(law, Fit)
    assert law.a is not None
    assert 0.95 < law.a.value < 1.05
    assert " size^" in law.text()
    assert [p.series.family for p in joint] == [""] * 4


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab of three numeric axes and one that stands still: N* = width * depth ** 2 + noise."""
    folder = tmp_path_factory.mktemp("swept")
    axes = {"fixed": [3], "width": [2, 4, 8], "depth": [1, 2, 4], "noise": [1, 50]}
    words = "".join(f', "{{{name}}}"' for name in axes)
    head = 'name = "axes"\n' + HEAD.replace(', "{seed}", "{lr}"', words) + "[[sweep]]\n"
    head += "".join(f"{name} = {values}\n" for name, values in axes.items())
    spec = spec_of(folder / "work", "true", head=head, tail="[search]\nn_max = 200\n")
    assert isinstance(spec, Study)
    labs.make(folder / "lab.db", spec)
    with closing(sqlite3.connect(folder / "lab.db")) as connection, connection:
        for (job_id,) in connection.execute("SELECT id FROM job").fetchall():
            [text] = connection.execute("SELECT spec FROM job_text WHERE job_id = ?", (job_id,)).fetchone()
            v = json.loads(text)["task"]["values"]
            n = v["width"] * v["depth"] ** 2 + v["noise"]
            connection.execute(
                "UPDATE job SET state = 'done', status = 'bracket', lo = ?, hi = ? WHERE id = ?",
                (n - 1, n, job_id),
            )
    return folder / "lab.db"


@pytest.mark.parametrize(
    ("x", "first", "second", "others"),
    [
        (None, "width", "depth", {"fixed=3 noise=1", "fixed=3 noise=50"}),
        ("depth", "depth", "width", {"fixed=3 noise=1", "fixed=3 noise=50"}),
        ("noise", "noise", "width", {f"fixed=3 depth={d}" for d in (1, 2, 4)}),
        ("fixed", "fixed", "width", {f"depth={d} noise={n}" for d in (1, 2, 4) for n in (1, 50)}),
    ],
)
def test_the_axes_of_a_law_are_those_that_vary_or_were_asked_for(
    x: str | None, first: str, second: str, others: set[str], swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--x", x] if x is not None else []
    assert main(["--json", "--lab", str(swept), "--read-only", "fits", *asked]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {(law["x"], law["z"]) for law in found if law["status"] == "fitted"} <= {(first, second)}
    assert {law["task"] for law in found} == others
    assert main(["--lab", str(swept), "--read-only", "plot", "scaling", *asked]) == 0
    assert f"N* against {first}" in capsys.readouterr().out


def test_an_axis_that_is_not_there_is_one_sentence(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["fits"], ["plot", "scaling"], ["figure", "scaling", "out.svg"]):
        assert main(["--lab", str(swept), "--read-only", *words, "--x", "colour"]) == 2
        said = capsys.readouterr().err
        assert "no search has a number on the axis 'colour'" in said
        assert "width, depth, noise, fixed" in said


def test_the_scaling_screen_has_every_numeric_axis(swept: Path) -> None:
    with open_lab(swept) as lab:
        data = ScalingRequest(laws=True)(lab)
        noise = ScalingRequest(axis="noise", laws=True)(lab)
    assert (data.request.axis, data.axes) == ("width", ("width", "depth", "noise"))
    assert {curve.axis_name("width") for curve in data.curves} == {"width"}
    assert {curve.x(p, "noise") for curve in noise.curves for p in curve.points} == {1, 50}


def test_a_programs_axes_may_be_called_as_ours(tmp_path: Path, lab_path: Path) -> None:
    head = SPEC.replace('"{size}"', '"{model}", "{L}"').replace(
        "size = [1, 2, 4, 8]", "L = [3]\nmodel = 'big'"
    )
    spec = spec_of(tmp_path / "work", "true", head=head, tail=TAIL)
    assert isinstance(spec, Study)
    labs.make(lab_path, spec)
    with open_lab(lab_path) as lab:
        [cell] = lab.cells()
    assert [value_of(cell, axis) for axis in ("model", "L", "min_length")] == ["big", "3", None]
    assert kappa_lines([cell], "model", "min_length")[1].split() == ["model", "–"]


def test_kappa_is_exported_with_its_axes(shared: Path) -> None:
    with open_lab(shared) as lab:
        rows, parts = [*records.kappas(lab)], [*records.parts(lab)]
    assert [(row.over, json.loads(row.axes)) for row in rows] == [
        ("dataset", {"size": size}) for size in ("1", "2", "4", "8")
    ]
    assert [(part.name, part.over, part.axes) for part in parts[:3]] == [
        (name, "dataset", '{"size": "1"}') for name in ("", "a", "b")
    ]


def test_tables_tell_the_metric_and_the_values(shared: Path) -> None:
    with open_lab(shared) as lab:
        job = next(records.jobs(lab))
        trial = next(t for t in records.trials(lab) if t.outcome == "success")
        point = next(records.curves(lab))
    assert json.loads(job.axes) == {"size": "1", "dataset": "a"}
    assert (job.format, job.distribution, job.eps, job.best_loss) == ("accuracy", "max", 0.9, 0.95)
    assert (trial.best_loss, json.loads(trial.setting)) == (0.95, {"lr": 0.1})
    assert point.validation in (0.5, 0.95)


@pytest.mark.parametrize("screen", ["queue", "job", "kappa", "scaling", "trials", "events"])
def test_every_screen_shows_programs(screen: str, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--lab", str(shared), "--read-only", "show", screen]) == 0
    said = capsys.readouterr().out
    assert ("lr 0.1" if screen == "trials" else "shares") in said
    assert "#1" not in said
    assert "-0.95" not in said
    assert "0..0" not in said


async def test_trials_on_the_screen_tell_their_settings(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABTUI_NO_SUPERVISOR", "1")
    app = LabApp(shared, read_only=True, screen="trials")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "lr 0.1" in app.front.text())
        assert "setting" in app.front.text()
        assert "#1" not in app.front.text()


def test_a_job_is_told_in_its_own_metric(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--lab", str(shared), "--read-only", "show", "1"]) == 0
    said = capsys.readouterr().out
    assert "0.95 (≥ 0.9)" in said
    assert main(["--lab", str(shared), "--read-only", "trials", "1"]) == 0
    said = capsys.readouterr().out
    assert "setting" in said
    assert "lr 0.1" in said


def test_curves_and_grid_are_drawn_in_the_metric(shared: Path) -> None:
    with open_lab(shared) as lab:
        job = lab.jobs([1])[0]
        probe = next(p for p in lab.probes(1) if p.verdict)
        trials, curves = lab.trials(probe_id=probe.id), lab.curves(probe.id)
        named = settings(lab.job_spec(1))
    lines = [plain(line) for line in loss_plot(job, trials, curves, 60, 14, named)]
    assert "lr 0.1" in lines[0]
    assert any("≥ 0.9" in line for line in lines)
    cells = [plain(line) for line in heat_map(trials, metric(job), 40, 6, curves, 0, names=named)]
    assert cells[0].startswith("grid")
    assert any("0.95" in line for line in cells)


@pytest.mark.parametrize(
    ("read", "threshold", "told"),
    [
        ("", "0.9", (7, 8, {})),
        ("", "0.99", (7, None, {"stopped at its first success": 2})),
        ('read = "acc ([0-9.]+)"\n', "0.9", (7, 8, {})),
    ],
)
def test_another_threshold_is_read_off_what_is_stored(
    read: str,
    threshold: str,
    told: object,
    tmp_path: Path,
    lab_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the metric, for which large values are good, and with the rules of programs."""
    script = (
        'a=0.5; [ "$1" -ge 8 ] && a=0.95\n'
        'echo acc 0.99; echo acc $a; echo "{\\"step\\": 1, \\"accuracy\\": $a}" >> "$LABTUI_REPORT"'
    )
    tail = "[grid]\nseed = 1\n[search]\nn_max = 16\nrtol = 0.0\n"
    spec = spec_of(tmp_path / "work", script, read, HEAD.replace(', "{lr}"', ""), tail)
    assert isinstance(spec, NamedJob)
    consent.allow([spec.job])
    labs.make(lab_path, spec)  # type: ignore[arg-type]
    with labs.supervisor(lab_path) as running:
        assert running.ended() == 0, running.log
    assert main(["--json", "--lab", str(lab_path), "refit", "--eps", threshold]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert (found["lo"], found["hi"], found["missing"]) == told
