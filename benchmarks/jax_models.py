"""The models as a competent user of JAX writes them: from one member's parameters to its logits.

What depends on the token alone is a table, made once per step. The first three draw parameters of their own;
the others take the names and shapes of ``runners.models``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, sqrt
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from runners.models.decoder import alibi_slopes

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
        return _layer_norm(x, *gain_and_bias)

    def linear(x: Any, weight_and_bias: Any) -> Any:
        return x @ weight_and_bias[0] + weight_and_bias[1]

    def logits(p: Params, x: Any) -> Any:
        y = p["wte"][x] + p["wpe"][:T]
        for i in range(spec.layers):
            qkv = linear(norm(y, p[f"{i}.ln_1"]), p[f"{i}.attn"])
            y = y + linear(_attention(qkv, heads), p[f"{i}.proj"])
            inner = jax.nn.gelu(linear(norm(y, p[f"{i}.ln_2"]), p[f"{i}.fc"]), approximate=True)
            y = y + linear(inner, p[f"{i}.out"])
        return norm(y, p["ln_f"]) @ p["head"]

    return init, logits


def _layer_norm(x: Any, gain: Any, bias: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * gain + bias


def _attention(qkv: Any, heads: int, turn: Any = None, lowered: Any = 0.0) -> Any:
    """What is read by qkv [B, T, 3 d]; ``turn`` is done to queries and keys, ``lowered`` taken off scores."""
    B, T, d = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    q, k, v = qkv.reshape(B, T, 3, heads, d // heads).transpose(2, 0, 3, 1, 4)
    if turn is not None:
        q, k = turn(q), turn(k)
    scores = jnp.einsum("bhqd,bhkd->bhqk", q, k) / sqrt(d // heads) - lowered
    weights = jax.nn.softmax(jnp.where(jnp.tril(jnp.ones((T, T), bool)), scores, -jnp.inf), -1)
    return jnp.einsum("bhqk,bhkd->bqhd", weights, v).reshape(B, T, d)


# From here on parameters are called, and shaped, as in runners.models: weights [out, in].


def _rms(x: Any, weight: Any) -> Any:
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight


def _head(p: Params, x: Any) -> Any:
    made = x @ p["head.weight"].T
    return made + p["head.bias"] if "head.bias" in p else made


def _own(p: Params, layer: int, prefix: str = "layers") -> Params:
    """The parameters of a layer, without its prefix."""
    begin = f"{prefix}.{layer}."
    return {name[len(begin) :]: value for name, value in p.items() if name.startswith(begin)}


def slstm(spec: Any, unroll: bool) -> Logits:
    h = spec.hidden

    def logits(p: Params, x: Any) -> Any:
        table = p["embedding"] @ p["w_ih"].T + p["b_ih"]
        zero = jnp.zeros((x.shape[0], h))

        def step(state: Any, read: Any) -> tuple[Any, Any]:
            before, c, n, m = state
            i, f, z, o = jnp.split(read + before @ p["w_hh"].T, 4, -1)
            kept = jax.nn.log_sigmoid(f) + m
            new_m = jnp.maximum(kept, i)
            gain, keep = jnp.exp(i - new_m), jnp.exp(kept - new_m)
            c, n = keep * c + gain * jnp.tanh(z), keep * n + gain
            new = jax.nn.sigmoid(o) * c / n
            return (new, c, n, new_m), new

        states = _over_time(step, (zero, zero, zero, zero - 1e30), table[x.T], unroll)
        return _head(p, states).swapaxes(0, 1)

    return logits


def _factors(spec: Any, p: Params) -> tuple[Any, ...]:
    """What a token does to the state, for all tokens: factors, cosines and sines, or matrices (in, out)."""
    if spec.kind == "pd_ssm":
        A = jax.nn.softmax(p["permutation"], -1) * jnp.tanh(p["diagonal"])[:, None]
        return (A.swapaxes(1, 2),)
    if spec.kind == "diagonal":
        a = jax.nn.sigmoid(p["embedding"] @ p["gate"].T + p["gate_bias"])
        if spec.range == "complex":
            angle = p["embedding"] @ p["angle"].T
            return a * jnp.cos(angle), a * jnp.sin(angle)
        return (2 * a - 1 if spec.range == "[-1,1]" else a,)
    made = p["embedding"] @ p["transition"].T
    near = 1.0 if spec.init == "near_identity" else 0.0
    if spec.structure == "rotation":
        return jnp.cos(made), jnp.sin(made)
    if spec.structure == "factored":
        return (made,)
    b = {"full": spec.hidden, "block": spec.block, "diagonal": 1}[spec.structure]
    if b == 1:
        return (made + near,)
    blocks = made.reshape(len(made), -1, b, b) + near * jnp.eye(b)
    return (blocks[:, 0] if b == spec.hidden else blocks,)


def linear_state(spec: Any, V: int, unroll: bool, form: str) -> Logits:
    """Build h_t = A(x_t) h_{t-1}, without an added input; ``form``: ``gather``, ``one_hot`` (of whole
    matrices) or ``scan`` (an associative scan over time, of factors).
    """
    near = getattr(spec, "init", "") == "near_identity"

    def logits(p: Params, x: Any) -> Any:
        B, table = x.shape[0], _factors(spec, p)
        first = jnp.broadcast_to(p["h0"], (B, len(p["h0"])))

        def turned(h: Any, now: tuple[Any, ...]) -> Any:
            if len(now) == 2:
                real, imaginary = jnp.split(h, 2, -1)
                cosine, sine = now
                parts = real * cosine - imaginary * sine, real * sine + imaginary * cosine
                return jnp.concatenate(parts, -1)
            (A,) = now
            if A.ndim == 3:
                return jnp.einsum("bi,bij->bj", h, A)
            if A.ndim == 4:
                return jnp.einsum("bni,bnij->bnj", h.reshape(*A.shape[:3]), A).reshape(h.shape)
            if "read" not in p:
                return h * A
            inner = (h @ p["read"].T * A) @ p["write"].T
            return h + inner if near else inner

        def step(h: Any, now: Any) -> tuple[Any, Any]:
            if form == "one_hot":
                A = table[0]
                new = (now[:, :, None] * h[:, None]).reshape(B, -1) @ A.reshape(-1, A.shape[-1])
            else:
                new = turned(h, now)
            return new, new

        if form == "scan":
            whole = table[0] if len(table) == 1 else lax.complex(*table)
            product = lax.associative_scan(jnp.multiply, whole[x.T])
            if len(table) == 1:
                states = product * p["h0"]
            else:
                states = product * lax.complex(*jnp.split(p["h0"], 2))
                states = jnp.concatenate((states.real, states.imag), -1)
        else:
            read = jax.nn.one_hot(x.T, V) if form == "one_hot" else tuple(part[x.T] for part in table)
            states = lax.scan(step, first, read, unroll=x.shape[1] if unroll else 1)[1]
        return _head(p, states).swapaxes(0, 1)

    return logits


def deltanet(spec: Any, unroll: bool, chunked: bool) -> Logits:
    """Build DeltaNet with one Householder step a token, without gate and convolution; ``chunked``: all
    positions at once, by the inverse of a triangular matrix, instead of one after another.
    """
    heads = spec.heads
    most = 2.0 if spec.range == "[-1,1]" else 1.0

    def unit(x: Any) -> Any:
        return x * lax.rsqrt((x * x).sum(-1, keepdims=True) + 1e-6)

    def attend(w: Params, y: Any) -> Any:
        B, T, d = y.shape
        q, k, v = (
            jax.nn.silu(y @ w[name].T).reshape(B, T, heads, -1).transpose(1, 0, 2, 3) for name in "qkv"
        )
        q, k, beta = unit(q), unit(k), most * jax.nn.sigmoid(y @ w["beta"].T).transpose(1, 0, 2)

        def step(S: Any, now: Any) -> tuple[Any, Any]:
            q_t, k_t, v_t, beta_t = now
            missing = beta_t[..., None] * (v_t - jnp.einsum("bhkv,bhk->bhv", S, k_t))
            S = S + k_t[..., None] * missing[..., None, :]
            return S, jnp.einsum("bhkv,bhk->bhv", S, q_t)

        if chunked:
            below = jnp.tril(jnp.einsum("tbhk,sbhk->bhts", k, k), -1) * beta.transpose(1, 2, 0)[..., None]
            wanted = (beta[..., None] * v).transpose(1, 2, 0, 3)
            added = jax.scipy.linalg.solve_triangular(
                below + jnp.eye(T), wanted, lower=True, unit_diagonal=True
            )
            read = jnp.tril(jnp.einsum("tbhk,sbhk->bhts", q, k)) @ added
            read = read.transpose(0, 2, 1, 3)
        else:
            S = jnp.zeros((B, heads, d // heads, d // heads))
            read = lax.scan(step, S, (q, k, v, beta), unroll=T if unroll else 1)[1].transpose(1, 0, 2, 3)
        return _rms(read, w["out_norm"].reshape(heads, -1)).reshape(B, T, d) @ w["out"].T

    def logits(p: Params, x: Any) -> Any:
        y = p["embedding"][x]
        for layer in range(spec.layers):
            w = _own(p, layer)
            y = y + attend(w, _rms(y, w["norm"]))
            y = y + jax.nn.silu(_rms(y, w["mlp_norm"]) @ w["mlp_in"].T) @ w["mlp_out"].T
        return _head(p, _rms(y, p["norm"]))

    return logits


def mamba(spec: Any, unroll: bool, form: str) -> Logits:
    """Build Mamba's S6; ``form``: ``loop`` over time, or ``scan``, an associative one."""
    N = spec.states

    def mix(w: Params, y: Any) -> Any:
        T = y.shape[1]
        u, z = jnp.split(y @ w["in_proj"].T, 2, -1)
        padded = jnp.pad(u, ((0, 0), (3, 0), (0, 0)))
        u = jax.nn.silu(sum(padded[:, i : i + T] * w["conv"][:, i] for i in range(4)) + w["conv_bias"])
        made = u @ w["x_proj"].T
        dt = jax.nn.softplus(made[..., : -2 * N] @ w["dt_proj"].T + w["dt_bias"]).swapaxes(0, 1)
        B, C = (part.swapaxes(0, 1) for part in (made[..., -2 * N : -N], made[..., -N:]))
        A = -jnp.exp(w["A_log"])
        most = 2.0 if spec.range == "[-1,1]" else 1.0

        def factors(dt: Any, B: Any, u: Any) -> tuple[Any, Any]:
            return most * jnp.exp(dt[..., None] * A) - (most - 1), (dt * u)[..., None] * B[..., None, :]

        def step(h: Any, now: Any) -> tuple[Any, Any]:
            dt, B, C, u = now
            keep, add = factors(dt, B, u)
            h = keep * h + add
            return h, (h * C[:, None]).sum(-1)

        over = u.swapaxes(0, 1)
        if form == "scan":

            def joined(a: Any, b: Any) -> Any:
                return a[0] * b[0], a[1] * b[0] + b[1]

            states = lax.associative_scan(joined, factors(dt, B, over))[1]
            read = (states * C[:, :, None]).sum(-1)
        else:
            first = jnp.zeros((y.shape[0], *A.shape))
            read = lax.scan(step, first, (dt, B, C, over), unroll=T if unroll else 1)[1]
        return ((read + over * w["D"]).swapaxes(0, 1) * jax.nn.silu(z)) @ w["out_proj"].T

    def logits(p: Params, x: Any) -> Any:
        y = p["embedding"][x]
        for layer in range(spec.layers):
            w = _own(p, layer)
            y = y + mix(w, _rms(y, w["norm"]))
        return _head(p, _rms(y, p["norm"]))

    return logits


