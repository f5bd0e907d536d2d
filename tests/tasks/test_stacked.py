"""Stacked batches against each member's own data and order, read step by step."""

from __future__ import annotations

import pytest
import torch

from runners.spec import Job
from runners.tasks import BatchOrder, DataSource, StackedTraining, stacked
from tests.tasks.helpers import job

MEMBERS = [(10, 40), (20, 40), (10, 40), (10, 7), (30, 200), (20, 1)]


def by_hand(of: Job, member: tuple[int, int], step: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    seed, n = member
    batch = DataSource(of, seed).training(n).batch(BatchOrder(seed, n, of.training.batch_size).indices(step))
    tokens = torch.zeros(rows, of.longest_input, dtype=torch.int64)
    targets = torch.full((rows, of.longest_input), -1)
    tokens[: len(batch.tokens)], targets[: len(batch.tokens)] = batch.tokens, batch.targets
    return tokens, targets


@pytest.mark.parametrize("form", ["outcome", "cot", "acot"])
@pytest.mark.parametrize("block", [1, 7, 512])
def test_every_member_gets_its_own_batches(form: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacked, "LONGEST_BLOCK", block)
    of = job(3, form)  # type: ignore[arg-type]
    data = StackedTraining(of, MEMBERS)
    assert (data.rows, data.capacity) == (16, block)
    for step in [0, 1, 2, 3, 11, 12, 5, 30, 999, 0]:
        tokens, targets = data.batch(step)
        assert tokens.dtype == targets.dtype == torch.int64
        for e, member in enumerate(MEMBERS):
            want = by_hand(of, member, step, 16)
            assert torch.equal(tokens[e], want[0])
            assert torch.equal(targets[e], want[1])


def test_a_step_on_the_device_is_looked_up_in_the_same_memory() -> None:
    data = StackedTraining(job(3), MEMBERS)
    data.prepare(100, 20)
    before = data._tokens.data_ptr(), data._base.data_ptr()
    want = [[t.clone() for t in data.batch(s)] for s in range(100, 120)]
    step = torch.tensor(100)
    for pair in want:
        got = data.batch(step)
        assert torch.equal(got[0], pair[0])
        assert torch.equal(got[1], pair[1])
        step += 1
    data.prepare(120, 20)
    assert before == (data._tokens.data_ptr(), data._base.data_ptr())
    assert torch.equal(data.batch(torch.tensor(125))[0], data.batch(125)[0])


def test_packing_and_compaction_change_no_members_batches() -> None:
    of = job(3, "cot")
    together = StackedTraining(of, MEMBERS, rows=16)
    some = together.select([4, 1, 5])
    assert some.members == (MEMBERS[4], MEMBERS[1], MEMBERS[5])
    for step in (3, 4, 900):
        everything = [t.clone() for t in together.batch(step)]
        for e, i in enumerate((4, 1, 5)):
            alone = StackedTraining(of, [MEMBERS[i]], rows=16).batch(step)
            for kind in (0, 1):
                assert torch.equal(some.batch(step)[kind][e], everything[kind][i])
                assert torch.equal(alone[kind][0], everything[kind][i])


def test_rows_follow_the_largest_batch() -> None:
    of = job(3, batch=16)
    assert StackedTraining(of, [(1, 3), (2, 5)]).rows == 5
    assert StackedTraining(of, [(1, 3)], rows=16).rows == 16
    with pytest.raises(ValueError, match=r"rows is 4; expected at least 5"):
        StackedTraining(of, [(1, 3), (2, 5)], rows=4)
    with pytest.raises(ValueError, match=r"members is empty"):
        StackedTraining(of, [])
    with pytest.raises(ValueError, match=r"count is 0; expected 1 to"):
        StackedTraining(of, [(1, 3)]).prepare(0, 0)


def test_the_learning_rate_is_no_part_of_the_data() -> None:
    data = StackedTraining(job(3), [(10, 40), (10, 40)])
    assert len(data._feeds) == 1
    tokens, _ = data.batch(17)
    assert torch.equal(tokens[0], tokens[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_batches_equal_those_of_the_cpu_and_are_captured_in_a_graph() -> None:
    of = job(3, "cot")
    cpu, cuda = StackedTraining(of, MEMBERS), StackedTraining(of, MEMBERS, "cuda")
    cuda.prepare(0, 64)
    step = torch.zeros((), dtype=torch.int64, device="cuda")
    graph = torch.cuda.CUDAGraph()
    cuda.batch(step)
    with torch.cuda.graph(graph):
        tokens, targets = cuda.batch(step)
        step += 1
    step.zero_()
    for i in range(128):
        if i == 64:
            cuda.prepare(64, 64)
        graph.replay()
        assert torch.equal(tokens.cpu(), cpu.batch(i)[0])
        assert torch.equal(targets.cpu(), cpu.batch(i)[1])
