"""``labtui tasks`` and ``labtui models``: what there is, by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runners.models.registry import build
from runners.spec import Job
from runners.spec.named_tasks import EXAMPLES
from tests.cli.conftest import Labtui

GROUPS = {
    "Z5": (True, True, 5),
    "S4": (True, True, 24),
    "S5": (True, False, 120),
    "A4": (True, True, 12),
    "A5": (True, False, 60),
    "S5 swaps": (True, False, 120),
    "A4 x Z5": (True, True, 60),
    "flip-flop": (False, None, None),
    "random 16 seed 3": (True, None, None),
}


def test_tasks_tell_groups_and_solvable_ones_apart(labtui: Labtui) -> None:
    rows = json.loads(labtui("tasks", *GROUPS, "--json").out)
    assert {r["name"]: (r["group"], r["solvable"], r["order"]) for r in rows} == GROUPS | {
        "S5": (True, False, 120)
    }
    assert rows[0]["sequences"]["2"] == 25


def test_tasks_lists_every_form(labtui: Labtui) -> None:
    lines = labtui("tasks").out.splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == list(EXAMPLES)


def test_a_task_that_is_none_is_told(labtui: Labtui) -> None:
    found = labtui("tasks", "tomita 9")
    assert found.code == 2
    assert "expected tomita 1 to tomita 7" in found.err


def test_every_listed_model_can_be_built(labtui: Labtui) -> None:
    rows = json.loads(labtui("models", "--json").out)
    assert len({r["kind"] for r in rows}) == len(rows)
    for row in rows:
        assert row["equation"]
        assert row["source"]
        small = {k: 32 for k in ("hidden", "d") if k in row["keys"]}
        job = Job.model_validate_json(
            json.dumps(
                {
                    "task": {"kind": "modular_addition", "m": 3},
                    "format": "acot",
                    "lengths": {"distribution": "fixed", "length": 4},
                    "model": {"kind": row["kind"], **small},
                }
            )
        )
        assert build(job, "cpu", n_inputs=3, n_outputs=3).n_parameters > 0


def test_what_installed_packages_offer_is_listed_and_not_loaded(
    labtui: Labtui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    offers = "[labtui.models]\nmy\x1b[31mgru = nowhere:gru\n[labtui.tasks]\ncounter = nowhere:counter\n"
    (folder / "entry_points.txt").write_text(offers)
    monkeypatch.syspath_prepend(str(tmp_path))
    models, tasks = labtui("models").out, labtui("tasks").out
    assert "\x1b" not in models
    assert models.splitlines()[-1].endswith("mine 1.0")
    assert tasks.splitlines()[-1].split() == ["counter", "plugin", "of", "mine", "1.0"]
    assert json.loads(labtui("models", "--json").out)[-1]["keys"]["name"] == "my\x1b[31mgru"
    last = json.loads(labtui("tasks", "--json").out)[-1]
    assert (last["name"], last["plugin"], last["states"]) == ("counter", "mine 1.0", None)
    assert [r["name"] for r in json.loads(labtui("tasks", "A5", "--json").out)] == ["A5"]


@pytest.mark.parametrize("command", ["tasks", "models"])
def test_they_need_no_lab(labtui: Labtui, command: str, tmp_path: object) -> None:
    assert labtui(command, "--lab", f"{tmp_path}/none.db").code == 0
