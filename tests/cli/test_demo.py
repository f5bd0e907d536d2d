"""``labtui demo`` without a terminal: progress on stderr, tables on stdout;
a second one shows the tables at once.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from labtui.analysis.eta import Eta, Outlook
from labtui.views.progress import fraction, left, state_line
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
        assert "8 searches for N*, by real training" in first.err
        assert first.err.count("candidates") == 8
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
    done = job_row(1, state="done", candidates=8, device_s=40.0, wall_s=40.0)
    queued = job_row(2, state="queued", candidates=0)
    outlook = Outlook([done])
    assert fraction([done, done], outlook) == 1.0
    share = fraction([done, queued], outlook)
    assert 0.3 < share < 0.7, "one of two equal searches"
    guess = left([done, queued], outlook)
    assert guess.seconds is not None
    assert guess.seconds == pytest.approx(40, rel=0.5)
    assert state_line([done, queued], guess).endswith(f"; {guess.text} left")
    assert state_line([done], Eta(0.0)).endswith("1/1 searches")
