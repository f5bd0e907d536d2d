"""Success by the accuracy of whole sequences, on the validation set and on sequences drawn anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from labtui.views.metric import metric
from runners.engine.evaluate import wrong_sequences
from runners.engine.schedule import new_model
from runners.engine.types import Plan, shape_key
from runners.search import replay
from runners.spec import Job, NamedJob
from runners.spec.errors import SpecError
from runners.spec.load import parse
from runners.tasks import FreshSequences, TransitionTable, Vocabulary
from runners.verdict import Outcome
from store.read import open_lab
from store.write import create_or_open, submit
from tests.engine import fake_gpu
from tests.engine.small_runs import FORMATS, MODELS, cpu, grid, in_pieces, run, tiny


def judged(model: str = "dense_ssm", format: str = "acot", **search: Any) -> Job:
    job = tiny(model, format, steps=60)
    return Job.model_validate(job.model_dump() | {"search": {"criterion": "accuracy", **search}})


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("model", MODELS)
def test_a_wrong_sequence_is_one_that_greedy_decoding_gets_wrong(model: str, format: str) -> None:
    job = judged(model, format)
    stacked = new_model(job, "cpu")
    params = torch.stack([stacked.init(seed) for seed in (1, 2)])
    n, count = 4, 50
    x = torch.randint(0, 3, (count, n), generator=torch.Generator().manual_seed(1))
    states = x.cumsum(1) % 3
    vocabulary = Vocabulary.of(job)
    if format == "cot":
        assert vocabulary.separator is not None
        separator = torch.full((count, 1), vocabulary.separator)
        prompt = torch.cat([x, separator], 1)
        tokens = torch.cat([prompt, states[:, :-1] + vocabulary.state_offset], 1)
        targets = torch.cat([torch.full((count, n), -1), states], 1)
        feed = torch.arange(3) + vocabulary.state_offset
        wrong = (stacked.generate(params, prompt[None], n, feed) != states).any(-1).sum(-1)
    else:
        tokens, targets = x, states.clone()
        if format == "outcome":
            targets[:, :-1] = -1
        found = stacked.logits(params, tokens[None]).argmax(-1)
        wrong = ((found != states) & (targets >= 0)).any(-1).sum(-1)
    told = wrong_sequences(stacked, params, tokens.expand(2, -1, -1), targets.expand(2, -1, -1))
    assert told.tolist() == wrong.tolist()


def test_what_is_not_finite_is_wrong() -> None:
    job = judged()
    stacked = new_model(job, "cpu")
    params = torch.full((1, stacked.n_parameters), torch.nan)
    x = torch.zeros(1, 5, 4, dtype=torch.int64)
    assert wrong_sequences(stacked, params, x, x).tolist() == [5.0]


@pytest.mark.parametrize(("q", "judged_on", "most"), [(0.95, 512, 25), (0.9, 10, 1), (1.0, 100, 0)])
def test_the_bound_is_half_a_sequence_above_what_will_do(q: float, judged_on: int, most: int) -> None:
    bound = judged(accuracy=q, fresh=judged_on).bound
    assert most / judged_on < bound < (most + 1) / judged_on


def test_a_trial_succeeds_at_its_first_accurate_evaluation() -> None:
    job = judged(accuracy=0.9)
    members = grid(n=100, eps=job.bound, rates=(3e-2, 1e-2), seeds=(1, 2))
    seen = run(job, members)
    judged_on = sum(share.validation for share in job.shares)
    won = [e for e in seen.ended.values() if e.outcome == Outcome.SUCCESS]
    assert won
    for i, e in seen.ended.items():
        values = [value for _, value, exact in seen.curves[i].values() if exact]
        assert all(0 <= value <= 1 and round(value * judged_on, 6) % 1 == 0 for value in values)
        assert (e.outcome == Outcome.SUCCESS) == (min(values) < job.bound)


def test_fresh_sequences_are_valid_of_every_length_and_new_at_each_step() -> None:
    job = judged(fresh=300)
    source = FreshSequences(job, "cpu")
    tokens, targets = source.draw(10, 5)
    lengths = (targets >= 0).sum(1)
    assert set(lengths.tolist()) == {2, 3, 4}
    assert TransitionTable.of(job.task).n_tokens == 3
    for x, y, n in zip(tokens.tolist(), targets.tolist(), lengths.tolist(), strict=True):
        assert y[:n] == [sum(x[: i + 1]) % 3 for i in range(n)]
    again, other, others = source.draw(10, 5), source.draw(10, 10), source.draw(20, 5)
    assert torch.equal(again[0], tokens)
    assert not torch.equal(other[0], tokens)
    assert not torch.equal(others[0], tokens)


@pytest.mark.parametrize("search", [{}, {"fresh": 40}], ids=["validation", "fresh"])
def test_company_pieces_and_graphs_change_nothing(
    search: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = judged(accuracy=1.0, **search)
    members = grid(eps=job.bound, rates=(1e-2, 3e-3), seeds=(1, 2))
    whole = run(job, members)
    alone = run(job, members, plan=cpu(1))
    pieces = in_pieces(job, members, cpu(), tmp_path, [6, 11])
    assert [alone.of(i) for i in range(4)] == [whole.of(i) for i in range(4)]
    assert [pieces.of(i) for i in range(4)] == [whole.of(i) for i in range(4)]
    fake_gpu.install(monkeypatch)
    graph, eager = (run(job, members, plan=Plan("cpu", 64, graph=g)) for g in (True, False))
    assert [graph.of(i) for i in range(4)] == [eager.of(i) for i in range(4)]


def test_it_is_part_of_the_hash_and_of_the_shape_only_where_it_is_used() -> None:
    plain = tiny(steps=60)
    explicit = Job.model_validate(plain.model_dump() | {"search": {"criterion": "loss"}})
    others = [judged(), judged(accuracy=0.9), judged(fresh=512)]
    assert plain.hash == explicit.hash
    assert len({plain.hash, *(job.hash for job in others)}) == 4
    assert shape_key(judged()) == shape_key(judged(accuracy=0.9)) != shape_key(plain)
    assert Job.from_json(others[2].to_json()).hash == others[2].hash


def test_its_results_are_flagged_and_shown_as_what_they_are(lab_path: Path) -> None:
    create_or_open(lab_path)
    submit(lab_path, NamedJob(job=judged(fresh=512)))
    submit(lab_path, NamedJob(job=tiny()))
    with open_lab(lab_path) as lab:
        mine, plain = lab.jobs()
    assert "accuracy" in mine.flags
    assert "accuracy" in replay(judged(), []).flags
    assert (metric(mine).name, metric(mine).aim) == ("share wrong", "< 4.98e-2")
    assert metric(plain).name == "loss"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("criterion = 'accuracy'\neps = 1e-3", "expected accuracy in its place"),
        ("accuracy = 0.9", "expected criterion = 'accuracy' with it"),
        ("fresh = 512", "expected criterion = 'accuracy' with it"),
        ("criterion = 'accuracy'\naccuracy = 1.5", "accuracy"),
    ],
)
def test_what_does_not_go_together_is_refused(line: str, why: str) -> None:
    spec = (
        "[job]\nm = 3\nformat = 'acot'\nlengths = { distribution = 'fixed', length = 4 }\n"
        f"model = {{ kind = 'lstm', hidden = 4 }}\n[job.search]\n{line}\n"
    )
    with pytest.raises(SpecError, match=why):
        parse(spec)
