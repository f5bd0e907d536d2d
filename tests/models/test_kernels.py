"""The kernels against torch: the same numbers, at the same distance from float64, and each row for itself."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from runners.kernels import library
from runners.models import StackedModel, dense_recurrence, native, stacks, tables
from runners.spec import Job
from tests.models.support import FORMATS, batch, make_job, make_model, parameters

pytestmark = pytest.mark.skipif(not library.lanes(), reason="no kernels for this processor, or no numba")

MODELS: dict[str, dict[str, Any]] = {
    "lstm 16": {"kind": "lstm", "hidden": 16},
    "lstm 48": {"kind": "lstm", "hidden": 48},
    "lstm 528": {"kind": "lstm", "hidden": 528},
    "gru 16": {"kind": "gru", "hidden": 16},
    "gru 48": {"kind": "gru", "hidden": 48},
    "gru 528": {"kind": "gru", "hidden": 528},
    "slstm 16": {"kind": "slstm", "hidden": 16},
    "slstm 48": {"kind": "slstm", "hidden": 48},
    "rnn 16": {"kind": "rnn", "hidden": 16},
    "rnn 48": {"kind": "rnn", "hidden": 48},
    "dense_ssm 16": {"kind": "dense_ssm", "hidden": 16, "d": 5},
    "dense_ssm 48": {"kind": "dense_ssm", "hidden": 48, "d": 20},
    "rotation 16": {"kind": "dense_ssm", "hidden": 16, "structure": "rotation"},
    "block 24": {"kind": "dense_ssm", "hidden": 24, "structure": "block", "block": 4},
    "diagonal 48": {"kind": "dense_ssm", "hidden": 48, "structure": "diagonal", "init": "near_identity"},
    "factored 32": {"kind": "dense_ssm", "hidden": 32, "structure": "factored"},
    "near identity 16": {"kind": "dense_ssm", "hidden": 16, "init": "near_identity"},
    "real 32": {"kind": "diagonal", "hidden": 32},
    "real 96": {"kind": "diagonal", "hidden": 96, "range": "[-1,1]"},
    "complex 24": {"kind": "diagonal", "hidden": 24, "range": "complex"},
    "block of 2": {"kind": "dense_ssm", "hidden": 20, "structure": "block", "init": "near_identity"},
    "block of 3": {"kind": "dense_ssm", "hidden": 48, "structure": "block", "block": 3},
    "block of 8": {"kind": "dense_ssm", "hidden": 32, "structure": "block", "block": 8},
    "factored 24": {
        "kind": "dense_ssm",
        "hidden": 24,
        "structure": "factored",
        "rank": 7,
        "init": "near_identity",
    },
    "pd_ssm 24": {"kind": "pd_ssm", "hidden": 24},
    "pd_ssm 32": {"kind": "pd_ssm", "hidden": 32},
    "transformer 1x32": {"kind": "transformer", "layers": 1, "d": 32, "heads": 2, "init_std": 0.3},
    "transformer 2x64": {"kind": "transformer", "layers": 2, "d": 64, "heads": 2, "init_std": 0.15},
}
for layers, d, depth in (
    (2, 16, 8), (2, 32, 8), (1, 8, 8), (1, 36, 4), (2, 25, 5), (1, 20, 1), (1, 50, 50), (1, 72, 24),
):  # fmt: skip
    MODELS[f"transformer {layers}x{d}, heads of {depth}"] = {
        "kind": "transformer", "layers": layers, "d": d, "heads": d // depth, "init_std": d**-0.5
    }  # fmt: skip
for position in ("rope", "nope", "alibi", "sinusoidal"):
    for d, heads in ((16, 2), (36, 3), (64, 2)):
        MODELS[f"{position} 2x{d}"] = {
            "kind": "transformer", "layers": 2, "d": d, "heads": heads, "position": position,
            "init_std": d**-0.5,
        }  # fmt: skip
# A head whose query and key are nearly at right angles reads next to nothing, and its norm makes much of it:
# such a member's error is a draw, also torch's.
DELTANETS: tuple[tuple[int, int, int, dict[str, Any]], ...] = (
    (1, 32, 1, {}), (2, 32, 2, {"range": "[0,1]"}), (1, 48, 3, {"gate": True}), (3, 16, 2, {"gate": True}),
    (1, 20, 2, {"convolution": True}), (2, 36, 1, {"convolution": True, "gate": True, "layers": 2}),
    (1, 16, 8, {"layers": 2}),
)  # fmt: skip
for n, d, heads, more in DELTANETS:
    MODELS[f"deltanet {n} 1x{d} of {heads} {more}"] = {
        "kind": "deltanet", "householders": n, "d": d, "heads": heads, **more,
    }  # fmt: skip
MAMBAS: tuple[tuple[int, int, dict[str, Any]], ...] = (
    (16, 16, {}), (32, 8, {"range": "[-1,1]"}), (20, 3, {"layers": 2}), (8, 5, {"expand": 3}),
    (24, 1, {"expand": 1, "range": "[-1,1]", "layers": 2}),
)  # fmt: skip
for d, states, more in MAMBAS:
    MODELS[f"mamba {d}, {states} {more}"] = {"kind": "mamba", "d": d, "states": states, **more}
MODELS["learned 1x32, 2 loops"] = MODELS["transformer 1x32"] | {"loops": 2}
MODELS["rope 2x36, 3 loops"] = MODELS["rope 2x36"] | {"loops": 3}
WORSE = 2.0
"""Times the error of torch's own float32."""
LAST_BIT = 1e-7
"""Of the gradient's norm: torch may be right by chance where few numbers are summed."""


