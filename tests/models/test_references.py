"""Our models against implementations that nobody here wrote, with the same weights, in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from runners.models import lstm
from runners.models.decoder import alibi_slopes
from runners.models.deltanet import delta_rule
from runners.spec import Job
from tests.models.references import layers, reference, rms
from tests.models.support import ALL, FORMATS, PAPER, batch, make_job, make_model, named, parameters

KINDS = sorted(ALL)


@pytest.mark.parametrize("kind", KINDS)
def test_logits(kind: str) -> None:
    job = make_job(ALL[kind])
    model = make_model(job)
    params = parameters(model, 2, dtype=torch.float64)
    tokens, _ = batch(job, 2, 7)
    ours = model.logits(params, tokens)
    for e in range(2):
        torch.testing.assert_close(
            ours[e], reference(job.model, named(model, params[e]), tokens[e]), rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradient(kind: str, form: str, fixed: bool) -> None:
    """Mean over the supervised positions; gradients by autograd through the reference."""
    agrees(make_job(ALL[kind], form, fixed=fixed), members=2, sequences=7)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", sorted(PAPER))
def test_loss_and_gradient_at_the_papers_sizes(kind: str, form: str) -> None:
    agrees(make_job(PAPER[kind], form, L=5, m=5), members=1, sequences=3, m=5, moved=1e-3)


def agrees(job: Job, members: int, sequences: int, m: int = 3, moved: float = 0.05) -> None:
    """Losses and gradients are those of the reference with the same weights."""
    model = make_model(job, m)
    params = parameters(model, members, dtype=torch.float64, moved=moved)
    tokens, targets = batch(job, members, sequences, m)
    grad = torch.full_like(params, float("nan"))
    losses = model.step(params, tokens, targets, grad)
    sums, counts = model.loss_sums(params, tokens, targets)
    assert sums.dtype == counts.dtype == torch.float64
    for e in range(members):
        row = params[e].clone().requires_grad_()
        logits = reference(job.model, named(model, row), tokens[e])
        loss = cross_entropy(logits.flatten(0, 1), targets[e].flatten(), ignore_index=-1)
        loss.backward()
        torch.testing.assert_close(losses[e], loss.detach(), rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(sums[e] / counts[e], loss.detach(), rtol=1e-11, atol=1e-12)
        assert counts[e] == (targets[e] >= 0).sum()
        assert row.grad is not None
        torch.testing.assert_close(grad[e], row.grad, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("form", FORMATS)
def test_a_wide_lstm_has_the_gradient_of_a_narrow_one(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(ALL["lstm"], form)
    model = make_model(job)
    params = parameters(model, 2, dtype=torch.float64)
    tokens, targets = batch(job, 2, 7)
    narrow, wide = torch.empty_like(params), torch.empty_like(params)
    model.step(params, tokens, targets, narrow)
    monkeypatch.setattr(lstm, "WIDE", 1)
    model.step(params, tokens, targets, wide)
    torch.testing.assert_close(wide, narrow, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_close_to_float64(kind: str) -> None:
    job = make_job(ALL[kind], "cot")
    model = make_model(job)
    params = parameters(model, 2)
    tokens, targets = batch(job, 2, 7)
    grad, exact = torch.empty_like(params), torch.empty_like(params, dtype=torch.float64)
    loss = model.step(params, tokens, targets, grad)
    truth = model.step(params.double(), tokens, targets, exact)
    torch.testing.assert_close(loss.double(), truth, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(grad.double(), exact, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_decoding_reads_what_it_wrote(kind: str) -> None:
    """Against the reference, read again from the beginning for every state."""
    job = make_job(ALL[kind], "cot")
    model = make_model(job)
    params = parameters(model, 2, dtype=torch.float64)
    prompt = batch(job, 2, 4)[0][:, :, :4]
    feed = torch.tensor([2, 0, 1])
    states = model.generate(params, prompt, 5, feed)
    assert states.shape == (2, 4, 5)
    for e in range(2):
        read = prompt[e]
        for t in range(5):
            best = reference(job.model, named(model, params[e]), read)[:, -1].argmax(-1)
            assert torch.equal(states[e, :, t], best)
            read = torch.cat([read, feed[best].unsqueeze(1)], 1)


def test_the_delta_rule_is_that_of_qwen3_next() -> None:
    """transformers' loop works in float32 and scales the queries, which ours does not."""
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_recurrent_gated_delta_rule

    torch.manual_seed(1)
    B, H, T, k, v = 2, 3, 6, 4, 5
    query, key = (torch.nn.functional.normalize(torch.randn(B, T, H, k), dim=-1) for _ in range(2))
    value, gate, beta = torch.randn(B, T, H, v), -torch.rand(B, T, H), torch.rand(B, T, H) * 2
    theirs, _ = torch_recurrent_gated_delta_rule(query * k**0.5, key, value, gate, beta)
    ours = delta_rule(
        query.transpose(1, 2),
        key.transpose(1, 2).unsqueeze(-2),
        value.transpose(1, 2).unsqueeze(-2),
        beta.transpose(1, 2).unsqueeze(-1),
        gate.transpose(1, 2),
    )
    torch.testing.assert_close(ours.transpose(1, 2), theirs, rtol=1e-5, atol=1e-6)


