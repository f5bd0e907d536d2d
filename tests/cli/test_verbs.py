"""Verbs take effect at once where no supervisor runs, and say what became of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Labtui


def state(labtui: Labtui, job: int) -> str:
    return str(labtui("show", str(job), "--json").json["job"]["state"])


def first(labtui: Labtui, wanted: str) -> int:
    return int(labtui("jobs", f"state:{wanted}", "--json").json[0]["id"])


def test_pause_resume_cancel_undo(labtui: Labtui, lab: Path) -> None:
    job = first(labtui, "queued")
    for verb, after in (
        ("pause", "paused"),
        ("resume", "queued"),
        ("cancel", "cancelled"),
        ("undo", "queued"),
    ):
        assert labtui(verb, str(job)).code == 0, verb
        assert state(labtui, job) == after
    assert "no supervisor runs" in labtui("retry", str(first(labtui, "failed"))).err


def test_a_refused_verb_is_bad_input(labtui: Labtui, lab: Path) -> None:
    done = first(labtui, "done")
    answer = labtui("pause", str(done))
    assert answer.code == 2
    assert answer.err.startswith("labtui: ")
    assert state(labtui, done) == "done"


def test_verbs_on_a_study_and_on_ranges(labtui: Labtui, lab: Path) -> None:
    queued = [job["id"] for job in labtui("jobs", "state:queued", "--json").json]
    assert labtui("priority", "7", "--study", "who shares").code == 0
    rows = labtui("jobs", "state:queued", "--study", "1", "--json").json
    assert {row["priority"] for row in rows} == {7}
    low, high = min(queued), max(queued)
    shown = labtui("tag", str(low), "night", "long", "--json").json
    assert shown["state"] == "done"
    assert labtui("show", str(low), "--json").json["job"]["tags"] == ["night", "long"]
    done = first(labtui, "done")
    assert labtui("archive", f"{done}-{done}").code == 0
    assert done not in [job["id"] for job in labtui("jobs", "--json").json]
    assert [job["id"] for job in labtui("jobs", "--archived", "--json").json] == [done]
    assert labtui("unarchive", str(done)).code == 0
    assert labtui("move", str(high)).code == 0


def test_note_rename_edit_delete_restore(labtui: Labtui, lab: Path) -> None:
    assert labtui("note", "1", "looked at").code == 0
    assert labtui("rename", "1", "the first").code == 0
    job = labtui("show", "1", "--json").json["job"]
    assert (job["notes"], job["name"]) == ("looked at", "the first")
    assert labtui("edit", "1", '{"priority": 3}').code == 0
    assert labtui("show", "1", "--json").json["job"]["priority"] == 3
    queued = first(labtui, "queued")
    assert labtui("delete", str(queued)).code == 0
    assert queued not in [row["id"] for row in labtui("jobs", "--json").json]
    assert labtui("restore", str(queued)).code == 0
    assert queued in [row["id"] for row in labtui("jobs", "--json").json]


def test_hold_release_and_devices(labtui: Labtui, lab: Path) -> None:
    assert labtui("hold").code == 0
    assert labtui("queue", "--json").json["holding"] is True
    assert labtui("release").code == 0
    assert labtui("queue", "--json").json["holding"] is False
    assert labtui("device", "cuda:0", "--state", "excluded", "--slots", "2").code == 0
    found = {row["id"]: row for row in labtui("device", "--json").json}
    assert (found["cuda:0"]["state"], found["cuda:0"]["slots"]) == ("excluded", 2)


def test_submit_twice_reuses(labtui: Labtui, tmp_path: Path) -> None:
    dry = labtui("submit", "quick", "--dry-run", "--json").json
    assert (dry["cells"], dry["searches"], dry["new"]) == (2, 8, 8)
    assert not (tmp_path / "lab.db").exists()
    one = labtui("submit", "quick", "--json").json
    assert (one["new"], one["reused"]) == (8, 0)
    two = labtui("submit", "quick", "--json").json
    assert (two["new"], two["reused"]) == (0, 8)
    assert labtui("submit", "quick", "--dry-run", "--json").json["known"] == 8
    assert len(labtui("jobs", "--json").json) == 8


def test_paper_queues_and_prints_its_cost(labtui: Labtui, tmp_path: Path) -> None:
    cost = labtui("submit", "paper", "--dry-run")
    assert "searches" in cost.out
    assert "3,330" in cost.out
    assert "of one CPU slot" in cost.out
    assert "GPU" not in cost.out, "none was ever measured"
    assert labtui("submit", "paper").code == 0
    assert len(labtui("jobs", "--json").json) == 3330


def test_db_verbs(labtui: Labtui, lab: Path) -> None:
    check = labtui("db", "check", "--json")
    assert check.json["problems"] == []
    assert check.code == 0
    assert Path(labtui("db", "backup", "--json").json["path"]).exists()
    assert labtui("db", "vacuum").code == 0
    assert labtui("db", "upgrade").code == 0


def test_scan_queues_a_ladder_around_the_bracket(labtui: Labtui, lab: Path) -> None:
    done = next(job for job in labtui("jobs", "state:done", "--json").json if job["status"] == "bracket")
    made = labtui("scan", str(done["id"]), "--points", "5", "--seeds", "4", "--json").json
    assert made["seeds"] == 4
    assert made["ladder"] == sorted(made["ladder"])
    assert made["ladder"][0] <= max(1, done["lo"])
    assert made["ladder"][-1] >= min(done["n_max"], done["hi"])
    spec = labtui("show", str(made["job"]), "--json").json["spec"]
    assert spec["search"]["strategy"] == "scan"
    exact = labtui("scan", str(done["id"]), "--ladder", "2,4,8", "--json").json
    assert exact["ladder"] == [2, 4, 8]


@pytest.mark.parametrize("bad", ["quick", "s.toml"])
def test_scan_wants_one_job(labtui: Labtui, lab: Path, tmp_path: Path, bad: str) -> None:
    (tmp_path / "s.toml").write_text(
        'name = "x"\n[[sweep]]\nm = 3\nmodel = { kind = "lstm" }\nformat = "cot"\nL = 5\n'
    )
    assert labtui("scan", bad).code == 2


def test_a_study_is_renamed_archived_and_brought_back(labtui: Labtui, lab: Path) -> None:
    study = labtui("studies", "--json").json[0]["id"]
    assert labtui("study", "rename", str(study), "another name").code == 0
    assert labtui("study", "archive", "another name").code == 0
    row = labtui("studies", "--json").json[0]
    assert (row["name"], bool(row["archived"])) == ("another name", True)
    assert labtui("study", "archive", "another name", "--undo").code == 0
    assert not labtui("studies", "--json").json[0]["archived"]
