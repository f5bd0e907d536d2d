"""The test at further lengths: accuracy by position, from the engine to the Job screen."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from labtui.views.lines import plain, size
from labtui.views.position import asked_lengths, at_length, position_lines, position_plot, positions_of_trials
from runners.engine import evaluate
from runners.engine.evaluate import accuracy_by_position, rescaled_accuracy
from runners.engine.schedule import new_model
from runners.engine.types import shape_key
from runners.pool import protocol as m
from runners.spec import Job
from runners.spec.errors import SpecError
from runners.spec.load import parse
from runners.tasks import generalisation_batch
from store.curves import decode, encode
from store.rows import Curve
from tests.engine.small_runs import FORMATS, cpu, grid, in_pieces, run, tiny

FORMS = (*FORMATS, "icot")
LAB = """
name = "t"
[[sweep]]
m = 3
model = { kind = "dense_ssm", hidden = 8 }
format = "acot"
L = 4
measure = "joint"
generalisation = true
generalisation_lengths = [6, 12]
grid = { learning_rates = [3e-2], seeds = [1, 2] }
training = { steps = 60, eval_every = 20, validation_size = 40 }
search = { eps = 1e-1, n_max = 40 }
"""


def asked(format: str = "acot", lengths: tuple[int, ...] = (5, 9), **more: Any) -> Job:
    job = tiny("dense_ssm", format, steps=20)
    return Job.model_validate(job.model_dump() | {"generalisation": True, "generalisation_lengths": lengths})


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "generalisation_batch", partial(generalisation_batch, count=60))


@pytest.mark.parametrize("format", FORMS)
def test_every_trial_tells_its_accuracy_at_each_position(format: str) -> None:
    seen = run(asked(format), grid(eps=9.0, stop="never", generalisation=True))
    for e in seen.ended.values():
        lengths = [length for length, _ in e.by_position]
        assert lengths == ([5, 9] if format == "cot" else [9])
        assert all(len(told) == length for length, told in e.by_position)
        assert all(-0.51 <= x <= 1.0 for _, told in e.by_position for x in told)
    without = run(tiny("dense_ssm", format, steps=20), grid(eps=9.0, stop="never", generalisation=True))
    assert [e.generalisation for e in seen.ended.values()] == [
        e.generalisation for e in without.ended.values()
    ], "the test at 2L is what it was"


@pytest.mark.parametrize("format", FORMS)
def test_the_last_position_of_2L_is_the_accuracy_at_2L(format: str) -> None:
    job = asked(format, (8,))  # 2L
    model = new_model(job, "cpu")
    params = model.init(3)
    [(length, told)] = accuracy_by_position(job, model, params, 10)
    assert length == 8
    assert told[-1] == rescaled_accuracy(job, model, params, 10)


def test_it_comes_through_checkpoints_pipe_and_file(tmp_path: Path) -> None:
    job, members = asked(), grid(eps=9.0, stop="never", generalisation=True)
    whole = run(job, members, plan=cpu())
    pieces = in_pieces(job, members, cpu(), tmp_path, [4, 6, 7])
    assert {i: e.by_position for i, e in pieces.ended.items()} == {
        i: e.by_position for i, e in whole.ended.items()
    }
    ended = whole.ended[0]
    told = m.TrialEnded(m.Tag("a", 1, 1), ended, (1, 2), (1.0, 0.5), (1.0, 0.5), (True, True), 1.0)
    assert m.decode_up(m.encode(told)) == told
    curve = Curve((1, 2), (1.0, 0.5), (1.0, 0.5), (False, True), ((9, (1.0, 0.5, -0.25)), (12, (0.5,) * 12)))
    blob = encode(curve)
    assert decode(blob) == curve
    for cut in range(len(blob)):
        found = decode(blob[:cut])
        assert found is None or len(found.by_position) < 2
    assert decode(blob[:1] + b"\xff" * 200) is None
    assert decode(b"\x05\0\0\0\xff\xff\xff\xff") is None


def test_it_is_part_of_hash_and_shape_where_it_is_used() -> None:
    plain_job = Job.model_validate(tiny(steps=20).model_dump() | {"generalisation": True})
    again = Job.model_validate(plain_job.model_dump() | {"generalisation_lengths": ()})
    assert again.hash == plain_job.hash != asked().hash
    assert shape_key(plain_job) != shape_key(asked()) != shape_key(asked(lengths=(5,)))


@pytest.mark.parametrize(
    ("model", "lines", "why"),
    [
        (
            "kind = 'lstm', hidden = 4",
            "generalisation_lengths = [9]",
            "expected generalisation = true with it",
        ),
        (
            "kind = 'transformer', layers = 1, d = 8, heads = 2",
            "generalisation = true\ngeneralisation_lengths = [9]",
            "expected at most 8 = 2L with learned positions",
        ),
        ("kind = 'lstm', hidden = 4", "generalisation = true\ngeneralisation_lengths = [1]", "2"),
    ],
)
def test_what_cannot_be_tested_is_refused(model: str, lines: str, why: str) -> None:
    spec = (
        "[job]\nm = 3\nformat = 'acot'\nlengths = { distribution = 'fixed', length = 4 }\n"
        f"model = {{ {model} }}\n{lines}\n"
    )
    with pytest.raises(SpecError, match=why):
        parse(spec)


def trial(i: int, lr: float, best: float | None) -> Any:
    return SimpleNamespace(id=i, lr=lr, seed=10 + i, best_loss=best)


def test_the_screen_and_the_text_show_them() -> None:
    good, bad = tuple(1.0 for _ in range(20)), tuple(1.0 - i / 20 for i in range(20))
    curves = {i: Curve((1,), (1.0,), (1.0,), (), ((20, told),)) for i, told in ((1, good), (2, bad))}
    lab: Any = SimpleNamespace(
        curves=lambda probe: curves, trials=lambda probe_id: [trial(2, 1e-3, 0.5), trial(1, 1e-2, 1e-3)]
    )
    probes: Any = [SimpleNamespace(id=7, n=100, state="done"), SimpleNamespace(id=8, n=50, state="done")]
    job: Any = SimpleNamespace(n_max=100)
    spec = json.dumps({"generalisation_lengths": [20, 5, "x", True, -1]})
    assert asked_lengths(spec) == (5, 20)
    found = positions_of_trials(lab, job, probes, spec)
    assert [t.id for t, _ in found] == [1, 2], "the lowest loss first"
    assert positions_of_trials(lab, job, probes, "{}") == ()
    assert at_length(curves[2], 5) == pytest.approx(0.8)
    assert at_length(curves[2], 21) is None
    lines = position_plot(found, 7, 60, 14)
    assert all(size(line) <= 60 for line in lines)
    assert "trained up to 7" in plain(lines[0])
    assert any("⠉" <= c <= "⣿" for line in lines for c in plain(line))
    text = position_lines(found, (5, 20))
    assert text[-1].split()[-2:] == ["0.80", "0.05"]


@pytest.mark.slow
def test_a_whole_search_tells_it(lab_path: Path, tmp_path: Path) -> None:
    """Submitted, trained by a real worker, and shown."""

    def labtui(*words: str) -> str:
        command = [sys.executable, "-P", "-m", "labtui", "--lab", str(lab_path), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "s.toml").write_text(LAB)
    labtui("submit", str(tmp_path / "s.toml"))
    labtui("run", "--devices", "cpu", "--slots", "1")
    shown = labtui("show", "1")
    assert "Accuracy at further lengths" in shown
    told = json.loads(labtui("--json", "show", "1"))["accuracy_by_position"]
    assert len(told) == 2
    assert {row["length"] for row in told} == {12}
    assert all(len(row["accuracy"]) == 12 for row in told)


def test_memory_that_runs_out_makes_the_parts_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    job = asked()
    model = new_model(job, "cpu")
    params = model.init(3)
    whole = accuracy_by_position(job, model, params, 10)
    real = model.logits

    def short(rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        if tokens.shape[1] > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(rows, tokens)

    monkeypatch.setattr(model, "logits", short)
    assert accuracy_by_position(job, model, params, 10) == whole
