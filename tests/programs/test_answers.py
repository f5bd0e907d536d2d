"""What the bench answers about programs: kappa over any axis, fits, tables, screens as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labtui.__main__ import main
from labtui.analysis.fits import Fit, fit_all
from labtui.analysis.kappa import kappa
from labtui.analysis.points import points
from labtui.export import records
from labtui.views.heat import heat_map
from labtui.views.job import loss_plot
from labtui.views.kappa import kappa_lines
from labtui.views.lines import plain
from labtui.views.metric import metric, settings
from runners.programs import consent
from runners.spec import Study
from store.check import check
from store.read import open_lab
from tests.programs.conftest import HEAD, spec_of
from tests.support import labs

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
    assert screen == "trials" or "shares" in said
    assert "-0.95" not in said
    assert "0..0" not in said


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
