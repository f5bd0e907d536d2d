"""What is told of time: from the lab's own past, by one estimator, within the limits that the docs name."""

from __future__ import annotations

import json
import math
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.estimates import (
    Past,
    as_it_stood,
    as_queued,
    at_submit,
    in_order,
    moments,
    of_the_queue,
    read,
    summary,
)
from labtui.analysis.cost import cost
from labtui.analysis.eta import (
    Design,
    Eta,
    Outlook,
    candidates_left,
    designs,
    expected_candidates,
    read_outlook,
    work_of,
    work_of_spec,
)
from runners.search.bisection import RULES
from runners.spec import LSTM, DenseSSM, Job, Lengths, ModularAddition, PluginModel, Search, Study, load
from runners.strategies import STRATEGIES
from store.read import open_lab
from store.rows import JobRow, ProbeRow
from tests.tui.fake import job_row

DEMO = Path(__file__).resolve().parents[2] / "docs" / "labs" / "demo.db"


def simulated(seed: int, count: int = 60) -> list[JobRow]:
    """Searches of three kinds on a machine of unknown speed, with scatter of their own."""
    rng = random.Random(seed)
    speed = math.exp(rng.gauss(0, 1.0))
    kinds = [("lstm", "lstm 64", 3e-4, 1.0), ("transformer", "transformer 2x64", 6e-3, 1.6),
             ("dense_ssm", "dense_ssm 24", 2e-4, 0.6)]  # fmt: skip
    out, clock = [], 1000.0
    for i in range(count):
        model, label, step_s, hard = kinds[i % 3]
        L = rng.choice([4, 5, 6, 7])
        own: dict[str, Any] = {
            "model": model, "model_label": label, "format": "acot", "length": L, "n_max": 3**L,
            "trials_per_probe": 6, "steps": 1000, "strategy": "log", "state": "done",
        }  # fmt: skip
        share = min(1.0, 0.5 * hard * math.exp(rng.gauss(0, 0.3)))
        seconds = expected_candidates("log", 3**L) * 6000 * share * step_s * speed
        row = job_row(i + 1, **own)
        out.append(replace(row, candidates=7, device_s=seconds, wall_s=seconds, started_at=clock,
                           member_steps=round(seconds / step_s / speed), created_at=0.0,
                           finished_at=clock + seconds))  # fmt: skip
        clock += seconds
    return out


