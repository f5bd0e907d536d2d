"""``labtui rerun --check`` and ``labtui scan``: what was measured with fresh seeds comes again,
and what differs is told.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from labtui.views.repeat import compare_records
from runners.spec import SCIENCE_VERSION
from tests.cli.conftest import Labtui

ADAPTIVE = """
[job]
m = 3
format = "acot"
lengths = { distribution = "uniform", length = 5, min_length = 4 }
model = { kind = "dense_ssm", hidden = 8 }
grid = { learning_rates = [1e-2, 3e-3], seeds = [10, 20, 30] }
training = { steps = 200, eval_every = 20, validation_size = 64 }
search = { strategy = "adaptive", eps = 1e-2, relative_width = 1.5, seed_budget = 40 }
"""


def record(strategy: str, probes: list[tuple[int, bool, int, int]], **job: Any) -> dict[str, Any]:
    rows = [
        {"n": n, "verdict": verdict, "speculative": False, "seeds": seeds, "successes": successes}
        for n, verdict, seeds, successes in probes
    ]
    head = {
        "strategy": strategy,
        "status": "bracket",
        "lo": 4,
        "hi": 8,
        "n_max": 100,
        "estimate": None,
        "n50": None,
    }
    return {"job": head | job, "probes": rows, "trials": []}


def test_fresh_seeds_are_compared_probe_by_probe_and_by_their_counts() -> None:
    first = record(
        "adaptive", [(100, True, 5, 5), (8, True, 4, 2), (8, False, 4, 0)], estimate=(8.0, 6.0, 10.0)
    )
    assert compare_records(first, copy.deepcopy(first)).same
    assert compare_records(first, first).verdicts == 3, "two probes at one N are two pieces of evidence"
    for change in (
        record("adaptive", [(100, True, 5, 5), (8, True, 4, 3), (8, False, 4, 0)], estimate=(8.0, 6.0, 10.0)),
        record("adaptive", [(100, True, 5, 5), (8, True, 4, 2), (8, True, 4, 1)], estimate=(8.0, 6.0, 10.0)),
        record("adaptive", [(100, True, 5, 5), (8, True, 4, 2), (8, False, 4, 0)], estimate=(8.0, 6.0, 11.0)),
    ):
        found = compare_records(first, change)
        assert not found.same
        assert found.lines()[-1].startswith("DIFFERENT")
    assert "N* = 8, 90 % interval [6, 10]" in compare_records(first, first).lines()[0]


def test_where_a_verdict_is_the_evidence_the_siblings_that_came_in_with_it_do_not_count() -> None:
    first = record("log", [(100, True, 3, 2), (4, False, 3, 0)])
    assert compare_records(first, record("log", [(100, True, 3, 1), (4, False, 3, 0)])).same
    assert not compare_records(first, record("log", [(100, True, 3, 2), (4, True, 3, 1)])).same


def test_bits_verdicts_and_what_differs_in_the_plan_are_told_apart() -> None:
    def told(loss: float, accuracy: float, flags: list[str], verdict: bool, **ran: Any) -> dict[str, Any]:
        found = record("log", [(100, True, 3, 2), (4, verdict, 3, 0)], flags=flags)
        trial = {"n": 100, "lr": 0.01, "seed": 1, "outcome": "success", "steps": 50, "best_loss": loss}
        found["trials"] = [trial | {"generalisation": accuracy}]
        plan = {"members_at_once": 6, "threads": 1, "note": ""} | ran.pop("plan", {})
        found["provenance"] = (
            {"threads": 1, "processor": "a", "torch": "2"} | ran | {"plan": json.dumps(plan)}
        )
        return found

    first = told(0.1, 0.5, [], False)
    same = compare_records(first, copy.deepcopy(first))
    assert (same.bits, same.lines()[-1]) == (True, "equal bits: result, every verdict and every trial")
    close = compare_records(first, told(0.1001, 0.6, [], False, threads=2, plan={"members_at_once": 3}))
    assert (close.same, close.bits) == (True, False)
    assert close.lines()[:2] == [
        "ran with another threads: 1, now 2",
        "ran with another plan's members_at_once: 6, now 3",
    ]
    assert close.lines()[-3:-1] == [
        "accuracy at 2L: 0 of 1 equal", "largest difference of an accuracy at 2L: 0.1"
    ]  # fmt: skip
    assert close.lines()[-1].startswith("equal verdicts")
    tested = compare_records(first, told(0.1, 0.7, [], False))
    assert not tested.bits, "an accuracy is compared too"
    assert tested.lines()[-1] == "equal verdicts: the same result, another accuracy at 2L"
    assert close.lines()[-1].endswith("other last bits in its trials and another accuracy at 2L")
    away = told(0.1, 0.5, ["diverged"], False)
    away["job"] |= {"status": "censored", "hi": None}
    assert "before  all trials diverged" in compare_records(away, copy.deepcopy(away)).lines()
    flagged = compare_records(first, told(0.1, 0.5, ["contradicted"], False))
    assert not flagged.same
    assert flagged.lines()[-2] == "flags of one run alone: contradicted"
    turned = compare_records(first, told(0.1, 0.5, [], True, processor="b", plan={"note": "x"}))
    assert turned.lines()[0] == "ran with another processor: a, now b"
    assert turned.lines()[-1] == "DIFFERENT verdicts"
    for plan in (None, "{", "[1]", {"members_at_once": 3}):  # a file that somebody else wrote
        other = told(0.1, 0.5, [], False)
        other["provenance"]["plan"] = plan
        assert compare_records(first, other).same


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_adaptive_and_scan_by_real_training(labtui: Labtui, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(ADAPTIVE)
    assert labtui("submit", "a.toml").code == 0
    assert labtui("run").code == 0
    shown = labtui("show", "1", "--json").json
    assert shown["job"]["state"] == "done"
    low, high = shown["job"]["estimate"][1:]
    assert 1 <= low <= shown["job"]["estimate"][0] <= high
    told = shown["provenance"]
    assert told["science_version"] == shown["science_version"] == SCIENCE_VERSION
    again = labtui("rerun", "1", "--check", "--json")
    assert (again.code, again.json["same"]) == (0, True)
    assert again.json["verdicts"] == again.json["verdicts_equal"] == shown["job"]["candidates"]
    assert again.json["trials"] == again.json["trials_equal"] > 0

    words = ("scan", "1", "--ladder", "2,8,32,128", "--seeds", "4")
    assert labtui(*words).code == 0
    assert labtui("run").code == 0
    curve = labtui(*words, "--json").json
    assert [p["n"] for p in curve["points"]] == [2, 8, 32, 128]
    assert {p["seeds"] for p in curve["points"]} == {4}
    trials = labtui("trials", "2", "--json").json
    for p in curve["points"]:
        won = {t["seed"] for t in trials if t["n"] == p["n"] and t["outcome"] == "success"}
        assert len(won) == p["successes"]
        assert len({t["seed"] for t in trials if t["n"] == p["n"]}) == 4
    assert curve["points"][0]["successes"] < curve["points"][-1]["successes"], (
        "more data, more seeds that learn"
    )
