"""What the bench answers about programs: kappa over any axis, fits, tables, screens as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labtui.analysis.kappa import kappa
from labtui.views.kappa import kappa_lines
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
    + HEAD.replace('"{seed}", "{lr}"', '"{dataset}", "{size}"')
    + "[[sweep]]\nsize = [1, 2, 4]\n"
    + '[sharing]\nover = "dataset"\nparts = ["a", "b"]\njoint = "a,b"\n'
)
TAIL = "[search]\nn_max = 64\nrtol = 0.0\n"


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
    assert [(c.over, c.axes) for c in cells] == [("dataset", (("size", s),)) for s in ("1", "2", "4")]
    assert [[p.name for p in c.parts] for c in cells] == [["a", "b"]] * 3
    assert [kappa(c).value for c in cells] == [2.0] * 3
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
    assert turned[1].split() == ["format", "1", "2", "4"]
    with pytest.raises(ValueError, match="min_length, size"):
        kappa_lines(cells, "sizes")
    assert json.loads(json.dumps(kappa(cells[0]).to_dict()))["over"] == "dataset"