def decoder(spec: Any, T: int) -> Logits:
    """Build the GPT-2 style block with other positions, or with its stack applied several times."""
    d, heads = spec.d, spec.heads
    depth = d // heads

    def norm(x: Any, w: Params, name: str) -> Any:
        return _layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def linear(x: Any, w: Params, name: str) -> Any:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def angles(channels: int) -> Any:
        rate = jnp.exp(jnp.arange(channels // 2) * (-log(10_000.0) / (channels // 2)))
        return jnp.arange(T)[:, None] * rate

    def rotary(x: Any) -> Any:
        a, b = jnp.split(x, 2, -1)
        cosine, sine = jnp.cos(angles(depth)), jnp.sin(angles(depth))
        return jnp.concatenate((a * cosine - b * sine, b * cosine + a * sine), -1)

    def logits(p: Params, x: Any) -> Any:
        y = p["wte"][x]
        if spec.position == "learned":
            y = y + p["wpe"][:T]
        elif spec.position == "sinusoidal":
            y = y + jnp.concatenate((jnp.sin(angles(d)), jnp.cos(angles(d))), -1)
        turn, lowered, places = rotary if spec.position == "rope" else None, 0.0, jnp.arange(T)
        if spec.position == "alibi":
            lowered = jnp.asarray(alibi_slopes(heads))[:, None, None] * (places[:, None] - places)
        for i in list(range(spec.layers)) * spec.loops:
            w = _own(p, i, "h")
            qkv = linear(norm(y, w, "ln_1"), w, "attn.c_attn")
            y = y + linear(_attention(qkv, heads, turn, lowered), w, "attn.c_proj")
            inner = jax.nn.gelu(linear(norm(y, w, "ln_2"), w, "mlp.c_fc"), approximate=True)
            y = y + linear(inner, w, "mlp.c_proj")
        return _head(p, norm(y, p, "ln_f"))

    return logits
