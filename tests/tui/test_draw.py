"""What the drawing functions draw, without a terminal."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtui.analysis.eta import Eta, Outlook, QueueOutlook, candidates_left, job_eta
from labtui.tui.actions import SCREENS, Keymap, on_pane
from labtui.tui.dialogs import help_lines
from labtui.tui.header import footer_line, study_strip, tab_line
from labtui.tui.screens.compare import ComparePane, Side
from labtui.tui.screens.new import _where
from labtui.views.bracket import NOTHING, Across, bracket_chart, crossed, steps
from labtui.views.events import what
from labtui.views.gauges import Gauges, gauge_lines, users_lines
from labtui.views.heat import heat_level, heat_map
from labtui.views.job import telling
from labtui.views.kappa import cell_spans, level, sharing
from labtui.views.lines import bar, plain, rule, size, sparkline, thin_bar
from labtui.views.metric import loss_below
from labtui.views.plot import Axis, Level, Series, plot, span, ticks
from labtui.views.queue import Widths, bracket_spark, bracket_ticks, cells, eta_line
from labtui.views.signs import MODEL_SIGN, model_sign, model_style
from labtui.views.table import layout
from labtui.views.trials import TrialRowPlus
from labtui.views.trials import cells as cells_of_trial
from runners.machine import CardUser, Gpu, Reading
from store.rows import EventRow, TrialOutcome, TrialRow
from tests.tui.fake import job_row, small_lab


@given(st.floats(allow_nan=True), st.integers(1, 40))
def test_bars_are_exact_whatever_the_value(value: float, width: int) -> None:
    assert size(bar(value, width)) == size(thin_bar(value, width)) == width
    assert size(sparkline([value, 0.5], width)) == width


@given(st.floats(1e-6, 1e12), st.floats(1.01, 1e9), st.integers(2, 12))
def test_ticks_lie_inside_and_are_few(low: float, factor: float, most: int) -> None:
    axis = Axis(low, low * factor)
    found = ticks(axis, most)
    assert len(found) <= max(9, most + 1)
    assert all(axis.low * 0.99 <= t <= axis.high * 1.01 for t in found)
    assert found == sorted(found)


def test_log_ticks_are_those_a_person_would_choose() -> None:
    assert [round(t) for t in ticks(Axis(80, 40_000), 6)] == [100, 300, 1000, 3000, 10_000, 30_000]
    assert ticks(Axis(3.5, 7.5, True, True), 9) == [4.0, 5.0, 6.0, 7.0]
    assert ticks(Axis(0, 250, False), 5) == [0, 50, 100, 150, 200, 250]


values = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(values, values), max_size=30), st.integers(1, 80), st.integers(1, 30))
def test_a_plot_bears_any_number(points: list[tuple[float, float]], width: int, height: int) -> None:
    x, y = span([a for a, _ in points], log=True), span([b for _, b in points], log=True)
    series = Series(
        tuple(points),
        "ok",
        "●",
        True,
        tuple((a, b, a) for a, b in points if math.isfinite(a) and math.isfinite(b)),
    )
    lines = plot([series], width, height, x, y, levels=[Level(1.0, "eps")])
    assert lines == [] or (len(lines) == height and all(size(line) == width for line in lines))


def test_a_plot_shows_points_levels_and_censored_arrows() -> None:
    series = Series(((10.0, 100.0), (1000.0, 10_000.0)), "ok", "●", False, (), ((100.0, 50_000.0),))
    text = "\n".join(
        map(
            plain,
            plot(
                [series],
                60,
                12,
                Axis(5, 2000),
                Axis(50, 60_000),
                levels=[Level(1000, "joint")],
                y_format="count",
            ),
        )
    )
    assert text.count("●") == 2
    assert text.count("↑") == 1
    assert "joint" in text
    assert "10k" in text


def test_bars_stand_in_the_column_of_their_sign_and_nothing_hides_a_curve() -> None:
    series = Series(
        ((3.0, 100.0), (5.0, 100.0)), "ok", "●", True, tuple((x, 20.0, 800.0) for x in (3.0, 5.0))
    )
    lines = plot([series], 61, 21, Axis(2, 6, False, True), Axis(10, 1000), levels=[Level(100.0, "eps")])
    at = {
        i for i, char in enumerate(plain(next(line for line in lines if "●" in plain(line)))) if char == "●"
    }
    assert len(at) == 2
    bars = [{i for i, char in enumerate(plain(line)) if char in "┃╹╻"} for line in lines]
    assert [found for found in bars if found] == [at] * sum(map(bool, bars))
    assert sum(map(bool, bars)) >= 10
    between = plain(next(line for line in lines if "●" in plain(line)))[min(at) + 1 : max(at)]
    assert all(0x2800 <= ord(char) < 0x2900 for char in between)


def test_the_candidate_that_is_shown_first_tells_most() -> None:
    lab = small_lab()
    for job in lab.rows:
        found = telling(job, lab.probes(job.id))
        if job.status == "bracket":
            assert found is not None
            assert found.n == job.hi
    job = next(j for j in lab.rows if j.status == "bracket")
    probes = lab.probes(job.id)
    ahead = replace(probes[-1], id=10_000, n=1, verdict=None, state="cancelled", speculative=True)
    assert telling(job, [*probes, ahead]) == telling(job, probes)
    training = replace(probes[-1], id=10_001, state="running", verdict=None)
    assert telling(job, [*probes, training, ahead]) == training
    assert telling(job, []) is None


def test_the_bracket_closes_in() -> None:
    lab = small_lab()
    job = next(j for j in lab.rows if j.status == "bracket")
    rows = steps(lab.probes(job.id))
    widths = [(s.hi or job.n_max) - s.lo for s in rows]
    assert widths == sorted(widths, reverse=True)
    assert (rows[-1].lo, rows[-1].hi) == (job.lo, job.hi)
    lines = bracket_chart(job, lab.probes(job.id), 78, 20)
    assert len(lines) == 20
    text = "\n".join(map(plain, lines))
    assert text.count("✓") + text.count("✗") == len(rows)
    assert f"{rows[-1].probe.n:,}" in text


def test_speculation_is_never_evidence() -> None:
    lab = small_lab()
    job = next(j for j in lab.rows if j.status == "bracket")
    probes = lab.probes(job.id)
    ahead = replace(probes[-1], id=10_000, n=1, verdict=True, speculative=True)
    assert steps([*probes, ahead])[-1].hi == job.hi


def test_a_short_chart_keeps_the_newest() -> None:
    lab = small_lab()
    job = max((j for j in lab.rows if j.status == "bracket"), key=lambda j: j.candidates)
    probes = lab.probes(job.id)
    text = "\n".join(map(plain, bracket_chart(job, probes, 60, 6)))
    assert f"{probes[-1].n:,}" in text
    assert f"+{len(probes) - 4} above" in text


def trial(lr: float, seed: int, best: float | None, outcome: TrialOutcome = "failure") -> TrialRow:
    return TrialRow(seed, 1, 1, 10, lr, seed, outcome, best, 5, best, 5, 0.1, None)


def test_seeds_over_the_grid_are_whole_or_say_that_they_are_not() -> None:
    """Fresh seeds have ten digits: two of them side by side are no number of twenty."""
    seeds = (598375830, 1105327951, 2280072271, 1923219347)
    trials = [trial(1e-2, seed, 0.5) for seed in seeds]
    for width in range(12, 80):
        told = plain(heat_map(trials, loss_below(1e-3), width, 8)[0]).split()[1:]
        told = [word for word in told if not word.startswith("+")]
        assert told, width
        for word in told:
            whole = word.lstrip("…")
            assert (word == whole) == (int(whole) in seeds), (width, word)
            assert any(str(seed).endswith(whole) for seed in seeds)


def test_a_loss_in_a_cell_is_whole_or_not_there() -> None:
    for seeds in range(1, 14):
        trials = [trial(1e-2, seed, 0.0495) for seed in range(seeds)]
        for width in range(20, 90):
            told = plain(heat_map(trials, loss_below(1e-3), width, 2)[1])
            assert set(re.findall(r"[0-9.]+…?", told.partition("1e-2")[2])) <= {"0.0495"}, (seeds, width)


def test_the_heat_map_says_what_colour_says() -> None:
    assert [heat_level(v, 1e-3) for v in (9e-4, 1e-3, 7e-3, 1.0, 1e4, None, math.inf, math.nan)] == [
        0,
        1,
        2,
        4,
        5,
        5,
        5,
        5,
    ]
    trials = [trial(1e-2, 10, 5e-4, "success"), trial(1e-2, 20, 0.5), trial(1e-3, 10, math.inf, "diverged")]
    text = "\n".join(map(plain, heat_map(trials, loss_below(1e-3), 40, 8)))
    assert "✓ 5.0e-4" in text
    assert "✗ 0.5000" in text
    assert "∞" in text
    many = [trial(1e-2, s, 0.1) for s in range(40)]
    assert "+" in plain(heat_map(many, loss_below(1e-3), 40, 8)[0])


def test_every_kind_of_kappa_has_its_look() -> None:
    cells = {sharing(c).status: sharing(c) for c in small_lab().cell_rows}
    assert set(cells) >= {"complete", "pending", "unknown", "upper_bound", "lower_bound"}
    for kappa in cells.values():
        for width in (7, 12, 20):
            assert size(cell_spans([kappa], width)) == width
    assert "[" in plain(cell_spans([cells["complete"]], 20))
    assert "≥" in plain(cell_spans([cells["lower_bound"]], 12))
    assert "/" in plain(cell_spans([cells["pending"]], 12))
    shared = replace(cells["complete"], value=4.2)
    assert level(shared) == 3
    assert level(replace(shared, value=0.24)) == -3
    assert level(replace(shared, value=1.1)) == 0
    assert level(cells["unknown"]) is None


def test_the_spark_shows_what_is_open_on_one_axis_for_all() -> None:
    assert plain(bracket_spark(job_row(1, n_max=1024), 10, 1000)) == ""
    open_job = job_row(1, state="running", n_max=1000, lo=10, hi=100)
    assert plain(bracket_spark(open_job, 10, 1000)) == "···━━━━───"
    beyond = replace(open_job, status="censored", hi=None, n_max=100)
    assert plain(bracket_spark(beyond, 10, 1000)) == "······→"
    assert size(bracket_spark(job_row(1, n_max=1, lo=0, hi=1, status="bracket"), 10, 10)) == 1
    places = []
    for n, n_max in ((4, 500), (8, 60), (491, 1000), (15_500, 16_000_000)):
        job = job_row(1, status="bracket", lo=n - 1, hi=n, n_max=n_max)
        places.append(plain(bracket_spark(job, 40, 100_000_000)).index("◆"))
    assert places == sorted(places)
    assert len(set(places)) == 4
    assert bracket_ticks(24, 10_000).split() == ["1", "10", "100", "1k", "10k"]


def test_a_label_is_never_cut_to_another_model_nor_lengths_to_other_lengths() -> None:
    wide = Widths()
    rows = [
        job_row(1, model="transformer", model_label="transformer 12x1024", length=30),
        job_row(2, distribution="short_to_long", length=30),
    ]
    wide.see(rows)
    for width in (78, 118, 198):
        columns = layout(wide.columns(), width, 1)
        room = {c.key: w for c, w in columns}
        for row in rows:
            drawn = cells(row, room)
            for key in {"model", "lengths", "nstar"} & set(room):
                assert "…" not in plain(drawn[key])
                assert size(drawn[key]) <= room[key]
        assert {"model", "lengths", "state", "nstar"} <= set(room)


def test_brackets_go_after_the_grid_and_empty_columns_first() -> None:
    wide = Widths()
    wide.see([job_row(1, status="bracket", state="done", lo=3, hi=4)])
    keys = {c.key for c, _ in layout(wide.columns(), 98, 2)}
    assert "bracket" in keys
    assert not {"grid", "device", "priority", "name"} & keys
    wide.see([job_row(2, state="running", device="cpu", progress=0.1)])
    assert {"grid", "device"} <= {c.key for c, _ in layout(wide.columns(), 198, 2)}


def test_eta_tells_its_basis() -> None:
    job = job_row(1, state="running", lo=100, hi=200, candidates=4, wall_s=40.0)
    assert candidates_left(job) == 3
    guess = job_eta(job)
    assert guess.seconds == pytest.approx(30.0, rel=0.2)
    assert "its own pace" in guess.basis
    assert job_eta(job_row(1)).seconds is None
    assert job_eta(job_row(1, state="done")).seconds is None


def test_models_have_one_sign_each() -> None:
    assert len(set(MODEL_SIGN.values())) == 3
    assert model_sign("mamba-plugin") == model_sign("mamba-plugin")
    assert model_style("mamba-plugin").startswith("plugin.")


def test_the_frame_fits_every_width() -> None:
    keymap = Keymap()
    everything = frozenset(keymap.keys)
    for width in (60, 80, 120, 200):
        assert size(tab_line("kappa", keymap, width)) == width
        footer = footer_line("queue", keymap, width, everything, None)
        assert size(footer) == width
        assert "help" in plain(footer)
        assert "quit" in plain(footer)
    told = plain(footer_line("queue", keymap, 80, everything, ("done", "ok")))
    assert told.startswith(" done   enter open")  # what happened takes no key away that has room
    assert told.endswith("? help  q quit")
    assert plain(footer_line("queue", keymap, 80, everything, ("x" * 90, "ok"))).endswith("…")


def test_studies_that_do_not_fit_are_counted() -> None:
    from labtui.tui.poller import Common

    lab = small_lab()
    studies = tuple(replace(lab.study_rows[0], id=i, name=f"study {i}") for i in range(20))
    common = Common({}, None, studies, 0, 0, (), (), False, "")
    line = plain(study_strip(common, 15, 100))
    assert "study 15" in line
    assert "‹13" in line
    assert "+" in line
    for name in ("x" * 25, "あ" * 13, "x" * 24):
        told = plain(study_strip(replace(common, studies=(replace(studies[0], name=name),)), None, 100))
        assert ("…" in told) == (len(name) != 24)


def test_gauges_tell_who_else_is_there() -> None:
    gauges = Gauges()
    assert gauge_lines(gauges, 120)
    users = (
        CardUser(11, "me", "python", 3e10, True),
        CardUser(12, "ann", "python3", 1e9, False),
        CardUser(13, "bob [red]", "jax", 8e9, False),
        CardUser(14, "ann", "python3", 2e9, False),
        CardUser(15, "?", "?", None, False),
    )
    gauges.add(Reading(0.5, 8, 4e9, 16e9, (Gpu(0, "H200", 0.97, 4e10, 1.4e11, 63, 512.0, users),)))
    text = "\n".join(map(plain, gauge_lines(gauges, 160)))
    assert "50%" in text
    assert "63°C" in text
    assert "also bob [red] 7.5G, ann 2.8G, 1 more" in text
    short = gauge_lines(gauges, 80, short=True)
    assert all(size(line) <= 80 for line in short)
    assert "+4 others" in plain(short[1])
    still = gauge_lines(gauges, 160, still=True)
    assert "(labtui idle)" in plain(still[0])
    assert not {"accent", "warn"} & {style for _, style in still[0]}
    rows = [plain(line).split() for line in users_lines(gauges.last)]
    assert [row[0] for row in rows[2:]] == ["11", "13", "14", "12", "15"]
    assert rows[2][-2:] == ["this", "lab"]
    assert rows[-1] == ["15", "–", "?", "?"]


def test_an_event_of_a_job_says_what_came_out_of_it() -> None:
    event = EventRow(1, 0.0, "job.done", "info", 7, None, "Z3 acot n=7 dense_ssm 16: running to done", "")
    assert plain(what(event)) == "✓ done  Z3 acot n=7 dense_ssm 16"
    job = job_row(7, state="done", status="bracket", lo=940, hi=1118, wall_s=64.0)
    assert plain(what(event, job)) == "✓ done  N* 1,118  dense_ssm 16 Z3 acot 2..7  took 64s"
    failed = replace(event, kind="job.failed", level="error", text="a: b: running to failed (failed)")
    bad = job_row(
        7,
        state="failed",
        reason="failed\nCUDA error: an illegal access",
        failure="failed",
        attempt=9,
        crashes=3,
    )
    told = plain(what(failed, bad, named=False))
    assert told == "✗ failed, crash 3 of 3: CUDA error: an illegal access"
    refused = replace(bad, crashes=0, reason="stale\nit was queued by an older version")
    assert plain(what(failed, refused, named=False)).startswith("✗ failed: "), "no crash gave it up"
    assert plain(what(replace(event, kind="probe.done", text="N = 3124: success"))) == "  N = 3,124: success"
    assert what(replace(event, kind="device.lost", level="error", text="cuda:0 is gone"))[0][1] == "bad"


def test_a_trial_draws_its_loss_in_its_row() -> None:
    lab = small_lab()
    trial = next(t for t in lab.trial_rows if t.id in lab.curve_rows)
    job = lab.job(trial.job_id)
    row = TrialRowPlus(trial, job, lab.curve_rows[trial.id])
    drawn = plain(cells_of_trial(row, {"loss": 12})["loss"])
    assert set(drawn) <= set(" ▁▂▃▄▅▆▇█")
    assert drawn[0] == "▇"  # from its highest, apart from the row above
    assert cells_of_trial(TrialRowPlus(trial, job), {"loss": 12})["loss"] == ()
    assert "interrupted" in plain(
        cells_of_trial(TrialRowPlus(replace(trial, outcome="running"), job), {}, supervised=False)["outcome"]
    )


def test_the_form_counts_sweeps_from_one() -> None:
    assert _where("sweep[1].m is 1; expected at least 2", 2) == "sweep 2: m is 1; expected at least 2"
    assert _where("sweep[0].m is 1; expected at least 2", 1) == "m is 1; expected at least 2"
    assert _where("the file is empty", 1) == "the file is empty"


def test_an_idle_gauge_says_when_it_was_read_and_its_history_has_a_track() -> None:
    gauges = Gauges()
    gauges.add(Reading(0.5, 8, 4e9, 16e9, ()))
    wide, short = (plain(gauge_lines(gauges, w, short=w < 110, still=True)[0]) for w in (120, 80))
    assert "(labtui idle)" in wide
    assert "·" * 19 in wide
    assert "as of" in short
    assert len(short) <= 80


def test_how_far_a_kappa_is_from_one_stands_beside_it() -> None:
    found = next(sharing(c) for c in small_lab().cell_rows if sharing(c).status == "complete")
    for value, told in ((4.2, "→→→"), (2.4, "→→"), (1.98, "→→"), (1.4, "→"), (1.0, ""), (0.45, "←←")):
        text = plain(cell_spans([replace(found, value=value, low=None, high=None)], 20))
        assert text.split()[1:] == ([told] if told else [])


def test_help_cuts_neither_key_nor_meaning() -> None:
    keymap = Keymap()
    for pane in SCREENS:
        for width in (40, 44, 72):
            lines = help_lines(pane, keymap, width, frozenset())
            assert max(map(size, lines)) <= width, (pane, width)
            words = {word for line in lines for word in plain(line).split()}
            for action in on_pane(pane):
                assert set(keymap.names(action.id).split()) <= words, (pane, action.id)


def test_a_paused_search_is_not_among_those_that_are_done_by_then() -> None:
    found = QueueOutlook(Outlook(), Eta(60.0, "3 queued"))
    assert plain(eta_line(found)) == "all done in ~60s: 3 queued"
    assert plain(eta_line(found, paused=2)) == "rest done in ~60s: 3 queued"


def test_two_searches_side_by_side_tell_what_was_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits took no time and has no candidate."""
    monkeypatch.setattr(ComparePane, "supervised", True)
    waits = Side(job_row(1), (), NOTHING, "{}")
    text = "\n".join(map(plain, ComparePane()._side(waits, Axis(1, 100), 58, 12, job_row(2))))
    assert "took" not in text
    assert "no candidate yet" in text
    assert "N* can be here" not in text


@pytest.mark.parametrize("width", [58, 98])
def test_the_other_search_stands_as_a_line_on_the_axis_of_both(width: int) -> None:
    lab = small_lab()
    job = next(j for j in lab.rows if j.status == "bracket")
    probes = lab.probes(job.id)
    axis = Axis(1, 100_000)
    bare = bracket_chart(job, probes, width, 14, axis=axis)
    beside = Across(90_000.0, "model.lstm", "job 7")
    lines = crossed(bare, axis, width, beside)
    assert len({plain(line).index("╏") for line in lines[:-2]}) == 1  # right of all that is drawn
    assert "╏ job 7" in plain(lines[-2])
    inside = replace(beside, n=float(job.hi or 1))
    for one, other in zip(
        bare[:-2], crossed(bare, axis, width, inside)[:-2], strict=True
    ):  # never over what the chart says
        said = plain(other).replace("╏", " ")
        assert said.replace("┊", " ").split() == plain(one).replace("┊", " ").split()


def test_a_note_without_room_leaves_its_rule_the_line() -> None:
    assert plain(rule("title", 20, "a note of some length")) == "title ──────────────"
