"""``scan``: every rung once, each with its own seeds, in any order."""

from __future__ import annotations

import random
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from runners.search import Evidence, replay, speculate
from runners.search.scan import ladder
from tests.search.conftest import make_job
from tests.search.test_adaptive import logistic


def test_the_ladder() -> None:
    assert ladder(make_job("scan", 1000, ladder=(10, 20, 40))) == (40, 20, 10)
    assert ladder(make_job("scan", 30, ladder=(10, 20, 40, 5000))) == (30, 20, 10), "above N_max it is N_max"
    short = make_job("scan", 1000, ladder=(10, 20, 40), max_candidates=2)
    assert ladder(short) == (40, 20)
    assert replay(short, []).flags == ("max_candidates",)


def test_length_generalisation_has_its_rung_at_n_max() -> None:
    """With seeds of its own, so that the other rungs are those of the same scan without it."""
    plain = make_job("scan", 1000, ladder=(10, 20, 40))
    tested = plain.model_copy(update={"generalisation": True})
    assert ladder(tested) == (40, 20, 10, 1000)
    rungs = {c.n: c.seeds for c in speculate(tested, [], {}, 99)}
    assert {c.n: c.seeds for c in speculate(plain, [], {}, 99)} == {n: rungs[n] for n in (40, 20, 10)}
    few = make_job("scan", 1000, ladder=(10, 20, 40), max_candidates=2)
    assert ladder(few.model_copy(update={"generalisation": True})) == (40, 1000)
    assert ladder(make_job("scan", 30, ladder=(10, 50)).model_copy(update={"generalisation": True})) == (
        30,
        10,
    )


@given(st.permutations(range(8)), st.integers(0, 8))
def test_the_seeds_of_a_rung_do_not_depend_on_the_order(order: list[int], done: int) -> None:
    job = make_job("scan", 1000, ladder=tuple(10 * 2**i for i in range(6)), seeds=3)
    all_rungs = speculate(job, [], {}, 99)
    assert len({s for c in all_rungs for s in c.seeds or ()}) == 3 * len(all_rungs)
    finished = [all_rungs[i] for i in order if i < len(all_rungs)][:done]
    left = speculate(job, [Evidence(c.n, True, 3, 1) for c in finished], {}, 99)
    assert set(left) == set(all_rungs) - set(finished)
    ahead = speculate(job, [], {c.n: True for c in finished}, 99, running=[all_rungs[-1].n])
    assert set(ahead) == set(left)


def test_the_whole_curve_is_fitted() -> None:
    rng = random.Random(0)
    job = make_job("scan", 5000, ladder=tuple(round(20 * 1.3**i) for i in range(20)), seeds=20)
    q = logistic(300, 0.3, k=20)
    evidence: list[Evidence] = []
    while (p := replay(job, evidence)).next is not None:
        assert p.status == "open"
        successes = sum(rng.random() < q(p.next.n) for _ in range(20))
        evidence.append(Evidence(p.next.n, successes > 0, 20, successes))
    assert p.status == "bracket"
    assert p.estimate is not None
    assert p.n50 is not None
    assert p.estimate.low < 300 < p.estimate.high
    assert p.estimate.relative_width < 1.0
    assert p.n50.value > p.estimate.value
    assert p.hi == min(e.n for e in evidence if e.success)


def test_nothing_succeeds() -> None:
    job = make_job("scan", 100, ladder=(10, 20))
    end = replay(job, [Evidence(20, False, 5, 0), Evidence(10, False, 5, 0)])
    assert (end.next, end.status, end.lo, end.hi, end.estimate) == (None, "censored", 20, None, None)


def test_failures_above_are_flagged() -> None:
    job = make_job("scan", 100, ladder=(10, 20, 40, 80))
    counts = [(80, 0), (40, 4), (20, 3), (10, 0)]
    end = replay(job, [Evidence(n, s > 0, 5, s) for n, s in counts])
    assert "fails_above" in end.flags
    assert end.estimate is not None
    assert end.estimate.value < 25


def test_the_core_loads_neither_numpy_nor_torch() -> None:
    """The CUDA machine has no scipy, and the supervisor starts faster without numpy."""
    code = (
        "import sys, runners.search as s\n"
        "from runners.spec import *\n"
        "job = Job(task=ModularAddition(m=3), format='acot', lengths=Lengths(distribution='fixed', "
        "length=5), model=LSTM())\n"
        "assert s.replay(job, []).next and s.speculate(job, [], {}, 4)\n"
        "bad = {'numpy', 'scipy', 'torch', 'sqlmodel', 'textual'} & set(sys.modules)\n"
        "assert not bad, bad\n"
        "adaptive = job.model_copy(update={'search': Search(strategy='adaptive')})\n"
        "s.replay(adaptive, [s.Evidence(195, True, 5, 5)])\n"
        "assert 'numpy' in sys.modules and not {'scipy', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
