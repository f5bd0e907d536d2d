"""Speculation changes no bracket, whatever finishes first; and what is needed is never cancelled."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from runners.search import Evidence, Progress, replay, speculate
from runners.search.bisection import RULES, next_n
from runners.search.speculative import is_reachable
from runners.spec import Job
from runners.strategies import STRATEGIES, StrategyName
from tests.search.conftest import Oracle, asked, make_job, run
from tests.search.test_bisection import n_maxes, oracles


@dataclass
class Pool:
    """The two rules of runners/search/speculative.py, with probes that finish in any order."""

    job: Job
    oracle: Oracle
    slots: int
    rng: random.Random
    evidence: list[Evidence] = field(default_factory=list)
    known: dict[int, bool] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    cancelled: set[int] = field(default_factory=set)
    rounds: int = 0

    def search(self) -> Progress:
        while True:
            progress = replay(self.job, self.evidence)
            while progress.next is not None and progress.next.n in self.known:
                n = progress.next.n
                self.evidence.append(Evidence(n, self.known.pop(n)))
                progress = replay(self.job, self.evidence)
            wanted = [c.n for c in speculate(self.job, self.evidence, self.known, self.slots, self.running)]
            self.cancelled |= self.running - set(wanted)
            self.running &= set(wanted)
            if progress.next is None:
                assert wanted == []
                return progress
            assert wanted[0] == progress.next.n
            assert len(wanted) == len(set(wanted)) <= self.slots
            assert not set(wanted) & (set(self.known) | {e.n for e in self.evidence})
            self.running |= set(wanted)
            assert len(self.running) <= self.slots
            for n in self.rng.sample(sorted(self.running), self.rng.randint(1, len(self.running))):
                self.known[n] = self.oracle(n)
                self.running.discard(n)
            self.rounds += 1


@given(
    st.sampled_from(sorted(RULES)),
    n_maxes,
    oracles,
    st.integers(1, 12),
    st.integers(1, 60),
    st.randoms(use_true_random=False),
)
@settings(max_examples=250, deadline=None)
def test_the_bracket_is_the_sequential_one(
    strategy: StrategyName, n_max: int, oracle: Oracle, slots: int, limit: int, rng: random.Random
) -> None:
    job = make_job(strategy, n_max, max_candidates=min(limit, STRATEGIES[strategy].candidates))
    evidence, end = run(job, oracle)
    pool = Pool(job, oracle, slots, rng)
    assert pool.search() == end
    assert pool.evidence == evidence
    assert not pool.cancelled & set(asked(evidence)), "what the search needed was never cancelled"


@given(
    st.sampled_from(sorted(RULES)),
    st.integers(1, 40),
    st.integers(2, 12),
    st.integers(1, 9),
    st.lists(st.booleans(), max_size=5),
    st.dictionaries(st.integers(1, 40), st.booleans(), max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_reachable_means_reachable(
    strategy: str, n_max: int, multiplier: int, limit: int, path: list[bool], known: dict[int, bool]
) -> None:
    """Against the whole tree of what can still be asked."""
    job = make_job(strategy, n_max, multiplier=multiplier, rtol=0.0, max_candidates=limit)
    verdicts: dict[int, bool] = {}
    for verdict in path:
        n, _ = next_n(job, verdicts)
        if n is not None:
            verdicts[n] = verdict
    found: set[int] = set()

    def explore(so_far: dict[int, bool]) -> None:
        n, _ = next_n(job, so_far)
        if n is None:
            return
        found.add(n)
        for verdict in (True, False):
            if known.get(n, verdict) == verdict:
                explore({**so_far, n: verdict})

    explore(verdicts)
    assert {n for n in range(1, n_max + 1) if is_reachable(job, verdicts, known, n)} == found


def test_the_walk_down_runs_side_by_side() -> None:
    """Half of what a walk down asks for is certain to come: with four slots it is four candidates at once."""
    wanted = speculate(make_job("log", 16_000_000), [], {}, 4)
    assert [c.n for c in wanted] == [16_000_000, 8_000_000, 4_000_000, 2_000_000]


def test_inside_a_bracket_both_verdicts_are_tried() -> None:
    job = make_job("log", 1600)
    evidence = [Evidence(1600, True), Evidence(800, False)]
    middle = replay(job, evidence).next
    assert middle is not None
    below = replay(job, [*evidence, Evidence(middle.n, True)]).next
    above = replay(job, [*evidence, Evidence(middle.n, False)]).next
    assert below is not None
    assert above is not None
    assert {c.n for c in speculate(job, evidence, {}, 3)} == {middle.n, below.n, above.n}


def test_no_slot_and_no_work() -> None:
    job = make_job("log", 100)
    assert speculate(job, [], {}, 0) == ()
    assert speculate(job, [Evidence(n, False) for n in (100, 50, 25, 12)], {}, 8) == ()


def test_fewer_rounds_than_candidates() -> None:
    """All running probes finish together: eight slots need less than half of the rounds."""

    class Everything(random.Random):
        def randint(self, a: int, b: int) -> int:
            return b

    job = make_job("log", 16_000_000)
    for threshold in (7, 312, 4_711, 1_234_567):

        def oracle(n: int, threshold: int = threshold) -> bool:
            return n >= threshold

        evidence, _ = run(job, oracle)
        pool = Pool(job, oracle, 8, Everything(0))
        pool.search()
        assert pool.rounds < len(evidence) / 2
