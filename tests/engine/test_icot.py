"""The format icot, x_1 s_1 x_2 s_2 ..., and the head over all ids: data, every model, decoding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from runners.engine.evaluate import rescaled_accuracy
from runners.engine.schedule import new_model
from runners.engine.types import Plan
from runners.models import build
from runners.spec import Job
from runners.tasks import DataSource, Vocabulary
from tests.engine import fake_gpu
from tests.engine.small_runs import cpu, grid, in_pieces, run
from tests.models.support import ALL, FORMATS, SMALL, make_job, parameters

SWAPS = {"kind": "automaton", "table": ((1, 0, 0), (0, 2, 1), (2, 1, 2))}
"""Three states that are not its three tokens."""


def data_of(job: Job) -> tuple[Tensor, Tensor, Tensor]:
    made = DataSource(job, 10).validation()
    return made.tokens, made.targets, made.lengths


@pytest.mark.parametrize("task", [{"kind": "modular_addition", "m": 3}, SWAPS], ids=["shared", "apart"])
@pytest.mark.parametrize("head", ["states", "tokens"])
def test_tokens_and_states_stand_in_turn(task: dict[str, Any], head: str) -> None:
    job = make_job(SMALL["transformer"] | {"head": head}, "icot", L=5, task=task)
    names = Vocabulary.of(job)
    apart = task is SWAPS
    table: Any = SWAPS["table"] if apart else [[(s + x) % 3 for x in range(3)] for s in range(3)]
    assert (names.n_inputs, names.state_offset) == ((6, 3) if apart else (3, 0))
    assert (names.n_outputs, names.label_offset) == ((6, 3) if apart and head == "tokens" else (3, 0))
    assert names.feed.tolist()[names.label_offset :] == [names.state_offset + s for s in range(3)]
    tokens, targets, lengths = data_of(job)
    assert tokens.shape[1] == job.longest_input == 9
    for read, wanted, n in zip(tokens.tolist(), targets.tolist(), lengths.tolist(), strict=True):
        state = 0
        for i in range(n):
            state = table[state][read[2 * i]]
            assert wanted[2 * i] == names.label_offset + state
            if i + 1 < n:
                assert read[2 * i + 1] == names.state_offset + state
        supervised = [i for i, label in enumerate(wanted) if label >= 0]
        assert supervised == list(range(0, 2 * n, 2))
        assert not any(read[2 * n - 1 :])


@pytest.mark.parametrize("kind", sorted(SMALL))
@pytest.mark.parametrize("form", FORMATS)
def test_a_head_over_all_ids_has_its_labels_behind_the_tokens(form: str, kind: str) -> None:
    plain = make_job(SMALL[kind], form, L=5, task=SWAPS)
    wide = make_job(SMALL[kind] | {"head": "tokens"}, form, L=5, task=SWAPS)
    assert wide.model.label == f"{plain.model.label} head tokens"
    names = Vocabulary.of(wide)
    assert names.n_outputs == 6 + (form == "cot")
    tokens, targets, _ = data_of(wide)
    before, labels, _ = data_of(plain)
    assert torch.equal(tokens, before)
    assert torch.equal(targets, torch.where(labels < 0, -1, labels + names.label_offset))
    assert plain.hash != wide.hash


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_every_model_reads_what_lies_between(name: str, fixed: bool) -> None:
    """Loss from the logits, and the gradient along a direction from the loss, in float64."""
    job = make_job(ALL[name], "icot", L=4, fixed=fixed)
    names = Vocabulary.of(job)
    model = build(job, "cpu", n_inputs=names.n_inputs, n_outputs=names.n_outputs)
    tokens, targets, _ = data_of(job)
    tokens, targets = tokens[None], targets[None]
    params = parameters(model, 2, dtype=torch.float64)
    grad = torch.zeros_like(params)
    loss = model.step(params, tokens, targets, grad)
    logits = model.logits(params, tokens)
    wanted = targets.expand(2, -1, -1)
    kept = wanted >= 0
    picked = torch.log_softmax(logits, -1).gather(-1, wanted.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    expected = -(picked * kept).sum((1, 2)) / kept.sum((1, 2))
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    sums, counts = model.loss_sums(params, tokens, targets)
    torch.testing.assert_close(sums / counts, expected, rtol=1e-9, atol=1e-9)
    way = torch.randn(params.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    h, at = 1e-6, torch.zeros_like(params)
    up, down = (model.step(params + s * h * way, tokens, targets, at) for s in (1, -1))
    torch.testing.assert_close((up - down) / (2 * h), (grad * way).sum(1), rtol=1e-4, atol=1e-6)


def small(model: dict[str, Any], form: str, **training: Any) -> Job:
    settings = {"batch_size": 8, "steps": 20, "eval_every": 5, "validation_size": 24, **training}
    return make_job(model, form, L=4, training=settings)


@pytest.mark.parametrize("model", [SMALL["lstm"], SMALL["transformer"] | {"head": "tokens"}], ids=str)
def test_it_trains_goes_on_and_is_captured(
    model: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, members = small(model, "icot"), grid(eps=0.0)
    whole = run(job, members)
    pieces = in_pieces(job, members, cpu(), tmp_path, [4, 7])
    assert [pieces.of(i) for i in range(4)] == [whole.of(i) for i in range(4)]
    fake_gpu.install(monkeypatch)
    graph, eager = (run(job, members, plan=Plan("cpu", 64, graph=g)) for g in (True, False))
    assert [graph.of(i) for i in range(4)] == [eager.of(i) for i in range(4)]


@pytest.mark.parametrize("form", ["icot", "cot", "acot"])
def test_a_model_that_knows_the_task_generalises(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding in turn feeds back what was decoded, whatever ids the head has."""
    job = small(SMALL["transformer"] | {"head": "tokens"}, form)
    names = Vocabulary.of(job)
    model = new_model(job, "cpu")

    def knows(params: Tensor, tokens: Tensor) -> Tensor:
        """The next state: of icot from the state and the token read last, of acot from the sum."""
        E, B, T = params.shape[0], *tokens.shape[1:]
        read = tokens.expand(E, -1, -1)
        before = read[..., -2] if T > 1 else 0
        state = (read[..., -1] + before if form == "icot" else read.sum(-1)) % 3
        out = torch.zeros(E, B, T, names.n_outputs)
        out[:, :, -1].scatter_(-1, (state + names.label_offset).unsqueeze(-1), 1.0)
        return out

    def decodes(params: Tensor, prompt: Tensor, count: int, feed: Tensor) -> Tensor:
        return (prompt[..., :-1].cumsum(-1) % 3) + names.label_offset

    monkeypatch.setattr(model, "logits", knows)
    monkeypatch.setattr(model, "generate", decodes)
    assert rescaled_accuracy(job, model, torch.zeros(3), 10) == pytest.approx(1.0)


def test_positions_are_enough_for_twice_the_length() -> None:
    job = small(SMALL["transformer"], "icot")
    model = new_model(job, "cpu")
    assert -1.0 < rescaled_accuracy(job, model, model.init(1), 10) < 1.0
