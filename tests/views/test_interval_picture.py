"""Searches with fresh seeds are drawn by the interval of their N*, never by a bracket that they have not."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest

from labtui.analysis.closing import intervals
from labtui.views import numbers
from labtui.views.bracket import bracket_chart, heads
from labtui.views.digits import HEIGHT, large
from labtui.views.job import telling
from labtui.views.lines import plain, size
from labtui.views.queue import bracket_spark
from runners.search import Evidence, replay
from store.rows import JobRow, ProbeRow
from tests.search.conftest import make_job
from tests.tui.fake import job_row, small_lab


def searched(strategy: str, share: float = 0.5) -> tuple[JobRow, list[ProbeRow], str]:
    """A search of which the seeds at each N succeed by a fixed draw: its row, its candidates, its spec."""
    job, draw = make_job(strategy, 4000), random.Random(7)
    like = small_lab().probe_rows[0]
    evidence: list[Evidence] = []
    probes: list[ProbeRow] = []
    while (p := replay(job, evidence)).next is not None:
        n, seeds = p.next.n, len(p.next.seeds or ())
        won = sum(draw.random() < (share if n < 700 else 0.95) * (n > 40) for _ in range(seeds))
        evidence.append(Evidence(n, won > 0, seeds, won, 0.1))
        probes.append(
            replace(
                like, id=len(probes) + 1, n=n, state="done", verdict=won > 0, seeds=seeds, successes=won,
                speculative=False,
            )
        )  # fmt: skip
    end = replay(job, evidence)
    assert end.estimate is not None
    assert end.n50 is not None
    row = job_row(
        1, state="done", strategy=strategy, n_max=job.n_max, lo=end.lo, hi=end.hi, status=end.status,
        candidates=len(probes), estimate=end.estimate.as_tuple(), n50=end.n50.as_tuple(),
    )  # fmt: skip
    return row, probes, job.model_dump_json()


@pytest.mark.parametrize("strategy", ["adaptive", "scan"])
def test_the_interval_after_each_candidate_is_that_of_the_search(strategy: str) -> None:
    job, probes, spec = searched(strategy)
    known = intervals(job, probes, spec)
    assert len(known) == len(probes)
    assert known[-1] == job.estimate  # what the search itself says of the same counts
    ahead = replace(probes[-1], id=99, n=1, speculative=True)
    assert intervals(job, [*probes, ahead], spec)[-1] == job.estimate
    assert intervals(replace(job, strategy="log"), probes, spec) == ()
    for damaged in ("", "[]", '{"grid": 3}', '{"grid": {"seeds": "x"}}'):
        assert intervals(job, probes, damaged) == ()
    lying = replace(probes[0], n=10**400, seeds=-1)
    assert len(intervals(job, [lying, *probes], spec)) == len(probes) + 1


def test_the_chart_of_an_adaptive_search_has_its_interval_and_its_seeds() -> None:
    job, probes, spec = searched("adaptive")
    assert job.estimate is not None
    known = intervals(job, probes, spec)
    low, high = numbers.count_ends(job.estimate)[1:-1].split(", ")
    tall = [plain(x) for x in bracket_chart(job, probes, 90, 2 * len(probes) + 2, tall=True, intervals=known)]
    assert sum(f" {low} ▀" in line and f"▀ {high}" in line for line in tall) == 1
    assert sum("◆" in line for line in tall) == 1
    short = [plain(x) for x in bracket_chart(job, probes, 90, len(probes) + 2, intervals=known)]
    assert sum(numbers.count_ends(job.estimate) in line for line in short) == 1
    for lines in (tall, short):
        assert not any(f"({job.lo:,}, {job.hi:,}]" in line for line in lines)
        assert any(f" {probes[-1].successes}/{probes[-1].seeds} " in line for line in lines)
        assert any("90 %" in line for line in lines)
        assert all(size(((line, ""),)) <= 90 for line in lines)
    assert heads(job).startswith("seeds")
    assert heads(replace(job, strategy="log")).startswith("trials")


def test_the_queue_draws_an_estimate_where_it_lies() -> None:
    job, _, _ = searched("adaptive")
    drawn = plain(bracket_spark(job, 40, 10_000))
    bisected = plain(bracket_spark(replace(job, estimate=None, strategy="log"), 40, 10_000))
    assert drawn.count("◆") == 1
    assert "━" in drawn  # its interval, not the point of its last bracket
    assert drawn != bisected
    running = plain(bracket_spark(replace(job, status="open", state="running"), 40, 10_000))
    assert "◆" not in running
    assert running.count("━") == drawn.count("━") + 1


def test_large_digits_are_legible_in_ascii() -> None:
    assert large("≈ 20", "") == large("20", "")  # the sign stands before them, in a letter's size
    drawn = [plain(line) for line in large("1,118", "", True)]
    assert len(drawn) == 2 * HEIGHT
    assert all(set(line) <= {"#", " "} for line in drawn)
    seen = {tuple(plain(line) for line in large(digit, "", True)) for digit in "0123456789"}
    assert len(seen) == 10  # no two digits look alike


def test_what_is_drawn_is_what_is_told() -> None:
    job, _, _ = searched("adaptive")
    assert numbers.drawn(job) == job.estimate
    assert numbers.drawn(replace(job, estimate=None, lo=940, hi=1118)) == (1118.0, 941.0, 1118.0)
    assert numbers.drawn(replace(job, estimate=None, lo=940, hi=None)) is None


def test_nothing_is_shaded_where_no_seed_has_learned() -> None:
    """N* lies beyond N_max: no picture says that it lies here."""
    job, probes, spec = searched("adaptive")
    probes = [replace(p, verdict=False, successes=0) for p in probes[:4]]
    job = replace(job, status="censored", hi=None, estimate=None, n50=None)
    known = intervals(job, probes, spec)
    assert known == (None,) * 4
    for tall in (True, False):
        lines = bracket_chart(job, probes, 70, 16, tall=tall, intervals=known)
        assert not [style for line in lines for _, style in line if "shade" in style or "reverse" in style]
        assert "N* lies here" not in "\n".join(map(plain, lines))
        assert "▀" not in "\n".join(map(plain, lines))


def test_only_the_last_candidate_has_the_interval_of_the_search() -> None:
    """Where the chosen one stands in the middle, what comes after it is counted, and none stands for it."""
    job, probes, spec = searched("adaptive")
    known = intervals(job, probes, spec)
    assert job.estimate is not None
    ends = numbers.count_ends(job.estimate)
    for chosen in probes:
        text = list(map(plain, bracket_chart(job, probes, 78, 8, chosen=chosen.id, intervals=known)))
        last = any(line.lstrip("▸ ").startswith(f"{probes[-1].n} ") for line in text[5:6])
        below = re.search(r"\+(\d+) below", text[-1])
        assert (below is None) == last
        assert (ends in "\n".join(text)) <= last
        assert "[" not in "".join(text) or last
    assert telling(job, probes) == probes[-1]


def test_a_program_is_told_by_its_own_words() -> None:
    job = job_row(1, distribution="min", task="", model_label="pi", format="error")
    assert numbers.label(job) == "pi error"
