"""What trains where: the pure part of the dispatcher."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.pool.choose import Batch, ahead, allot, waiting
from runners.pool.devices import Device
from runners.pool.state import Run, Slot, WorkItem, grid_of, manifest, members_of, read_manifest
from runners.search import Candidate, Evidence, replay, speculate
from runners.search.seeds import fresh
from runners.spec import Job
from runners.strategies import STRATEGIES
from tests.support import labs

JOBS = labs.study(3, ("dense_ssm", "lstm"), eps=(1e-4, 2e-4)).jobs()
"""Eight jobs, four shapes: each shape with two eps."""


def run(number: int, job: Job | None = None, evidence: Sequence[Evidence] = ()) -> Run:
    spec = job or JOBS[number % len(JOBS)]
    made = Run(number, spec, 1, 0, evidence=tuple(evidence))
    made.progress = replay(spec, made.evidence)
    return made


def slot(number: int, kind: str = "cpu") -> Slot:
    device = Device("cpu", "test") if kind == "cpu" else Device(f"cuda:{number}", "test")
    return Slot(f"{device.id}.{number}", device, 1)


def wish(made: Run) -> WorkItem:
    found = waiting(made)
    assert found is not None
    return found


def packed(loads: Sequence[Batch]) -> list[list[int]]:
    return [[w.run.id for w in load.items] for load in loads]


@given(
    st.lists(st.integers(0, 30), unique=True, max_size=12),
    st.integers(0, 6),
    st.sampled_from([0, 4, 8, 1000]),
    st.sampled_from(["cpu", "cuda"]),
    st.data(),
)
def test_no_wish_twice_no_slot_twice_and_the_first_come_first(
    numbers: list[int], slots: int, capacity: int, kind: str, data: st.DataObject
) -> None:
    free = [slot(i, kind) for i in range(slots)]
    runs = [run(n) for n in numbers]
    for made in runs:
        if data.draw(st.booleans()) and free:
            made.slot = data.draw(st.sampled_from(free))
    wishes = [wish(r) for r in runs]
    loads = allot(free, wishes, [], lambda s, r: capacity)
    given_out = [id(w) for load in loads for w in load.items]
    assert len(given_out) == len(set(given_out))
    assert len({id(load.slot) for load in loads}) == len(loads)
    for w in wishes[: len(free)]:
        assert id(w) in given_out
    for load in loads:
        assert sum(w.size for w in load.items) <= max(capacity, load.items[0].size)
        assert len({(w.run.job.model, w.run.job.lengths) for w in load.items}) == 1


def test_a_search_goes_back_to_its_slot_and_others_leave_it_alone() -> None:
    a, b = slot(0), slot(1)
    homeless, settled = run(1), run(2)
    settled.slot = a
    loads = allot([a, b], [wish(homeless), wish(settled)], [], lambda s, r: 0)
    assert {w.run.id: load.slot for load in loads for w in load.items} == {1: b, 2: a}


def test_packing_takes_equal_shapes_only_where_it_pays() -> None:
    same = [
        run(i, job) for i, job in enumerate((JOBS[0], *(j for j in JOBS[1:] if j.lengths == JOBS[0].lengths)))
    ]
    twins = [r for r in same if r.job.model == JOBS[0].model]
    assert len(twins) == 2
    others = run(9, JOBS[1])
    wishes = [wish(r) for r in (*twins, others)]
    assert packed(allot([slot(0)], wishes, [], lambda s, r: 0)) == [[0]]
    assert packed(allot([slot(0)], wishes, [], lambda s, r: 8)) == [[twins[0].id, twins[1].id]]
    assert packed(allot([slot(0)], wishes, [], lambda s, r: 7)) == [[twins[0].id]]
    twins[1].solo = True
    assert packed(allot([slot(0)], wishes, [], lambda s, r: 8)) == [[twins[0].id]]


def test_guesses_take_idle_slots_and_on_a_gpu_the_room_in_a_load() -> None:
    made = run(1)
    guesses = ahead(made, 4)
    assert guesses
    assert all(g.speculative for g in guesses)
    first = wish(made)
    assert packed(allot([slot(0), slot(1)], [first], guesses, lambda s, r: 0)) == [[1], [1]]
    on_cpu = allot([slot(0)], [first], guesses, lambda s, r: 1000)
    assert len(on_cpu[0].items) == 1
    on_gpu = allot([slot(0, "cuda")], [first], guesses, lambda s, r: 8)
    assert [w.speculative for w in on_gpu[0].items] == [False, True]


def test_a_run_that_leaves_or_waits_wants_nothing() -> None:
    made = run(1)
    candidate = wish(made).candidate
    made.probes[candidate.n] = WorkItem(made, candidate, id=1)
    assert waiting(made) is None
    made.probes.clear()
    made.leaving = "paused"
    assert waiting(made) is None
    assert ahead(made, 4) == []


@pytest.mark.parametrize(("strategy", "stop"), [("log", "probe"), ("adaptive", "seed"), ("paper", "probe")])
def test_members_stop_as_the_strategy_says(strategy: str, stop: str) -> None:
    from runners.pool.state import Trial

    job = labs.study(3, strategy=strategy).jobs()[0]
    made = Run(1, job, 1, 0)
    candidate = Candidate(3, (7, 8))
    grid = grid_of(job, candidate)
    assert grid == ((0.01, 7), (0.01, 8), (0.003, 7), (0.003, 8))
    trials = [Trial(i, lr, seed, False) for i, (lr, seed) in enumerate(grid)]
    probe = WorkItem(made, candidate, id=5, trials=trials)
    members = members_of(probe, {})
    assert {m.stop for m in members} == {stop}
    assert [(m.probe, m.n, m.lr, m.seed) for m in members] == [("5", 3, lr, seed) for lr, seed in grid]
    ordered = members_of(probe, {(0.003, 7): 2, (0.01, 8): 1})
    assert [(m.lr, m.seed) for m in ordered] == [(0.003, 7), (0.01, 8), (0.01, 7), (0.003, 8)]


def test_a_whole_grid_is_never_cut_short() -> None:
    job = labs.study(3, stop_rule="full_grid").jobs()[0]
    made = Run(1, job, 1, 0)
    from runners.pool.state import Trial

    probe = WorkItem(made, Candidate(3, None), id=5, trials=[Trial(0, 0.01, 1, False)])
    assert {m.stop for m in members_of(probe, {})} == {"never"}


def test_the_probe_that_is_tested_at_twice_the_length_is_one_that_the_spec_says() -> None:
    from runners.pool.state import Trial

    for strategy in STRATEGIES:
        job = labs.study(3, strategy=strategy, ladder=(2, 3) if strategy == "scan" else ()).jobs()[-1]
        job = job.model_copy(update={"generalisation": True})
        first = replay(job, []).next
        rungs = [c for c in speculate(job, [], {}, 99) if c.n == job.n_max] if strategy == "scan" else [first]
        made, trials = Run(1, job, 1, 0), [Trial(0, 0.01, 1, False)]
        for candidate in rungs:
            assert candidate is not None
            assert candidate.n == job.n_max
            (member,) = members_of(WorkItem(made, candidate, id=5, trials=trials), {})
            assert (member.generalisation, member.stop) == (True, "never"), strategy
        if strategy == "adaptive":
            again = Candidate(job.n_max, fresh(job, 5, 2))
            (member,) = members_of(WorkItem(made, again, id=6, trials=trials), {})
            assert (member.generalisation, member.stop) == (False, "seed")


@given(st.text(max_size=60) | st.just('{"members": [[1]]}') | st.just('{"members": 3}') | st.just("[" * 5000))
def test_a_spoilt_manifest_is_none(text: str) -> None:
    assert read_manifest(text) is None


def test_a_manifest_reads_back() -> None:
    from runners.pool import protocol as m
    from runners.pool.state import Assignment, Trial

    made = run(1)
    probe = WorkItem(made, Candidate(3, None), id=5, trials=[Trial(0, 0.01, 1, False)])
    members = members_of(probe, {})
    out = Assignment(
        m.Tag("5.1", 1, 1), slot(0), made.job, members, "", {"5": probe}, [("5", 0)], None, "cpu", 0.0
    )
    assert read_manifest(manifest(out)) == members
