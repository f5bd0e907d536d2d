"""A job with other settings, a plugin's label and cost, a plugin that is missing: by the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LABTUI = Path(sys.executable).with_name("labtui")
PLUGIN = """
name = "mine"
[models.wide]
kind = "plugin"
name = "nowhere"
version = "1"
params = { hidden = 16, "a name" = [1, 2] }
[models.narrow]
kind = "plugin"
name = "nowhere"
version = "1"
params = { hidden = 8 }
[[sweep]]
m = 3
model = ["wide", "narrow"]
format = "acot"
L = 4
min_length = 4
"""


def labtui(folder: Path, *words: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LABTUI_")}
    done = subprocess.run(
        [LABTUI, *words], cwd=folder, capture_output=True, text=True, env={**clean, **env}, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_one_setting_of_a_job_is_changed(lab: Path, tmp_path: Path) -> None:
    words = ("submit", "--from", "3", "--set", "search.eps=0.03", "--set", "training.steps=700")
    before = lab.read_bytes()
    dry = labtui(tmp_path, *words, "--dry-run")
    assert "(0 known already, 1 new)" in dry.stdout
    assert "as job 3 but for search.eps 0.03 (there 0.001), training.steps 700 (there 1000)" in dry.stderr
    assert lab.read_bytes() == before
    (new,) = json.loads(labtui(tmp_path, *words, "--json").stdout)["jobs"]
    listed = {line.split()[0]: line for line in labtui(tmp_path, "jobs").stdout.splitlines()}
    assert listed[str(new)].endswith("search.eps 0.03, training.steps 700")
    assert "search.eps" not in listed["3"]
    shown = labtui(tmp_path, "show", str(new)).stdout
    assert "Beside job 3, which reads like it" in shown
    assert "search.eps      0.03  0.001" in shown
    assert "reads like it" not in labtui(tmp_path, "show", "3").stdout

    toml = labtui(tmp_path, "show", str(new), "--toml").stdout
    (tmp_path / "again.toml").write_text(toml)
    assert "0 new, 1 known already" in labtui(tmp_path, "submit", "again.toml").stderr
    more = labtui(tmp_path, "submit", "again.toml", "--set", "model.hidden=24", "--dry-run")
    assert "(0 known already, 1 new)" in more.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--from", "3"), "this is the search of job 3; expected --set with another value"),
        (("--from", "3", "--set", "search.eps=0.001"), "this is the search of job 3"),
        (("--from", "3", "--set", "search.epz=1"), "unknown key job.search.epz; did you mean 'eps'?"),
        (("--from", "3", "--set", "search.eps=two"), "job.search.eps is 'two'; expected a number"),
        (("--from", "3", "--set", "search.eps"), "is no KEY=VALUE"),
        (("--from", "3", "--set", "=1"), "is no KEY=VALUE"),
        (("--from", "3", "--set", ""), "is no KEY=VALUE"),
        (("--from", "9999", "--set", "m=5"), "there is no job '9999'"),
        (("--from", "quick", "--set", "m=5"), "there is no job 'quick'"),
        (("quick", "--from", "3"), "both a spec and --from JOB are given; expected one of them"),
        ((), "neither a spec nor --from JOB is given; expected one of them"),
        (("quick", "--set", "nosuch=1"), "nosuch"),
    ],
)
def test_what_cannot_be_set_is_told_and_nothing_is_written(
    words: tuple[str, ...], told: str, lab: Path, tmp_path: Path
) -> None:
    before = lab.read_bytes()
    assert told in labtui(tmp_path, "submit", *words, code=2).stderr
    assert lab.read_bytes() == before


def test_a_plugin_is_told_apart_by_its_params_and_looked_for_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(PLUGIN)
    missing = "no plugin called 'nowhere' in labtui.models"
    assert missing in labtui(tmp_path, "submit", "mine.toml", code=2).stderr
    assert not (tmp_path / "lab.db").exists()

    folder = tmp_path / "plugin" / "mine-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[labtui.models]\nnowhere = mine:nothing\n")
    there = str(folder.parent)
    assert (
        "time        unknown" in labtui(tmp_path, "submit", "mine.toml", "--dry-run", PYTHONPATH=there).stdout
    )
    labtui(tmp_path, "submit", "mine.toml", PYTHONPATH=there)
    jobs = labtui(tmp_path, "jobs").stdout
    assert "nowhere a name=[1,2] hidden=16" in jobs
    assert "nowhere hidden=8" in jobs

    run = labtui(tmp_path, "run", "--slots", "1", code=1)
    assert missing in run.stderr
    rows = json.loads(labtui(tmp_path, "jobs", "--json").stdout)
    assert {(row["state"], row["crashes"]) for row in rows} == {("failed", 0)}
    assert "labtui retry" in labtui(tmp_path, "show", "1").stdout


def test_every_fault_of_the_settings_is_told_at_once_and_by_doctor(tmp_path: Path) -> None:
    """With a BOM before them, as some editors leave one."""
    own = tmp_path / "own.toml"
    own.write_text(
        "\ufefftheme = 'nosuch'\nslots = -1\npoll_s = 'x'\nbogus = 1\n"
        "[keys]\npause = ['Ctl+Space']\nfly = ['f']\nresume = ['e']\ncancel = ['e']\n"
    )
    told = labtui(tmp_path, "doctor", "--json", code=1, LABTUI_CONFIG=str(own)).stdout
    found = [check["text"] for check in json.loads(told) if check["check"] == "settings"]
    for words in (
        "theme is nosuch", "slots is -1", "poll_s is x", "unknown key bogus", "keys.pause has 'Ctl+Space'",
        "keys.fly is no action", "e is given to both keys.resume and keys.cancel",
    ):  # fmt: skip
        assert sum(words in text and text.startswith(str(own)) for text in found) == 1, words
    assert len(found) == 7
    shown = labtui(tmp_path, "config", LABTUI_CONFIG=str(own))
    assert all(text in shown.stderr for text in found)


def test_a_spec_may_begin_with_a_bom(tmp_path: Path) -> None:
    spec = tmp_path / "study.toml"
    plain = labtui(tmp_path, "submit", "quick", "--dry-run").stdout
    spec.write_bytes("\ufeff".encode() + (ROOT / "runners/spec/presets/quick.toml").read_bytes())
    assert labtui(tmp_path, "submit", str(spec), "--dry-run").stdout == plain
    assert json.loads(labtui(tmp_path, "submit", str(spec), "--json").stdout)["new"] == 8
