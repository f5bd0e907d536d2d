"""What a command prints is what the screen draws: both take it from one place."""

from __future__ import annotations

from dataclasses import replace

from labtui.views.events import event_text, what
from labtui.views.job import summary
from labtui.views.lines import plain
from labtui.views.queue import job_lines
from labtui.views.signs import rate_inks
from labtui.views.spec import leaves, spec_lines, spec_rows
from labtui.views.trials import TrialRowPlus, cells, trial_lines
from store.rows import EventRow
from tests.tui.fake import job_row, small_lab


def test_a_trial_has_the_same_cells_in_the_table_and_as_text() -> None:
    lab = small_lab()
    trial = lab.trial_rows[0]
    row = TrialRowPlus(trial, lab.job(trial.job_id), setting="1e-2")
    drawn = cells(row, {})
    line = trial_lines([row])[-1]
    for key in ("id", "job", "n", "lr", "seed", "best", "steps", "at"):
        assert plain(drawn[key]) in line, key


def test_events_are_told_in_the_words_of_the_screen() -> None:
    job = job_row(7, state="done", status="bracket", lo=300, hi=312, wall_s=64.0)
    event = EventRow(1, 0.0, "job.done", "info", 7, None, "x: running to done", "{}")
    (line,) = event_text([event], [job])
    assert plain(what(event, job)) in line
    assert "N* 312" in line
    (unknown,) = event_text([replace(event, level="odd", job_id=None)], [])  # type: ignore[arg-type]
    assert "done" in unknown
    failed = EventRow(2, 0.0, "job.failed", "error", 7, None, "x: running to failed", "{}")
    (line,) = event_text([failed], [replace(job, state="failed", reason="it broke")])
    assert line.count("✗") == 1, "its state's sign alone"
    (line,) = event_text([replace(failed, kind="supervisor.note")], [job])
    assert line.count("✗") == 1, "an error without a state has its own"


def test_specs_are_written_by_one_writer_and_an_empty_key_is_as_good_as_none() -> None:
    first = {"grid": {"rates": [1e-2, 3e-3], "seeds": [1]}, "clip": None, "table": [[0, 1], [1, 0]]}
    assert leaves(first) == {
        "grid.rates": "1e-2, 3e-3", "grid.seeds": "1", "clip": "–", "table": "[0, 1], [1, 0]",
    }  # fmt: skip
    assert [line.split()[0] for line in spec_lines(first)] == list(leaves(first))
    second = {"grid": {"rates": [1e-2, 3e-3], "seeds": [2]}, "table": [[0, 1], [1, 0]]}
    assert [row for row in spec_rows(first, second) if row[1] != row[2]] == [("grid.seeds", "1", "2")]


def test_nothing_trains_while_no_supervisor_lives() -> None:
    job = job_row(1, state="running", current_n=1118, progress=0.4)
    assert "1,118, 40%" in job_lines([job])[-1]
    assert "1,118, 40%" not in job_lines([job], supervised=False)[-1]
    assert dict(summary(job))["training"] == "N = 1,118, 40%"
    assert not dict(summary(job, supervised=False))["training"]


def test_a_learning_rate_has_one_look_the_largest_first() -> None:
    inks = rate_inks([1e-3, 1e-2, 1e-3])
    assert list(inks) == [1e-2, 1e-3]
    assert len({(ink.style, ink.dash, ink.sample) for ink in inks.values()}) == 2
    assert rate_inks([1e-2])[1e-2] == inks[1e-2]
