"""Weight decay, clipping and schedules against torch's own, and that a row sees no other row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from runners.engine.adam import Adam
from runners.engine.adamw import TABLES, AdamW, optimiser, rate_share
from runners.engine.types import Plan
from runners.spec import Job, Training
from runners.spec import job as spec_of_a_job
from runners.spec.errors import SpecError
from runners.spec.load import parse
from store.read import open_lab
from tests.engine import fake_gpu
from tests.engine.small_runs import cpu, grid, in_pieces, run, tiny
from tests.models.support import ALL, make_job, make_model

DEMO = Path(__file__).resolve().parents[2] / "docs" / "labs" / "demo.db"
STEPS = 40
OPTIONS: dict[str, dict[str, Any]] = {
    "decay": {"weight_decay": 0.5},
    "no tables": {"weight_decay": 0.5, "decay_embeddings": False},
    "clip": {"clip": 0.3},
    "warm-up": {"warmup": 0.25},
    "cosine": {"schedule": "cosine", "final_rate": 0.1},
    "all": {"weight_decay": 1.0, "clip": 1.0, "schedule": "cosine", "warmup": 0.1},
}


def training(**options: Any) -> Training:
    return Training(steps=STEPS, eval_every=5, batch_size=8, validation_size=24, **options)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_is_torchs_adamw_with_clipping_and_a_schedule(options: dict[str, Any]) -> None:
    torch.manual_seed(1)
    rates = (1e-2, 3e-3, 1e-2)
    asked = training(**options)
    start = torch.randn(len(rates), 9)
    ours = optimiser(asked, start.clone(), rates, names={})
    theirs = [torch.nn.Parameter(row.clone()) for row in start]
    adams = [
        torch.optim.AdamW([p], lr=rate, weight_decay=asked.weight_decay)
        for p, rate in zip(theirs, rates, strict=True)
    ]
    for step in range(1, STEPS + 1):
        grads = torch.randn_like(start) * 0.2
        ours.grad.copy_(grads)
        ours.step()
        for p, adam, rate, g in zip(theirs, adams, rates, grads, strict=True):
            p.grad = g.clone()
            if asked.clip:
                torch.nn.utils.clip_grad_norm_([p], asked.clip)
            adam.param_groups[0]["lr"] = rate * rate_share(asked, step)
            adam.step()
    torch.testing.assert_close(ours.params, torch.stack([p.detach() for p in theirs]), rtol=1e-5, atol=1e-6)


def test_the_rate_rises_falls_and_ends_where_it_was_told() -> None:
    asked = training(schedule="cosine", warmup=0.25, final_rate=0.1)
    shares = [rate_share(asked, step) for step in range(1, STEPS + 1)]
    assert shares[4] == pytest.approx(0.5)
    assert shares[9] == 1.0
    assert shares[24] == pytest.approx(0.55)
    assert shares[-1] == pytest.approx(0.1)
    assert max(shares) == 1.0


def test_tables_may_be_left_out_of_the_decay() -> None:
    names = {"wte": (slice(0, 3), (3,)), "h.0.ln_1.weight": (slice(3, 5), (2,)), "wpe": (slice(5, 6), (1,))}
    asked = training(weight_decay=0.5, decay_embeddings=False)
    ours = optimiser(asked, torch.ones(2, 6), (1e-1, 1e-2), names=names)
    ours.step()  # no gradient: the decay alone
    expected = torch.tensor([[1.0, 1, 1, 0.95, 0.95, 1], [1, 1, 1, 0.995, 0.995, 1]])
    torch.testing.assert_close(ours.params, expected)


@pytest.mark.parametrize("name", ALL)
def test_every_models_table_has_a_known_name(name: str) -> None:
    names = set(make_model(make_job(ALL[name])).names)
    assert names & set(TABLES) or name == "pd_ssm", "a transition for each token, and no table"


def test_nothing_asked_for_is_adam() -> None:
    assert isinstance(optimiser(training(), torch.zeros(2, 3), (1e-2, 1e-3), names={}), Adam)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_row_never_sees_another(options: dict[str, Any]) -> None:
    asked = training(**options)
    start = torch.randn(5, 1003)
    together = optimiser(asked, start.clone(), (1e-2, 3e-3, 1e-2, 1e-3, 3e-3), names={})
    alone = optimiser(asked, start[3:4].clone(), (1e-3,), names={})
    assert isinstance(together, AdamW)
    together.steps.copy_(torch.tensor([0.0, 3.0, 9.0, 20.0, 30.0]))
    alone.steps.fill_(20.0)
    for _ in range(5):
        grads = torch.randn(5, 1003)
        together.grad.copy_(grads)
        alone.grad.copy_(grads[3:4])
        together.step()
        alone.step()
    assert torch.equal(together.params[3:4], alone.params)


@pytest.mark.parametrize("options", [OPTIONS["all"]], ids=["all"])
def test_a_trial_stopped_and_gone_on_with_ends_the_same(options: dict[str, Any], tmp_path: Path) -> None:
    job, members = tiny(steps=STEPS, **options), grid(eps=0.0)
    whole = run(job, members, plan=cpu(3))
    pieces = in_pieces(job, members, cpu(3), tmp_path, [5, 9])
    assert [pieces.of(i) for i in range(4)] == [whole.of(i) for i in range(4)]
    assert whole.of(0) != run(tiny(steps=STEPS), members, plan=cpu(3)).of(0)


def test_a_captured_step_follows_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    job, members = tiny(steps=STEPS, **OPTIONS["all"]), grid(eps=0.0)
    fake_gpu.install(monkeypatch)
    graph, eager = (run(job, members, plan=Plan("cpu", 64, graph=g)) for g in (True, False))
    assert [graph.of(i) for i in range(4)] == [eager.of(i) for i in range(4)]


def test_every_search_of_an_older_lab_keeps_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields that came later are hashed where they are used. The file has the hashes of the preset demo as a
    lab of science version 2 had them; that number is the only other thing that a hash holds."""
    older = (Path(__file__).parent / "version_2_hashes.txt").read_text("utf-8").split()
    with open_lab(DEMO) as lab:
        rows = lab.jobs()
        specs = [lab.job_spec(row.id) for row in rows]
    assert [Job.from_json(spec).hash for spec in specs] == [row.hash for row in rows]
    monkeypatch.setattr(spec_of_a_job, "SCIENCE_VERSION", 2)
    assert [Job.from_json(spec).hash for spec in specs] == older


def test_what_is_asked_for_is_part_of_the_hash() -> None:
    plain = tiny(steps=STEPS)
    hashes = {plain.hash, *(tiny(steps=STEPS, **options).hash for options in OPTIONS.values())}
    assert len(hashes) == 1 + len(OPTIONS)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("warmup = 1.0", "warmup"),
        ("decay_embeddings = false", "expected weight_decay with it"),
        ("clip = 0.0", "clip"),
        ("final_rate = 0.5", "expected schedule = 'cosine' with it"),
        ("steps = 20000000\nwarmup = 0.1", "expected at most 16777216 with a schedule or warm-up"),
    ],
)
def test_what_makes_no_sense_is_refused(line: str, why: str) -> None:
    spec = (
        "[job]\nm = 3\nformat = 'acot'\nlengths = { distribution = 'fixed', length = 4 }\n"
        f"model = {{ kind = 'lstm', hidden = 4 }}\n[job.training]\n{line}\n"
    )
    with pytest.raises(SpecError, match=why):
        parse(spec)
