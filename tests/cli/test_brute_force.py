"""``labtui kappa --json`` against the trial rows read with nothing but SQL:
every bracket, every kappa, every interval.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Labtui

ROOT = Path(__file__).resolve().parents[2]


def brackets(lab: Path) -> dict[int, tuple[int, int | None]]:
    """Job -> (lo, hi) from the outcomes of trials alone:
    an N succeeds if a trial of a probe that counts does.
    """
    connection = sqlite3.connect(lab)
    rows = connection.execute(
        "SELECT probe.job_id, probe.id, probe.n, trial.outcome FROM trial JOIN probe ON probe.id = "
        "trial.probe_id "
        "WHERE probe.state = 'done' AND probe.speculative = 0"
    ).fetchall()
    connection.close()
    probes: dict[int, dict[int, list[str]]] = {}
    sizes = {}
    for job, probe, n, outcome in rows:
        probes.setdefault(job, {}).setdefault(probe, []).append(outcome)
        sizes[probe] = n
    found: dict[int, tuple[int, int | None]] = {}
    for job, outcomes in probes.items():
        good = [sizes[p] for p, all_of_it in outcomes.items() if "success" in all_of_it]
        bad = [sizes[p] for p, all_of_it in outcomes.items() if "success" not in all_of_it]
        hi = min(good) if good else None
        lo = max([n for n in bad if hi is None or n < hi], default=0)
        found[job] = (lo, hi)
    return found


def expected(
    cell: dict[str, Any], truth: dict[int, tuple[int, int | None]]
) -> tuple[str, float | None, float | None, float | None]:
    """(status, point, low, high) by docs/science.md's words."""
    parts, joint = cell["parts"], cell["joint"]
    if any(p["state"] in ("failed", "cancelled") for p in [*parts, joint]):
        return "incomplete", None, None, None
    if any(p["state"] != "done" for p in [*parts, joint]):
        return "pending", None, None, None
    bounds = [truth[p["job_id"]] for p in parts]
    lo, hi = truth[joint["job_id"]]
    open_parts = [b for b in bounds if b[1] is None]
    if hi is None and open_parts:
        return "unknown", None, None, None
    if hi is None:
        return "upper_bound", None, None, sum(b[1] or 0 for b in bounds) / (joint["n_max"] + 1)
    low = sum(b[0] + 1 if b[1] is not None else p["n_max"] + 1 for b, p in zip(bounds, parts, strict=True))
    if open_parts:
        return "lower_bound", None, low / hi, None
    top = sum(b[1] or 0 for b in bounds)
    return "complete", top / hi, low / hi, top / (lo + 1)


def check(cells: list[dict[str, Any]], lab: Path) -> set[str]:
    truth = brackets(lab)
    seen = set()
    for cell in cells:
        for part in [*cell["parts"], cell["joint"]]:
            if part["state"] == "done":
                assert (part["lo"], part["hi"]) == truth[part["job_id"]], part
                assert part["status"] == ("censored" if truth[part["job_id"]][1] is None else "bracket")
        status, value, low, high = expected(cell, truth)
        kappa = cell["kappa"]
        seen.add(status)
        assert (kappa["status"], kappa["value"]) == (status, value)
        if status == "complete":
            assert (kappa["low"], kappa["high"]) == (low, high)
        elif status == "upper_bound":
            assert kappa["high"] == high
        elif status == "lower_bound":
            assert kappa["low"] == low
    return seen


def test_kappa_equals_a_brute_force_reading(labtui: Labtui, lab: Path) -> None:
    cells = labtui("kappa", "--json").json
    assert len(cells) == 12
    assert {"incomplete", "pending", "unknown"} <= check(cells, lab)


STUDY = """
name = "through the supervisor"
[[sweep]]
m = [2, 3, 4]
model = [{ kind = "dense_ssm", hidden = 8 }, { kind = "lstm", hidden = 8 }]
format = ["acot", "outcome"]
L = [4, 5]
grid = { learning_rates = [1e-2, 3e-3], seeds = [1, 2] }
training = { steps = 100, eval_every = 10, validation_size = 64 }
[sweep.joint.search]
n_max = 60
"""


def test_kappa_of_what_a_supervisor_wrote(
    labtui: Labtui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it but the training: spec, submit, supervisor, workers with a stand-in trainer, store, table."""
    monkeypatch.setenv("LABTUI_TRAINER", "tests.support.standin:Trainer")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("STANDIN_EVAL_S", "0")
    (tmp_path / "s.toml").write_text(STUDY)
    assert labtui("submit", "s.toml").code == 0
    run = labtui("run", "--slots", "2", "--json")
    assert run.code == 0, run.err
    assert set(run.json["counts"]) == {"done"}
    cells = labtui("kappa", "--json").json
    assert len(cells) == 24
    assert {"complete", "upper_bound"} <= check(cells, tmp_path / "lab.db")
    assert labtui("db", "check").code == 0
    assert ": N* " in run.err
    watched = labtui("watch", "1")
    assert watched.code == 0
    assert "result        N* " in watched.out


@pytest.mark.slow
def test_kappa_of_real_training_equals_a_brute_force_reading(labtui: Labtui, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        """
        name = "tiny"
        [[sweep]]
        m = 2
        model = { kind = "dense_ssm", hidden = 8 }
        format = "acot"
        L = 5
        min_length = 4
        grid = { learning_rates = [1e-2], seeds = [10, 20] }
        training = { steps = 200, eval_every = 20, validation_size = 64 }
        search = { eps = 1e-2 }
        """
    )
    assert labtui("submit", "s.toml").code == 0
    run = labtui("run")
    assert run.code == 0
    assert "3/3" in run.err or "N*" in run.err
    check(labtui("kappa", "--json").json, tmp_path / "lab.db")
    assert labtui("db", "check").code == 0
    again = labtui("rerun", "1", "--check", "--json")
    assert again.code == 0
    assert again.json["same"] is True
    assert again.json["trials"] == again.json["trials_equal"] > 0