def test_a_mamba_block_is_that_of_mambapy() -> None:
    """mambapy rounds A to float32."""
    from mambapy.mamba import MambaBlock, MambaConfig

    d = 8
    model = make_model(make_job({"kind": "mamba", "d": d, "states": 4}))
    p = named(model, parameters(model, 1, dtype=torch.float64)[0])
    w = layers(p, "layers")[0]
    block = MambaBlock(MambaConfig(d_model=d, n_layers=1, d_state=4, pscan=False)).double()
    weights = {
        "in_proj.weight": w["in_proj"], "conv1d.weight": w["conv"][:, None], "conv1d.bias": w["conv_bias"],
        "x_proj.weight": w["x_proj"], "dt_proj.weight": w["dt_proj"], "dt_proj.bias": w["dt_bias"],
        "A_log": w["A_log"], "D": w["D"], "out_proj.weight": w["out_proj"],
    }  # fmt: skip
    assert set(weights) == set(block.state_dict())
    tokens = torch.randint(0, 3, (5, 7))
    x = p["embedding"][tokens]
    x = x + torch.func.functional_call(block, weights, (rms(x, w["norm"]),))
    logits = rms(x, p["norm"]) @ p["head.weight"].T + p["head.bias"]
    row = torch.cat([v.flatten() for v in p.values()])
    ours = model.logits(torch.nn.functional.pad(row, (0, model.n_parameters - len(row)))[None], tokens[None])
    torch.testing.assert_close(ours[0], logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("heads", [4, 8])
def test_alibi_lowers_scores_as_x_transformers_does(heads: int) -> None:
    from x_transformers.x_transformers import AlibiPositionalBias

    theirs = AlibiPositionalBias(heads, heads)(5, 5)
    slopes = torch.tensor(alibi_slopes(heads))
    distance = torch.arange(5)[:, None] - torch.arange(5)
    torch.testing.assert_close(theirs.tril(), (-slopes[:, None, None] * distance).tril())


@pytest.mark.parametrize("kind", ["lstm", "dense_ssm", "gru", "mamba", "deltanet", "transformer rope"])
def test_recurrent_models_read_any_length(kind: str) -> None:
    model = make_model(make_job(ALL[kind], L=5))
    assert model.max_length is None
    assert model.logits(parameters(model, 1), torch.zeros(1, 2, 40, dtype=torch.int64)).shape == (1, 2, 40, 3)


def test_the_position_table_is_twice_the_longest_input() -> None:
    model = make_model(make_job(ALL["transformer"], "cot", L=5))
    assert model.max_length == 20
    assert model.names["wpe"][1] == (20, 8)