def probes_of(job: JobRow) -> list[ProbeRow]:
    """As many candidates as the row tells, each of the same length."""
    began, each = job.started_at or 0.0, job.wall_s / job.candidates
    return [
        ProbeRow(
            id=10 * job.id + i, job_id=job.id, ordinal=i, n=2 ** (9 - i), state="done", verdict=i % 2 == 0,
            speculative=False, attempt=1, device="cpu", slot="cpu.0", started_at=began + i * each,
            ended_at=began + (i + 1) * each, wall_s=each, trials=6, trials_ended=6, step=1000,
            member_steps=job.member_steps // job.candidates, best_loss=None, plan="{}", seeds=0, successes=0,
        )
        for i in range(job.candidates)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_a_study_is_told_within_half_and_twice(seed: int) -> None:
    jobs = simulated(seed)
    found = summary(Past(jobs, {job.id: probes_of(job) for job in jobs}, {}))
    assert found.searches > 50
    assert found.within_twice >= 0.8
    assert found.rest_within >= 0.8
    assert found.held >= 0.7
    assert found.rest_held >= 0.7


def test_the_demo_lab_is_told_within_half_and_twice() -> None:
    past = read(str(DEMO))
    found = summary(past)
    assert found.searches > 20
    assert found.within_twice >= 0.8
    assert len(at_submit(past)) == len(in_order(past.jobs))
    queue = of_the_queue(past, 20)
    assert queue[-1].share > 0.8
    assert all(told.ratio > 0 for told in queue)
    assert sum(told.held for told in queue) >= 0.8 * len(queue), "of 80 % intervals"


def test_a_replay_knows_nothing_of_what_comes() -> None:
    """Neither of searches that end later, nor of ones that are submitted later, nor of how one went on."""
    jobs = simulated(1, count=12)
    probes = {job.id: probes_of(job) for job in jobs}
    now = list(moments(Past(jobs, probes, {}), 10))[4]
    late = [replace(job, device_s=job.device_s * 50) if (job.finished_at or 0) > now else job for job in jobs]
    late += [replace(jobs[-1], id=99, created_at=now + 1, device_s=1e6)]
    more = {**probes, 99: probes_of(late[-1])}
    for job, other in zip(jobs, late, strict=False):
        row, _ = as_it_stood(job, probes[job.id], now)
        assert replace(as_it_stood(other, more[job.id], now)[0], device_s=row.device_s) == row
    known = [job for job in jobs if (job.finished_at or 0) <= now]
    assert Outlook(known).queue([], [as_queued(late[-1])]) == Outlook(known).queue([], [as_queued(jobs[-1])])


def test_an_even_speed_keeps_the_steps() -> None:
    past = read(str(DEMO))
    even = past.at_even_speed()
    for job in even.jobs:
        assert job.device_s == pytest.approx(sum(p.wall_s for p in even.probes[job.id]))
        steps = [p.member_steps for p in even.probes[job.id]]
        assert steps == [p.member_steps for p in past.probes[job.id]]
        pace = {round(p.wall_s / p.member_steps, 12) for p in even.probes[job.id] if p.member_steps}
        assert len(pace) == 1


def test_each_strategy_has_its_own_number_of_candidates() -> None:
    n_max = 16_000_000
    assert expected_candidates("log", n_max, rtol=0.2) < expected_candidates("log", n_max, rtol=0.1)
    assert expected_candidates("log", n_max, rtol=0.0) > expected_candidates("log", n_max, rtol=0.1)
    assert expected_candidates("paper", n_max, most=20) <= 20
    assert expected_candidates("scan", n_max, rungs=7, most=400) == 7
    narrow = expected_candidates("adaptive", n_max, width=0.25, budget=400, seeds=5)
    wide = expected_candidates("adaptive", n_max, width=0.5, budget=400, seeds=5)
    assert wide < narrow <= 80
    assert expected_candidates("adaptive", n_max, width=0.1, budget=50, seeds=5) == 10
    for strategy in RULES:
        for small in (1, 2, 3, 10):
            assert expected_candidates(strategy, small) >= 1


def test_a_stored_search_and_its_spec_are_the_same_work() -> None:
    study = load("demo")
    assert isinstance(study, Study)
    with open_lab(DEMO, read_only=True) as lab:
        # Not by their hashes: the lab is of an older science version.
        rows = {(r.model_label, r.format, r.distribution, r.length, r.min_length): r for r in lab.jobs()}
        specs = designs(lab, [r.id for r in rows.values()])
    both = []
    for job in study.jobs():
        at = job.lengths
        key = (job.model.label, job.format, at.distribution, at.length, at.min_length)
        both.append((work_of_spec(job), work_of(rows[key], specs[rows[key].id])))
    assert both
    for spec, stored in both:
        assert spec.kind == stored.kind
        assert spec.candidates == stored.candidates
        assert (spec.trials, spec.steps) == (stored.trials, stored.steps)


def test_nothing_measured_is_wide_and_a_plugin_is_unknown() -> None:
    job = as_queued(job_row(1, model="lstm", model_label="lstm 32"))
    guess = Outlook().left(job)
    assert guess.seconds is not None
    assert guess.low is not None
    assert guess.high is not None
    assert guess.high > 4 * guess.low
    assert "nothing was measured" in guess.basis
    plugin = as_queued(job_row(2, model="mine", model_label="mine"))
    unknown = Outlook().left(plugin)
    assert unknown.seconds is None
    assert unknown.basis.startswith("unknown")
    assert Outlook().queue([], [job, plugin]).seconds is None
    ran = job_row(3, model="mine", model_label="mine", state="done", device_s=7.0, wall_s=7.0)
    assert Outlook([ran]).left(plugin).seconds == pytest.approx(7.0)
    many = Outlook([replace(ran, id=i) for i in range(30)])
    five = many.total([many.work(plugin)] * 5)
    assert five.mean == pytest.approx(35.0, rel=0.03), "what each of them took, five times"
    assert many.total([many.work(plugin)]).seconds == pytest.approx(7.0, rel=0.03), "one is told as itself"


def test_the_queue_takes_as_long_as_its_longest_search_may() -> None:
    job = job_row(
        1, model="lstm", model_label="lstm 32", state="running", status="open", lo=8, hi=64, candidates=4,
        device_s=300.0, wall_s=300.0, member_steps=30_000, progress=0.2,
    )  # fmt: skip
    for slots in (1, 2, 8):
        outlook = Outlook(slots=slots)
        one, queue = outlook.left(job), outlook.queue([job], [])
        assert queue.high is not None
        assert queue.seconds is not None
        assert queue.seconds >= (one.seconds or 0)
        assert queue.high >= (one.high or 0) > (one.seconds or 0)


def test_an_interval_is_shown_where_it_is_wide() -> None:
    assert Eta(100.0, "", 90.0, 110.0).text == "~1m40"
    assert Eta(100.0, "", 30.0, 300.0).text == "30s–5m00"
    assert Eta(None).text == "–"


def test_two_slots_halve_the_queue_and_a_measured_pace_decides() -> None:
    done = [
        job_row(i, state="done", device_s=10.0, wall_s=10.0, started_at=0.0, finished_at=10.0) for i in (1, 2)
    ]
    assert Outlook(done, slots=4).parallel == pytest.approx(2.0)
    assert Outlook(done, slots=1).parallel == pytest.approx(1.0), "never more than there are slots"
    waiting = [as_queued(job_row(i)) for i in (3, 4, 5, 6)]
    whole = Outlook(done, slots=4).queue([], waiting)
    sampled = Outlook(done, slots=4).queue([], waiting[::2], count=4)
    assert whole.seconds == pytest.approx(sampled.seconds)


def test_queue_and_watch_read_one_outlook() -> None:
    with open_lab(DEMO, read_only=True) as lab:
        found = read_outlook(lab)
    assert found.eta.seconds is None, "nothing runs or waits"
    assert found.outlook.parallel > 0


def search(**values: Any) -> Job:
    """A job for its cost."""
    base: dict[str, Any] = {
        "task": ModularAddition(m=3), "model": LSTM(hidden=32), "format": "acot",
        "lengths": Lengths(distribution="fixed", length=5),
    }  # fmt: skip
    return Job(**base | values)


def test_cost_counts_distinct_searches_once() -> None:
    one, two = search(), search(model=DenseSSM(hidden=16))
    assert cost([one, one], Outlook()) == cost([one], Outlook())
    both = cost([one, two], Outlook())
    assert both.searches == 2
    assert both.trials_most == 2 * 60 * 15
    each = [cost([job], Outlook()).device for job in (one, two)]
    assert both.device.mean == pytest.approx(sum(eta.mean or 0 for eta in each))
    assert sum(eta.seconds or 0 for eta in each) < (both.device.seconds or 0) < (both.device.mean or 0)
    fast = cost([one], Outlook(speed={("lstm 32", 5): 1e6}))
    assert fast.device.seconds == pytest.approx(0.5 * fast.member_steps / 1e6, rel=0.25)
    assert "speed measured" in fast.device.basis


def test_a_larger_model_costs_more_and_a_plugin_is_unknown_until_one_ran() -> None:
    sizes = [cost([search(model=LSTM(hidden=h))], Outlook()).device.seconds for h in (32, 768)]
    assert sizes[0] is not None
    assert sizes[1] is not None
    assert sizes[1] > 50 * sizes[0]
    plugin = cost([search(model=PluginModel(name="mine", version="1")), search()], Outlook())
    assert plugin.device.seconds is None
    assert plugin.unknown == ("mine",)
    assert plugin.device.basis == "unknown until a search of mine was timed here"


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_expected_candidates_stay_within_the_limit(strategy: Any) -> None:
    ladder = (1, 2, 4) if strategy == "scan" else ()
    for m in (2, 3, 50):
        one = search(task=ModularAddition(m=m), search=Search(strategy=strategy, ladder=ladder))
        assert 1 <= work_of_spec(one).candidates <= one.search.candidates


def test_a_walk_down_from_n_max_has_three_more_candidates_that_take_as_long() -> None:
    failed = job_row(
        1, state="running", strategy="log", status="open", n_max=903, lo=903, hi=None, candidates=1,
        device_s=80.0, wall_s=80.0, progress=0.0,
    )  # fmt: skip
    past = [job_row(2, state="done", device_s=20.0, wall_s=20.0)]
    for walked, left in ((1, 3), (2, 2), (3, 1), (4, 0)):
        row = replace(failed, candidates=walked, device_s=80.0 * walked, wall_s=80.0 * walked)
        assert candidates_left(row) == left
        assert Outlook(past).left(row).seconds == pytest.approx(80.0 * left)
    assert candidates_left(replace(failed, strategy="paper")) == 0
    assert candidates_left(replace(failed, n_max=3, lo=3)) == 1, "a half of it, and no fourth"


def rows() -> st.SearchStrategy[JobRow]:
    """Searches at any point of their course, sensible or not."""

    def build(draw: Any) -> JobRow:
        n_max = draw(st.integers(1, 10**7))
        hi = draw(st.none() | st.integers(1, n_max))
        lo = draw(st.integers(0, (hi or n_max + 1) - 1))
        value = draw(st.floats(1, 1e6))
        low, high = draw(st.floats(0.01, 1)), draw(st.floats(1, 100))
        estimate = draw(st.sampled_from([None, (value, value * low, value * high)]))
        candidates = draw(st.integers(0, 60))
        return job_row(
            1, state=draw(st.sampled_from(["queued", "running", "paused"])), n_max=n_max, lo=lo, hi=hi,
            strategy=draw(st.sampled_from(sorted(STRATEGIES))), estimate=estimate,
            candidates=candidates, device_s=draw(st.floats(0, 1e6)), wall_s=draw(st.floats(0, 1e6)),
            member_steps=draw(st.integers(0, 10**9)), progress=draw(st.floats(0, 1)),
            length=draw(st.integers(0, 10_000)), steps=draw(st.sampled_from([0, 1, 500, 250_000])),
            model_label=draw(st.sampled_from(["dense_ssm 16", "mine"])),
            model=draw(st.sampled_from(["dense_ssm", "lstm", "mine"])),
        )  # fmt: skip

    return st.composite(build)()


PASTS = [Outlook(), Outlook(simulated(0, 20)), Outlook(simulated(1, 20), speed={("mine", 7): 1e4})]


@given(job=rows(), past=st.sampled_from(PASTS), more=st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_a_guess_is_no_less_than_nothing_and_lies_in_its_interval(
    job: JobRow, past: Outlook, more: float
) -> None:
    for guess in (past.left(job), past.queue([job], [job]), past.queue([], [job], count=9)):
        if guess.seconds is None:
            continue
        assert guess.low is not None
        assert guess.high is not None
        assert 0 <= guess.low <= guess.seconds <= guess.high < math.inf
    further = replace(job, progress=min(1.0, job.progress + more))
    now, then = past.left(job).seconds, past.left(further).seconds
    assert (now is None) == (then is None)
    if now is not None and then is not None:
        assert then <= now * (1 + 1e-9), "less is left where more of the same candidate is trained"


@pytest.mark.parametrize("past", PASTS)
def test_less_is_left_as_a_search_goes_on(past: Outlook) -> None:
    """One that goes as expected: what is left falls with each candidate."""
    log = [(0, None, 0), (0, 500, 1), (0, 125, 3), (31, 62, 5), (44, 62, 6), (52, 62, 7)]
    rest = []
    for lo, hi, candidates in log:
        job = job_row(
            1, state="running" if candidates else "queued", lo=lo, hi=hi, n_max=1000, candidates=candidates,
            device_s=200.0 * candidates, wall_s=200.0 * candidates, member_steps=1000 * candidates,
        )  # fmt: skip
        rest.append(past.left(job).seconds)
    assert rest[1:] == sorted(rest[1:], key=lambda s: -(s or 0.0))
    widths = [(4.0, 2), (2.0, 4), (1.0, 8), (0.6, 14)]  # as 1 / work
    left = []
    for width, candidates in widths:
        job = job_row(
            1, state="running", strategy="adaptive", hi=50, lo=20, candidates=candidates,
            estimate=(30.0, 30.0 - 10 * min(width, 2), 30.0 + 30 * width - 10 * min(width, 2)),
            device_s=200.0 * candidates, wall_s=200.0 * candidates, member_steps=1000 * candidates,
        )  # fmt: skip
        left.append(past.left(job).seconds)
    assert left == sorted(left, key=lambda s: -(s or 0.0))


def test_more_that_ran_of_its_kind_make_the_interval_narrower() -> None:
    jobs = simulated(3, 40)
    waiting = as_queued(jobs[0])
    widths = []
    for count in (0, 3, 30):
        guess = Outlook(jobs[1 : 1 + count]).left(waiting)
        assert guess.high is not None
        assert guess.low is not None
        widths.append(math.log(guess.high / guess.low))
    assert widths == sorted(widths, reverse=True)


def test_seconds_are_as_long_as_the_machine_makes_them() -> None:
    """Twice as slow a machine takes twice as long, in every estimate that rests on its past."""
    jobs = simulated(2, 30)
    slow = [replace(job, device_s=2 * job.device_s, wall_s=2 * job.wall_s) for job in jobs]
    waiting = as_queued(jobs[0])
    once, twice = Outlook(jobs).left(waiting).seconds, Outlook(slow).left(waiting).seconds
    assert once is not None
    assert twice == pytest.approx(2 * once, rel=0.05)


def test_the_width_that_a_search_is_asked_for_is_read_from_its_spec() -> None:
    narrow, wide = (job_row(i, strategy="adaptive") for i in (1, 2))
    known = {1: Design(width=0.25), 2: Design(width=1.0)}
    past = Outlook(designs=known)
    first, second = past.left(narrow).seconds, past.left(wide).seconds
    assert first is not None
    assert second is not None
    assert first > 2 * second
    assert Design.read("{}") is None
    assert Design.read("[1]") is None
    assert Design.read("\x00") is None
    with open_lab(DEMO, read_only=True) as lab:
        found = Design.read(lab.job_spec(1))
        assert found is not None
        assert found.seeds == len(json.loads(lab.job_spec(1))["grid"]["seeds"])


def test_show_tells_the_time_that_the_list_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a search that waits beside ones that ran: by the lab's past and its own spec."""
    from labtui.__main__ import main
    from labtui.views import numbers

    spec = tmp_path / "search.toml"
    spec.write_text(
        """[job]
m = 3
format = "acot"
lengths = { distribution = "fixed", length = 6 }
model = { kind = "dense_ssm", hidden = 16 }
search = { strategy = "adaptive", relative_width = 0.2 }
"""
    )
    lab = tmp_path / "lab.db"
    shutil.copy(DEMO, lab)
    assert main(["--lab", str(lab), "submit", str(spec)]) == 0
    with open_lab(lab, read_only=True) as opened:
        job = opened.jobs()[-1]
        found = read_outlook(opened, [job.id]).outlook.left(job)
        narrow = found.seconds
    capsys.readouterr()
    assert main(["--lab", str(lab), "show", str(job.id)]) == 0
    assert f"about {numbers.duration(narrow)} ({found.basis})" in capsys.readouterr().out
    assert narrow is not None
    plain = Outlook().left(job).seconds
    assert plain is not None
    assert narrow != pytest.approx(plain)
