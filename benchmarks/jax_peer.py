"""What a competent user of JAX writes: ``jit(vmap(scan))`` over a grid of learning rates and seeds.

Float32, optax's Adam, data on the device, twenty optimiser steps in one compiled call. What depends on the
token alone is a table, made once per step; the dense SSM multiplies by one-hot rows, or gathers. Each program
comes in a few forms (members mapped inside or outside the scan over steps, time unrolled or scanned, one-hot
or gathered); the fastest on this machine is the one that is told.

XLA takes its number of threads from the cores that the process may use:
pin it to one before this is imported.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from math import sqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from runners.spec import Job

STEPS = 20
"""Optimiser steps of one compiled call."""
UNROLLED = 20
"""Time steps up to which a form with the time axis unrolled is tried."""

Params = dict[str, Any]
Logits = Callable[[Params, Any], Any]
"""(parameters of one member, tokens [B, T]) -> logits [B, T, S]."""


def _uniform(key: Any, shape: tuple[int, ...], bound: float) -> Any:
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def _over_time(step: Callable[[Any, Any], tuple[Any, Any]], first: Any, read: Any, unroll: bool) -> Any:
    """Outputs [T, ...] of a recurrence over read [T, ...]."""
    return lax.scan(step, first, read, unroll=len(read) if unroll else 1)[1]


def dense_ssm(
    spec: Any, V: int, S: int, unroll: bool, gathered: bool
) -> tuple[Callable[[Any], Params], Logits]:
    h, d = spec.hidden, spec.embedding

    def init(key: Any) -> Params:
        k = jax.random.split(key, 5)
        return {
            "embedding": jax.random.normal(k[0], (V, d)),
            "transition": jax.random.normal(k[1], (d, h * h)) / sqrt(d * h),
            "h0": jax.random.normal(k[2], (h,)),
            "head": _uniform(k[3], (h, S), 1 / sqrt(h)),
            "bias": _uniform(k[4], (S,), 1 / sqrt(h)),
        }

    def logits(p: Params, x: Any) -> Any:
        B = x.shape[0]
        A = p["embedding"] @ p["transition"]
        first = jnp.broadcast_to(p["h0"], (B, h))

        def gather(state: Any, token: Any) -> tuple[Any, Any]:
            new = jnp.einsum("bi,bij->bj", state, A.reshape(V, h, h)[token])
            return new, new

        def one_hot(state: Any, mask: Any) -> tuple[Any, Any]:
            new = (mask[:, :, None] * state[:, None]).reshape(B, V * h) @ A.reshape(V * h, h)
            return new, new

        if gathered:
            states = _over_time(gather, first, x.T, unroll)
        else:
            states = _over_time(one_hot, first, jax.nn.one_hot(x.T, V), unroll)
        return (states @ p["head"] + p["bias"]).swapaxes(0, 1)

    return init, logits


def recurrent(kind: str, spec: Any, V: int, S: int, unroll: bool) -> tuple[Callable[[Any], Params], Logits]:
    """LSTM, GRU or tanh RNN, the input's part of the gates as a table."""
    h = spec.hidden
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]

    def init(key: Any) -> Params:
        k = jax.random.split(key, 7)
        bound = 1 / sqrt(h)
        return {
            "embedding": jax.random.normal(k[0], (V, h)),
            "w_ih": _uniform(k[1], (h, gates * h), bound),
            "w_hh": _uniform(k[2], (h, gates * h), bound),
            "b_ih": _uniform(k[3], (gates * h,), bound),
            "b_hh": _uniform(k[4], (gates * h,), bound),
            "head": _uniform(k[5], (h, S), bound),
            "bias": _uniform(k[6], (S,), bound),
        }

    def logits(p: Params, x: Any) -> Any:
        table = p["embedding"] @ p["w_ih"] + p["b_ih"]
        zero = jnp.zeros((x.shape[0], h))

        def lstm(state: Any, read: Any) -> tuple[Any, Any]:
            before, cell = state
            i, f, g, o = jnp.split(read + before @ p["w_hh"] + p["b_hh"], 4, -1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            new = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (new, cell), new

        def gru(before: Any, read: Any) -> tuple[Any, Any]:
            own = before @ p["w_hh"] + p["b_hh"]
            r, z = jnp.split(jax.nn.sigmoid(read[:, : 2 * h] + own[:, : 2 * h]), 2, -1)
            n = jnp.tanh(read[:, 2 * h :] + r * own[:, 2 * h :])
            new = (1 - z) * n + z * before
            return new, new

        def rnn(before: Any, read: Any) -> tuple[Any, Any]:
            new = jnp.tanh(read + before @ p["w_hh"] + p["b_hh"])
            return new, new

        step = {"lstm": lstm, "gru": gru, "rnn": rnn}[kind]
        states = _over_time(step, (zero, zero) if kind == "lstm" else zero, table[x.T], unroll)
        return (states @ p["head"] + p["bias"]).swapaxes(0, 1)

    return init, logits


def transformer(spec: Any, V: int, S: int, T: int) -> tuple[Callable[[Any], Params], Logits]:
    """Write a GPT-2 block of pre-LN, causal attention and GELU, the weights of a layer by name."""
    d, heads = spec.d, spec.heads
    shapes = {
        "attn": (d, 3 * d),
        "proj": (d, d),
        "fc": (d, 4 * d),
        "out": (4 * d, d),
    }

    def init(key: Any) -> Params:
        k = iter(jax.random.split(key, 3 + 4 * spec.layers))
        p: Params = {
            "wte": 0.02 * jax.random.normal(next(k), (V, d)),
            "wpe": 0.02 * jax.random.normal(next(k), (2 * T, d)),
            "head": 0.02 * jax.random.normal(next(k), (d, S)),
            "ln_f": (jnp.ones(d), jnp.zeros(d)),
        }
        for layer in range(spec.layers):
            for name, shape in shapes.items():
                p[f"{layer}.{name}"] = (0.02 * jax.random.normal(next(k), shape), jnp.zeros(shape[1]))
            p[f"{layer}.ln_1"] = p[f"{layer}.ln_2"] = (jnp.ones(d), jnp.zeros(d))
        return p

    def norm(x: Any, gain_and_bias: Any) -> Any:
        mean = x.mean(-1, keepdims=True)
        return (x - mean) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * gain_and_bias[0] + gain_and_bias[1]

    def linear(x: Any, weight_and_bias: Any) -> Any:
        return x @ weight_and_bias[0] + weight_and_bias[1]

    def logits(p: Params, x: Any) -> Any:
        B = x.shape[0]
        mask = jnp.tril(jnp.ones((T, T), bool))
        y = p["wte"][x] + p["wpe"][:T]
        for i in range(spec.layers):
            qkv = linear(norm(y, p[f"{i}.ln_1"]), p[f"{i}.attn"])
            q, k, v = qkv.reshape(B, T, 3, heads, d // heads).transpose(2, 0, 3, 1, 4)
            scores = jnp.einsum("bhqd,bhkd->bhqk", q, k) / sqrt(d // heads)
            weights = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf), -1)
            read = jnp.einsum("bhqk,bhkd->bqhd", weights, v).reshape(B, T, d)
            y = y + linear(read, p[f"{i}.proj"])
            y = y + linear(
                jax.nn.gelu(linear(norm(y, p[f"{i}.ln_2"]), p[f"{i}.fc"]), approximate=True), p[f"{i}.out"]
            )
        return norm(y, p["ln_f"]) @ p["head"]

    return init, logits


def _forms(job: Job, m: int, T: int, quick: bool) -> list[tuple[Callable[[Any], Params], Logits]]:
    """The ways in which the model is written."""
    spec: Any = job.model
    unrolled = [False] if quick or T > UNROLLED else [False, True]
    if spec.kind == "dense_ssm":
        ways = [False] if quick or T * spec.hidden**2 > 2**20 else [False, True]
        return [dense_ssm(spec, m, m, u, g) for g in ways for u in unrolled]
    if spec.kind in ("lstm", "gru", "rnn"):
        return [recurrent(spec.kind, spec, m, m, u) for u in unrolled]
    assert spec.kind == "transformer"
    return [transformer(spec, m, m, T)]


class Loop:
    """E members trained together by one compiled call of ``STEPS`` steps."""

    def __init__(
        self, form: tuple[Callable[[Any], Params], Logits], E: int, x: Any, y: Any, *, outside: bool
    ) -> None:
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
        for form in _forms(job, m, T, quick):
            for E, outside in ((3, True), (15, True)) if quick else ((3, True), (15, True), (15, False)):
                loop = Loop(form, E, x.astype(np.int32), y.astype(np.int32), outside=outside)
                loop.run(1)
                found[min(loop.seconds(1) for _ in range(3))] = loop
        self.best = found[min(found)]
        self.calls = max(1, int(0.1 / (min(found) * STEPS * self.best.E)))

    def seconds(self) -> float:
        """Processor time of one member-step, measured once."""
        return self.best.seconds(self.calls)
