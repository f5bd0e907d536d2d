"""``labtui demo`` without a terminal: progress on stderr, tables on stdout;
a second one shows the tables at once.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from labtui.views.progress import Pace, expected_work, state_line
from runners.spec import load
from tests.cli.conftest import Labtui
from tests.tui.fake import job_row

ROOT = Path(__file__).resolve().parents[2]


def test_demo_runs_to_its_tables(labtui: Labtui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABTUI_TRAINER", "tests.support.standin:Trainer")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("STANDIN_EVAL_S", "0")
    try:
        first = labtui("demo", "--slots", "2")
        assert first.code == 0, first.err
        assert "11 searches for N*, by real training" in first.err
        assert first.err.count("candidates") == 11
        assert first.out.startswith("kappa, ")
        assert "N* against" in first.out
        second = labtui("demo")
        assert second.code == 0
        assert second.out == first.out
        assert second.err == ""
        assert len(labtui("demo", "--json").json) == 2
        assert labtui("daemon", "status").code == 0
    finally:
        assert labtui("daemon", "stop").code == 0


def test_the_estimate_of_what_is_left() -> None:
    study = load("quick")
    specs = [job.to_json() for job in study.jobs()[:2]]  # type: ignore[union-attr]
    pace = Pace({1: expected_work(specs[0]), 2: expected_work(specs[1])}, now=0.0)
    queued = [job_row(1, state="queued", candidates=0), job_row(2, state="queued", candidates=0)]
    assert pace.fraction(queued) == 0.0
    assert pace.eta(queued, now=1.0) is None
    half = [job_row(1, state="done"), job_row(2, state="queued", candidates=0)]
    share = pace.fraction(half)
    assert 0 < share < 1
    assert pace.eta(half, now=10.0) == pytest.approx(10.0 * (1 - share) / share)
    assert pace.fraction([job_row(1, state="done"), job_row(2, state="failed")]) == 1.0
    assert state_line(half, 90.0).endswith("; about 90s left")