def stepped(model: StackedModel, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    grad = torch.full_like(params, torch.nan)
    return model.step(params, x, y, grad), grad


@pytest.fixture
def by_torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that makes a model which uses no kernel."""

    def make(*args: Any) -> StackedModel:
        model = make_model(*args)
        whole = model.step, model.loss_sums

        def without(call: Any, *given: Any) -> Any:
            with monkeypatch.context() as here:
                here.setattr(library, "kernel", lambda family: None)
                return call(*given)

        model.step = lambda *given: without(whole[0], *given)  # type: ignore[method-assign]
        model.loss_sums = lambda *given: without(whole[1], *given)  # type: ignore[method-assign]
        return model

    return make


def family_of(model: StackedModel, job: Job) -> str:
    definition = getattr(model, "definition", None)
    if definition is None:
        return job.model.kind
    if definition.stack is not None:
        family: str = definition.stack.family
        return family
    return definition.cell or ("structured" if definition.tables else "dense_ssm")


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", MODELS)
def test_a_kernel_is_as_near_to_float64_as_torch(name: str, form: str, fixed: bool, by_torch: Any) -> None:
    job = make_job(MODELS[name], form, m=5, L=4 if form == "icot" else 7, fixed=fixed)  # 7 positions
    model, plain = make_model(job, 5), by_torch(job, 5)
    # As far from the start as keeps the dense SSM's states, and with them its rounding, within bounds.
    params = parameters(model, 3, moved=0.01)
    assert native.kernel_for(family_of(model, job), params) is not None
    x, y = batch(job, 3, 11, m=5)
    loss, grad = stepped(model, params, x, y)
    _, grad_t = stepped(plain, params, x, y)
    exact, exact_grad = stepped(make_model(job, 5), params.double(), x, y)
    # Of a few losses one may be right by chance: their last bits are granted.
    torch.testing.assert_close(loss.double(), exact, rtol=1e-6, atol=0)
    own, theirs, size = (x.norm() for x in (grad - exact_grad, grad_t - exact_grad, exact_grad))
    assert own <= WORSE * theirs + LAST_BIT * size
    total, count = model.loss_sums(params, x, y)
    exact_total, exact_count = make_model(job, 5).loss_sums(params.double(), x, y)
    torch.testing.assert_close(total, exact_total, rtol=1e-6, atol=0)
    assert torch.equal(count, exact_count)
    assert torch.equal(count, plain.loss_sums(params, x, y)[1])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", MODELS)
def test_a_row_depends_on_its_own_row_alone(name: str, form: str) -> None:
    job = make_job(MODELS[name], form, m=5, L=6)
    model, other = make_model(job, 5), make_model(job, 5)
    params = parameters(model, 4)
    x, y = batch(job, 4, 9, m=5)
    loss, grad = stepped(model, params, x, y)
    total, _ = model.loss_sums(params, x, y)
    for rows in ([0], [3], [1, 2]):
        own_loss, own_grad = stepped(other, params[rows], x[rows], y[rows])
        assert torch.equal(loss[rows], own_loss)
        assert torch.equal(grad[rows], own_grad)
        assert torch.equal(total[rows], other.loss_sums(params[rows], x[rows], y[rows])[0])


@pytest.mark.parametrize("name", MODELS)
def test_what_is_not_finite_stays_so_and_in_its_row(name: str) -> None:
    job = make_job(MODELS[name], m=5)
    model = make_model(job, 5)
    params = parameters(model, 3)
    x, y = batch(job, 3, 6, m=5)
    loss, grad = stepped(model, params, x, y)
    params[1] = torch.nan
    broken_loss, broken_grad = stepped(model, params, x, y)
    assert broken_loss[1].isnan()
    assert broken_grad[1].isnan().any()
    assert torch.equal(broken_loss[[0, 2]], loss[[0, 2]])
    assert torch.equal(broken_grad[[0, 2]], grad[[0, 2]])
    assert model.loss_sums(params, x, y)[0][1].isnan()


@pytest.mark.parametrize("times", [100, 1000])
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn", "slstm"])
def test_gates_far_from_zero_overflow_nowhere(kind: str, times: int, by_torch: Any) -> None:
    job = make_job({"kind": kind, "hidden": 16}, m=5, L=9)
    params = parameters(make_model(job, 5), 2) * times
    x, y = batch(job, 2, 9, m=5)
    exact, exact_grad = stepped(make_model(job, 5), params.double(), x, y)
    assert exact_grad.isfinite().all()
    for model in (make_model(job, 5), by_torch(job, 5)):
        loss, grad = stepped(model, params, x, y)
        torch.testing.assert_close(loss.double(), exact, rtol=1e-3, atol=0)
        assert grad.isfinite().all()


def test_small_steps_of_a_state_are_not_rounded_away() -> None:
    job = make_job({"kind": "mamba", "d": 16, "states": 4}, m=5, L=9)
    model = make_model(job, 5)
    params = parameters(model, 2)
    weights = {name: params[:, where] for name, (where, _) in model.names.items()}
    weights["layers.0.dt_bias"].fill_(-12.0)
    weights["layers.0.D"].zero_()
    x, y = batch(job, 2, 9, m=5)
    _, grad = stepped(model, params, x, y)
    _, exact = stepped(make_model(job, 5), params.double(), x, y)
    where, _ = model.names["layers.0.A_log"]
    assert (grad - exact)[:, where].norm() < 1e-4 * exact[:, where].norm()


@pytest.mark.parametrize(
    ("name", "limit"),
    [("deltanet 1 1x32 of 1 {}", (stacks, "MOST", 1000)), ("pd_ssm 32", (tables, "LONGEST_EVALUATION", 1e3))],
)
def test_what_would_take_too_much_is_torchs(
    name: str, limit: tuple[Any, str, float], by_torch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a kernel no request is heard, and its buffers are for a batch as it is."""
    job = make_job(MODELS[name], m=5, L=6)
    params = parameters(make_model(job, 5), 2)
    x, y = batch(job, 2, 4, m=5)
    plain = stepped(by_torch(job, 5), params, x, y)
    assert not torch.equal(stepped(make_model(job, 5), params, x, y)[1], plain[1])
    monkeypatch.setattr(*limit)
    monkeypatch.setattr(dense_recurrence.DenseRecurrence, "serves", lambda self, params: False)
    assert stepped(make_model(job, 5), params, x, y)[1].allclose(plain[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("depth", [1, 3, 5, 8, 12, 16, 24, 40])
def test_the_gradient_is_torchs_for_heads_of_any_width(depth: int, by_torch: Any) -> None:
    heads = max(2, 20 // depth)
    sizes = {"kind": "transformer", "layers": 2, "d": heads * depth, "heads": heads, "init_std": 0.2}
    job = make_job(sizes, m=5, L=20)
    model, plain = make_model(job, 5), by_torch(job, 5)
    params = parameters(model, 2)
    x, y = batch(job, 2, 30, m=5)  # more rows than go forward and back at once
    loss, grad = stepped(model, params, x, y)
    loss_t, grad_t = stepped(plain, params, x, y)
    assert not torch.equal(grad, grad_t), "torch made both"
    torch.testing.assert_close(loss, loss_t, rtol=1e-6, atol=0)
    assert (grad - grad_t).norm() < 3e-6 * grad_t.norm()


def test_nothing_is_written_beside_the_parameters() -> None:
    job = make_job({"kind": "transformer", "layers": 1, "d": 21, "heads": 3}, m=5)
    model = make_model(job, 5)
    P, beside = model.n_parameters, 64
    params = parameters(model, 2)
    x, y = batch(job, 2, 9, m=5)
    room = torch.full((2 * P + beside,), 7.0)
    grad = room[: 2 * P].view(2, P)
    model.step(params, x, y, grad)
    assert (room[2 * P :] == 7.0).all()
    assert torch.equal(grad, stepped(model, params, x, y)[1])


def test_in_float64_with_threads_and_switched_off_torch_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    params = torch.zeros(1, 16)
    assert native.kernel_for("lstm", params) is not None
    assert native.kernel_for("lstm", params.double()) is None
    assert native.kernel_for("lstm", params, 24) is None
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert native.kernel_for("lstm", params) is None
    library.lanes.cache_clear()
    monkeypatch.setenv(library.PLACE, "off")
    assert library.lanes() == 0
    library.lanes.cache_clear()


class Cache:
    """A cache of kernels in a folder of the test, in which compiling writes a word."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.setenv(library.PLACE, str(folder))

    def keep(self, code: bytes) -> Path:
        library._keep("lstm", code)
        return library._file("lstm")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    return Cache(tmp_path / "kernels", monkeypatch)


def test_a_cache_is_the_users_own(cache: Cache) -> None:
    file = cache.keep(b"code")
    assert library._stored("lstm") == b"code"
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o750])
def test_nothing_is_loaded_from_a_folder_that_others_reach(cache: Cache, mode: int) -> None:
    cache.keep(b"code")
    cache.folder.chmod(mode)
    assert library._stored("lstm") is None
    library._keep("lstm", b"other")
    cache.folder.chmod(0o700)
    assert library._stored("lstm") == b"code"


def test_nothing_is_loaded_that_others_could_have_written(cache: Cache, tmp_path: Path) -> None:
    file = cache.keep(b"code")
    file.chmod(0o622)
    assert library._stored("lstm") is None
    file.chmod(0o600)
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert library._stored("lstm") is None
    file.unlink()
    os.mkfifo(file, 0o600)
    assert library._stored("lstm") is None


def test_what_is_broken_is_compiled_anew(cache: Cache) -> None:
    file = cache.keep(b"code")
    for data in (b"", b"short", hashlib.sha256(b"code").digest() + b"cod", bytes(36)):
        file.write_bytes(data)
        assert library._stored("lstm") is None
    cache.keep(b"new")
    assert library._stored("lstm") == b"new"


def test_a_link_in_the_place_of_the_folder_is_not_followed(cache: Cache, tmp_path: Path) -> None:
    cache.keep(b"code")
    real = cache.folder.rename(tmp_path / "real")
    cache.folder.symlink_to(real)
    assert library._stored("lstm") is None


def test_a_large_cell_with_much_to_do_is_torchs(by_torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a kernel no request is heard, so a call must not take longer than a pause may."""
    job = make_job(MODELS["lstm 528"], m=5, L=6)
    params = parameters(make_model(job, 5), 2)
    x, y = batch(job, 2, 4, m=5)
    plain = stepped(by_torch(job, 5), params, x, y)
    assert not torch.equal(stepped(make_model(job, 5), params, x, y)[1], plain[1])
    monkeypatch.setattr(native, "LONGEST_CELL", 1e6)
    assert torch.equal(stepped(make_model(job, 5), params, x, y)[1], plain[1])
