"""What a competent user of JAX writes: ``jit(vmap(scan))`` over a grid of learning rates and seeds.

Float32, optax's Adam, data on the device, twenty optimiser steps in one compiled call of the models in
``jax_models``. Each program comes in a few forms (members mapped inside or outside the scan over steps, time
unrolled or scanned, one-hot or gathered, an associative scan); the fastest on this machine is the one that is
told.

XLA takes its number of threads from the cores that the process may use:
pin it to one before this is imported.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks.jax_models import (
    Logits,
    Params,
    decoder,
    deltanet,
    dense_ssm,
    linear_state,
    mamba,
    recurrent,
    slstm,
    transformer,
)
from runners.kernels import library
from runners.models import build
from runners.spec import Job

# What XLA has compiled, which takes most of this benchmark's time, is kept beside our own kernels.
jax.config.update("jax_compilation_cache_dir", str(library.folder() / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

STEPS = 20
"""Optimiser steps of one compiled call."""
UNROLLED = 20
"""Time steps up to which a form with the time axis unrolled is tried."""
FACTORS = ("diagonal", "rotation")
"""Structures whose states an associative scan makes."""
Form = tuple[Callable[[Any], Params], Logits]


def written(job: Job) -> bool:
    """Whether a program is written for the model of a job."""
    spec: Any = job.model
    if spec.kind == "deltanet":
        return bool(spec.householders == 1 and not spec.gate and not spec.convolution)
    if spec.kind == "transformer":
        return bool(spec.dropout == 0)
    return bool(spec.kind != "plugin" and not getattr(spec, "additive", False))


# Long: one way after another in which a model is written.
def forms(job: Job, m: int, T: int, quick: bool) -> list[Form]:
    """The ways in which the model is written; ``quick``: those that are mostly the fastest."""
    spec: Any = job.model
    unrolled = [False] if quick or T > UNROLLED else [False, True]
    made: list[Logits]
    match spec.kind:
        case "dense_ssm" if spec.plain:
            both = [False] if quick or T * spec.hidden**2 > 2**20 else [False, True]
            return [dense_ssm(spec, m, m, u, g) for g in both for u in unrolled]
        case "lstm" | "gru" | "rnn":
            return [recurrent(spec.kind, spec, m, m, u) for u in unrolled]
        case "transformer" if not spec.variant:
            return [transformer(spec, m, m, T)]
        case "transformer":
            made = [decoder(spec, T)]
        case "slstm":
            made = [slstm(spec, u) for u in unrolled]
        case "deltanet":
            made = [deltanet(spec, False, True)]
            made += [] if quick else [deltanet(spec, u, False) for u in unrolled]
        case "mamba":
            made = [mamba(spec, u, "loop") for u in unrolled]
            made += [] if quick else [mamba(spec, False, "scan")]
        case _:
            # What goes over numbers alone is compiled in a second, and unrolled is mostly the fastest.
            whole = spec.kind == "pd_ssm" or getattr(spec, "structure", "") in ("full", "factored")
            made = _linear_states(spec, m, T, unrolled if whole or T > UNROLLED else [False, True], quick)
    own = _ours(job, m)
    return [(lambda _: own, logits) for logits in made]


def _linear_states(spec: Any, m: int, T: int, unrolled: list[bool], quick: bool) -> list[Logits]:
    structure = "full" if spec.kind == "pd_ssm" else getattr(spec, "structure", "diagonal")
    ways = ["one_hot"] if structure == "full" else ["gather"]
    if structure == "full" and not quick and T * spec.hidden**2 <= 2**20:
        ways.append("gather")
    made = [linear_state(spec, m, u, way) for way in ways for u in unrolled]
    return [*made, linear_state(spec, m, False, "scan")] if structure in FACTORS else made


def _ours(job: Job, m: int) -> Params:
    """Our parameters of one member, by name."""
    model = build(job, "cpu", n_inputs=m, n_outputs=m)
    views = model.layout.views(model.init(10).unsqueeze(0))  # type: ignore[attr-defined]
    return {name: jnp.asarray(view[0].numpy()) for name, view in views.items()}


class Loop:
    """E members trained together by one compiled call of ``STEPS`` steps."""

    def __init__(self, form: Form, E: int, x: Any, y: Any, *, outside: bool) -> None:
        """x and y are [batches, B, T]; ``outside``: members are mapped outside the scan over steps."""
        init, logits = form
        adam = optax.scale_by_adam()

        def loss(p: Params, batch: tuple[Any, Any]) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(logits(p, batch[0]), batch[1]).mean()

        def one(state: Any, batch: tuple[Any, Any], rate: Any) -> tuple[Any, Any]:
            p, moments = state
            value, grad = jax.value_and_grad(loss)(p, batch)
            updates, moments = adam.update(grad, moments)
            return (jax.tree.map(lambda a, u: a - rate * u, p, updates), moments), value

        def member(state: Any, batches: Any, rate: Any) -> Any:
            return lax.scan(partial(one, rate=rate), state, batches)

        def together(state: Any, batches: Any, rates: Any) -> Any:
            return lax.scan(lambda s, b: jax.vmap(one)(s, b, rates), state, batches)

        turns = np.arange(STEPS) % len(x)
        data = tuple(
            jnp.asarray(np.repeat(z[turns][None], E, 0) if outside else np.repeat(z[turns][:, None], E, 1))
            for z in (x, y)
        )
        rates = jnp.full(E, 1e-3)
        params = jax.vmap(init)(jax.random.split(jax.random.key(10), E))
        state = (params, jax.vmap(adam.init)(params))
        run = jax.jit(jax.vmap(member) if outside else together, donate_argnums=0)
        self._run = run.lower(state, data, rates).compile()
        self._state, self._data, self._rates = state, data, rates
        self.E = E

    def run(self, calls: int) -> None:
        for _ in range(calls):
            self._state, losses = self._run(self._state, self._data, self._rates)
        losses.block_until_ready()

    def seconds(self, calls: int) -> float:
        """Processor time of one member-step."""
        begun = time.process_time()
        self.run(calls)
        return (time.process_time() - begun) / (calls * STEPS * self.E)


class Peer:
    """The fastest form for a job.

    Args:
        x, y: integers [batches, B, T].
        quick: only the forms that are mostly the fastest; each takes seconds to compile.
    """

    def __init__(self, job: Job, T: int, m: int, x: Any, y: Any, *, quick: bool) -> None:
        found: dict[float, Loop] = {}
        for form in forms(job, m, T, quick):
            for E, outside in ((3, True), (15, True)) if quick else ((3, True), (15, True), (15, False)):
                loop = Loop(form, E, x.astype(np.int32), y.astype(np.int32), outside=outside)
                loop.run(1)
                found[min(loop.seconds(1) for _ in range(3))] = loop
        self.best = found[min(found)]
        self.calls = max(1, int(0.1 / (min(found) * STEPS * self.best.E)))

    def seconds(self) -> float:
        """Processor time of one member-step, measured once."""
        return self.best.seconds(self.calls)
