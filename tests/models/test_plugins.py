"""The example of docs/plugins.md, installed as a package would be, loaded from its study and trained."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from runners.models import build
from runners.models.module import ModuleModel
from runners.models.shape import Shape
from runners.spec import Automaton, Job, SpecError, Study, parse
from tests.models.support import make_job

DOCS = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"


def blocks() -> tuple[str, ...]:
    """The module, the entry points, the study, the stacked model, the linear one."""
    found = re.findall(r"```(?:python|toml)\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    return tuple(found)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The package on the path with its metadata; returns the study."""
    module, project, study, *_ = blocks()
    (tmp_path / "upanddown.py").write_text(module)
    info = tmp_path / "upanddown-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: upanddown\nVersion: 1.0\n")
    points = tomllib.loads(project)["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "upanddown", raising=False)
    return study


def job_of(study: str) -> Job:
    spec = parse(study)
    assert isinstance(spec, Study)
    return spec.jobs()[-1]


def test_the_example_is_short() -> None:
    module, *_ = blocks()
    body = module.split("class GRU")[1]
    assert len([line for line in body.splitlines() if line.strip()]) <= 20


def test_the_example_trains(installed: str) -> None:
    job = job_of(installed)
    assert isinstance(job.task, Automaton)
    assert job.task.name == "counter to 3"
    model = build(job, "cpu", n_inputs=2, n_outputs=4)
    params = torch.stack([model.init(10), model.init(20), model.init(10)])
    assert torch.equal(params[0], params[2])
    assert not torch.equal(params[0], params[1])
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 2, (1, 32, 4), generator=generator)
    table = torch.tensor(job.task.table)
    state = torch.zeros(1, 32, dtype=torch.int64)
    targets = torch.empty_like(tokens)
    for t in range(4):
        state = table[state, tokens[..., t]]
        targets[..., t] = state
    grad = torch.empty_like(params)
    adam = torch.optim.Adam([params], lr=1e-2)
    first = model.step(params, tokens, targets, grad)
    for _ in range(100):
        loss = model.step(params, tokens, targets, grad)
        params.grad = grad
        adam.step()
    assert (loss < 0.2 * first).all()
    sums, counts = model.loss_sums(params, tokens, targets)
    torch.testing.assert_close((sums / counts).float(), model.step(params, tokens, targets, grad))
    assert counts.tolist() == [128.0] * 3
    states = model.generate(params, tokens, 3, torch.tensor([0, 1, 0, 1]))
    assert states.shape == (3, 32, 3)
    assert torch.equal(states[:, :, 0], model.logits(params, tokens)[:, :, -1].argmax(-1))


@pytest.mark.parametrize(
    ("block", "name", "hidden"), [(3, "minimal", 8), (3, "minimal", 32), (4, "turns", 8)]
)
def test_a_stacked_example_is_short_learns_and_keeps_members_apart(
    block: int, name: str, hidden: int
) -> None:
    text = blocks()[block]
    assert len(text.splitlines()) <= 30
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102  (a page of ours)
    shape = Shape(n_inputs=2, n_outputs=2, format="acot", one_length=True, positions=8)
    model = names[name](shape, torch.device("cpu"), hidden=hidden)
    params = torch.stack([model.init(seed) for seed in (10, 20, 30)])
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 2, (3, 32, 4), generator=generator)
    targets = tokens.cumsum(-1) % 2
    alone = model.init(20).unsqueeze(0)
    grads = torch.empty_like(params), torch.empty_like(alone)
    adams = [torch.optim.Adam([p], lr=1e-2) for p in (params, alone)]
    losses = []
    for _ in range(150):
        losses.append(model.step(params, tokens, targets, grads[0]))
        model.step(alone, tokens[1:2], targets[1:2], grads[1])
        for p, grad, adam in zip((params, alone), grads, adams, strict=True):
            p.grad = grad
            adam.step()
    assert (losses[-1] < 0.5 * losses[0]).all()
    assert torch.equal(params[1], alone[0])
    made = torch.nn.functional.cross_entropy(model.logits(params, tokens).flatten(0, 2), targets.flatten())
    torch.testing.assert_close(made, model.step(params, tokens, targets, grads[0]).mean())


def test_a_module_that_is_no_function_of_its_parameters_is_refused() -> None:
    shape = Shape(n_inputs=2, n_outputs=2, format="acot", one_length=True, positions=8)
    with pytest.raises(SpecError, match=r"dropout 0\.5 in Dropout"):
        ModuleModel(lambda: nn.Sequential(nn.Embedding(2, 2), nn.Dropout(0.5)), shape, torch.device("cpu"))
    with pytest.raises(SpecError, match="buffers"):
        ModuleModel(lambda: nn.Sequential(nn.Embedding(2, 2), nn.BatchNorm1d(2)), shape, torch.device("cpu"))


def test_a_plugin_that_is_missing_or_broken_is_told(installed: str) -> None:
    job = make_job({"kind": "plugin", "name": "nobody", "version": "1"})
    with pytest.raises(SpecError, match=r"no plugin called 'nobody' in labtui\.models; expected one of: gru"):
        build(job, "cpu", n_inputs=3, n_outputs=3)
    job = make_job({"kind": "plugin", "name": "gru", "version": "1", "params": {"width": 3}})
    with pytest.raises(SpecError, match=r"the model plugin 'gru' failed: TypeError: .*width"):
        build(job, "cpu", n_inputs=3, n_outputs=3)
