"""Divergence is no lack of data: real training that gives NaN, and losses that are finite and huge, as every
command tells of them.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from labtui.views.queue import bracket_spark
from runners.verdict import Answer, answer, beyond, diverged
from store.read import open_lab
from tests.cli.conftest import Labtui

SWEEP = """
[[sweep]]
m = 3
model = ["{name}"]
format = "acot"
L = 20
min_length = 19
[sweep.grid]
learning_rates = [{rate}]
seeds = [1, 2]
[sweep.training]
batch_size = 8
steps = 40
eval_every = 20
validation_size = 24
[sweep.search]
n_max = 32
"""
STUDY = (
    """
name = "astray"
[models.nan]
kind = "dense_ssm"
hidden = 8
[models.huge]
kind = "dense_ssm"
hidden = 9
init_scale = 30.0
"""
    + SWEEP.format(name="nan", rate=10.0)
    + SWEEP.format(name="huge", rate=1e-2)
)


@pytest.fixture
def trained(labtui: Labtui, tmp_path: Path) -> Path:
    """Both, trained: transitions that explode at a rate of 10, and ones that are explosive from the start."""
    (tmp_path / "astray.toml").write_text(STUDY)
    assert labtui("submit", "astray.toml").code == 0
    assert labtui("run", "--slots", "1", "--devices", "cpu").code == 0
    return tmp_path / "lab.db"


def test_what_diverges_is_said_to_diverge(trained: Path, labtui: Labtui) -> None:
    with open_lab(trained, read_only=True) as lab:
        jobs = lab.jobs()
        assert len(jobs) == 6
        losses = {job.model_label: job.best_loss for job in jobs}
        assert losses.pop("dense_ssm 8") is None, "true NaN"
        (huge,) = losses.values()
        assert huge is not None
        assert 1e6 < huge < float("inf"), "finite and huge"
        for job in jobs:
            assert {t.outcome for t in lab.trials(job.id)} == {"diverged"}
            assert diverged(job)
            assert not beyond(job)
            assert answer(job) == Answer("diverged")
            assert "diverged" in job.flags
            assert "→" not in "".join(text for text, _ in bracket_spark(job, 20, 100))

    told = {
        "show": [labtui("show", str(job.id)) for job in jobs],
        "jobs": [labtui("jobs")],
        "queue": [labtui("queue")],
        "kappa": [labtui("kappa"), labtui("kappa", "--details")],
        "plot kappa": [labtui("plot", "kappa", "1"), labtui("plot", "kappa", "2")],
    }
    for command, answers in told.items():
        for said in answers:
            assert said.code == 0, command
            assert "diverged" in said.out, command
            for wrong in ("> 32", "beyond", "→", "█"):
                assert wrong not in said.out, (command, wrong)
    for said in told["kappa"]:
        assert "incomplete" in said.out
    for said in (labtui("plot", "bracket", "1"), labtui("show", "1")):
        drawn = said.out.partition("\nSpec")[0]
        assert "∞" in drawn, "the chart of its candidates"
        assert "✗" not in drawn, "they say nothing of N"
        assert " fails " not in drawn
    for words in (("fits",), ("plot", "scaling")):
        said = labtui(*words)
        assert "32" not in said.out
        assert "no search" in said.out + said.err, "nothing to fit over, nothing to draw"

    for cell in exported(labtui, "kappa"):
        assert cell["kappa_status"] == "incomplete"
        assert not any(cell[f"kappa_{end}"] for end in ("value", "low", "high"))
    rows = exported(labtui, "curves")
    assert {row["outcome"] for row in rows} == {"diverged"}
    assert {row["nstar_kind"] for row in rows} == {"diverged"}
    assert not any(row["nstar_low"] for row in rows), "no bound"
    of_nan = [row for row in rows if row["model_label"] == "dense_ssm 8"]
    assert of_nan
    assert not any(row["train"] or row["validation"] for row in of_nan), "a curve has a gap at its NaNs"
    assert all(float(row["train"]) > 1e6 for row in rows if row not in of_nan)


def exported(labtui: Labtui, table: str) -> list[dict[str, str]]:
    assert labtui("export", table, "--out", f"{table}.csv").code == 0
    return list(csv.DictReader(io.StringIO(Path(f"{table}.csv").read_text())))
