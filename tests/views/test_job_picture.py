"""The Job screen as it closes: tall steps, the bracket's numbers, N* in large digits, falling losses."""

from __future__ import annotations

from dataclasses import replace

from labtui.views.bracket import Endings, bracket_chart, outcome_of
from labtui.views.digits import HEIGHT, large
from labtui.views.heat import falling, heat_map
from labtui.views.job import facts, summary_lines, without_curves
from labtui.views.lines import plain, size
from labtui.views.metric import metric
from labtui.views.plot import Axis, steps_axis, ticks
from labtui.views.trials import TrialRowPlus, trial_lines
from store.rows import Curve
from tests.tui.fake import job_row, small_lab


def test_large_digits_are_one_block_of_equal_lines() -> None:
    lines = large("1,234,567,890 s", "strong")
    assert len(lines) == HEIGHT
    assert len({size(line) for line in lines}) == 1
    assert plain(large("10", "")[0]) == "▀█  █▀█"
    assert plain(large("", "")[0]) == ""


def test_the_last_bracket_stands_with_its_two_numbers() -> None:
    lab = small_lab()
    job = next(r for r in lab.rows if r.state == "running" and r.lo and r.hi)
    probes = lab.probes(job.id)
    tall = [plain(line) for line in bracket_chart(job, probes, 70, 2 * len(probes) + 2, tall=True)]
    assert sum(f" {job.lo:,} ▀" in line and f"▀ {job.hi:,}" in line for line in tall) == 1
    assert sum("▀" in line for line in tall) == len(probes)
    short = [plain(line) for line in bracket_chart(job, probes, 70, 2 * len(probes) + 1, tall=True)]
    assert not any("▀" in line for line in short)  # no room: one line each
    assert len(tall) == 2 * len(probes) + 2
    assert all(size(line) <= 70 for line in bracket_chart(job, probes, 70, 40, tall=True))


def test_each_cell_of_the_grid_draws_its_own_loss() -> None:
    curve = Curve((1, 2, 3, 4), (), (1.0, 0.1, 0.01, 0.001))
    assert falling(curve, 0.001, 1.0, 4, 8, 1) == ["███▅▅▃▃ "]
    assert falling(curve, 0.001, 1.0, 8, 8, 1) == ["█▅▃     "]  # the steps to come are blank
    assert falling(Curve((4,), (), (float("nan"),)), 0.001, 1.0, 4, 8, 1) == ["████████"]
    for eps, width in ((0.0, 8), (2.0, 8), (1e-3, 4)):
        assert falling(curve, eps, 1.0, 4, width, 1) == []
    lab = small_lab()
    job = next(r for r in lab.rows if r.state == "running")
    probe = lab.probes(job.id)[-1]
    trials = lab.trials(probe_id=probe.id)
    lines = heat_map(trials, metric(job), 60, 20, lab.curves(probe.id))
    rates = {t.lr for t in trials}
    assert len(lines) == 1 + 3 * len(rates)
    assert sum(any(c in plain(line) for c in "▁▂▃▄▅▆▇█") for line in lines) >= len(rates)
    assert all(size(line) <= 60 for line in lines)


def test_a_candidate_that_was_decided_says_how_many_of_its_trials_ended() -> None:
    lab = small_lab()
    job = next(r for r in lab.rows if r.status == "bracket")
    probes = lab.probes(job.id)
    endings = Endings.of(lab.trials(job.id))
    won = next(p for p in probes if p.id in endings.early)
    lines = [plain(line) for line in bracket_chart(job, probes, 70, 40, endings=endings)]
    told = next(line for line in lines if line.split()[0] == f"{won.n:,}")
    assert f" {won.trials - endings.early[won.id]}/{won.trials} " in told
    assert f" {won.trials}/{won.trials} " not in told


def test_a_search_without_its_curves_is_not_told_as_one_that_was_never_evaluated() -> None:
    """A lab may be published without them; retention may take them."""
    lab = small_lab()
    done = next(r for r in lab.rows if r.status == "bracket")
    assert without_curves(lab.trials(done.id)) == "their curves are not in this lab"
    assert without_curves([replace(t, best_loss=None) for t in lab.trials(done.id)]) == "no evaluation yet"


def test_nothing_is_in_training_without_a_supervisor_nor_once_its_search_failed() -> None:
    lab = small_lab()
    job = next(r for r in lab.rows if r.state == "running")
    probes = lab.probes(job.id)
    for one, supervised, running in (
        (job, True, True), (job, False, False), (replace(job, state="failed"), True, False),
    ):  # fmt: skip
        text = "\n".join(plain(x) for x in bracket_chart(one, probes, 70, 40, supervised=supervised))
        assert ("●" in text) == running
        assert ("‖" in text) == (not running)
    trial = next(t for t in lab.trials(job.id) if t.outcome == "running")
    assert (outcome_of(trial, True), outcome_of(trial, False)) == ("running", "interrupted")


def test_the_axis_of_steps_stands_while_a_curve_grows() -> None:
    ends = [steps_axis(last, 16_000).high for last in range(200, 16_001, 200)]
    assert ends == sorted(ends)
    assert len(set(ends)) <= 8
    assert all(last <= end for last, end in zip(range(200, 16_001, 200), ends, strict=True))
    assert steps_axis(20_000, 16_000).high == 20_000  # more than its budget


def test_an_axis_has_a_tick_where_it_has_no_room_for_two() -> None:
    assert ticks(Axis(182, 3_059), 2) == [1000]
    assert ticks(Axis(40, 90), 2)


def test_what_was_trained_of_a_candidate_that_is_not_over_is_told() -> None:
    """After a pause or a kill: its time and steps stand beside those of the others, and nothing runs."""
    lab = small_lab()
    probe = replace(lab.probe_rows[0], state="interrupted", n=195, wall_s=5.0, member_steps=14_670)
    job = job_row(probe.job_id, state="queued", wall_s=6.0, device_s=6.0, member_steps=100)
    (told,) = [line for line in summary_lines(job, False, [probe]) if line.startswith("time")]
    assert "6.0s wall" in told
    assert told.endswith("; and 5.0s, 14,670 in N = 195, not over")
    assert "not over" not in "".join(summary_lines(replace(job, state="done"), False, [probe]))
    trial = replace(lab.trial_rows[0], job_id=job.id, outcome="running")
    for state, supervised, outcome in (
        ("queued", True, "interrupted"), ("running", False, "interrupted"), ("running", True, "running"),
    ):  # fmt: skip
        row = trial_lines([TrialRowPlus(trial, replace(job, state=state))], supervised)[-1]  # type: ignore[arg-type]
        assert f" {outcome} " in row


def test_an_estimate_says_where_it_is_less_sure() -> None:
    job = job_row(1, strategy="adaptive", state="done", status="bracket", hi=30, estimate=(28.0, 21.0, 34.0))
    assert any("less sure where success is a step in N" in plain(line) for line in facts(job, 100))
    assert any("less sure where success is a step in N" in line for line in summary_lines(job))
    assert not any("step in N" in plain(line) for line in facts(replace(job, estimate=None), 100))
