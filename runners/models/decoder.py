"""The transformer's variants: the GPT-2 style block of ``transformer`` with other positions, or with its
stack applied r times.

Positions: ``rope`` turns pairs of query and key channels by the position (Su et al. 2021; halves paired
as in Llama, base 10,000), ``alibi`` lowers scores by the distance times a slope of the head (Press et al.
2022), ``sinusoidal`` adds a fixed table, ``nope`` does nothing: the causal mask alone tells positions
apart.
"""

from __future__ import annotations

from math import log, sqrt

import torch
from torch import Tensor
from torch.nn.functional import gelu

from runners.kernels.codes import ALIBI, ROPE
from runners.models.autograd import Definition, Weights, layer_norm, linear, lookup
from runners.models.layout import Initial, constant, gaussian, part
from runners.models.shape import Shape
from runners.models.stacks import Stack, attention_stack
from runners.spec import Transformer

Parameters = dict[str, tuple[tuple[int, ...], Initial]]


def rotary(x: Tensor, base: float = 10_000.0) -> Tensor:
    """x [..., T, d], d even: channels i and i + d/2 turned by position x base^(-2i/d)."""
    cosine, sine = _angles(x.shape[-2], x.shape[-1], x, base)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)


def _angles(T: int, d: int, like: Tensor, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, d / 2]."""
    half = d // 2
    rate = (torch.arange(half, device=like.device, dtype=like.dtype) * (-log(base) / max(half, 1))).exp()
    angle = torch.arange(T, device=like.device, dtype=like.dtype).unsqueeze(1) * rate
    return angle.cos(), angle.sin()


def alibi_slopes(heads: int) -> list[float]:
    """2^-1 .. 2^-8 for 8 heads; for a power of two the geometric series from 2^(-8/heads), else that of the
    power below, with every other slope of the power above after it, as published.
    """
    power = 1 << (heads.bit_length() - 1)
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    return slopes + [2 ** (-4 * (2 * i + 1) / power) for i in range(heads - power)]


def sinusoids(T: int, d: int, like: Tensor) -> Tensor:
    """[T, d]: sines in the first half of the channels, cosines in the second (Vaswani et al. 2017, in
    another order).
    """
    cosine, sine = _angles(T, d, like)
    return torch.nn.functional.pad(torch.cat((sine, cosine), 1), (0, d % 2))


# Long: the parameters and the two functions that read them are one definition.
def decoder(spec: Transformer, shape: Shape) -> Definition:
    """Define the decoder; names, shapes and initial values as in runners.models.transformer."""
    d, H, V = spec.d, spec.heads, shape.n_inputs
    weight, residual = gaussian(spec.init_std), gaussian(spec.init_std / sqrt(2 * spec.layers))
    zero, one = constant(0.0), constant(1.0)
    parameters: Parameters = {"wte": ((V, d), weight)}
    if spec.position == "learned":
        parameters["wpe"] = ((shape.positions, d), weight)
    for layer in range(spec.layers):
        parts: Parameters = {
            "ln_1.weight": ((d,), one),
            "ln_1.bias": ((d,), zero),
            "attn.c_attn.weight": ((3 * d, d), weight),
            "attn.c_attn.bias": ((3 * d,), zero),
            "attn.c_proj.weight": ((d, d), residual),
            "attn.c_proj.bias": ((d,), zero),
            "ln_2.weight": ((d,), one),
            "ln_2.bias": ((d,), zero),
            "mlp.c_fc.weight": ((4 * d, d), weight),
            "mlp.c_fc.bias": ((4 * d,), zero),
            "mlp.c_proj.weight": ((d, 4 * d), residual),
            "mlp.c_proj.bias": ((d,), zero),
        }
        parameters |= {f"h.{layer}.{name}": part for name, part in parts.items()}
    parameters |= {"ln_f.weight": ((d,), one), "ln_f.bias": ((d,), zero)}

    def attend(w: Weights, x: Tensor) -> Tensor:
        E, B, T, _ = x.shape
        qkv = linear(x, w["attn.c_attn.weight"], w["attn.c_attn.bias"])
        q, k, v = qkv.view(E * B, T, 3, H, d // H).permute(2, 0, 3, 1, 4)
        bias = None
        if spec.position == "rope":
            q, k = rotary(q), rotary(k)
        elif spec.position == "alibi":
            at = torch.arange(T, device=x.device, dtype=x.dtype)
            slopes = torch.stack([torch.full((), s, device=x.device, dtype=x.dtype) for s in alibi_slopes(H)])
            distance = (at.unsqueeze(1) - at).clamp_min(0)
            bias = -slopes.view(H, 1, 1) * distance
        scores = (q @ k.transpose(-1, -2)) / sqrt(d // H)
        if bias is not None:
            scores = scores + bias
        ahead = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        read = scores.masked_fill(ahead, float("-inf")).softmax(-1) @ v
        read = read.transpose(1, 2).reshape(E, B, T, d)
        return linear(read, w["attn.c_proj.weight"], w["attn.c_proj.bias"])

    def forward(w: Weights, tokens: Tensor) -> Tensor:
        x = lookup(w["wte"], tokens)
        if spec.position == "learned":
            x = x + w["wpe"][:, None, : tokens.shape[-1]]
        elif spec.position == "sinusoidal":
            x = x + sinusoids(tokens.shape[-1], d, x)
        for _ in range(spec.loops):
            for layer in range(spec.layers):
                own = part(w, f"h.{layer}.")
                x = x + attend(own, layer_norm(x, own["ln_1.weight"], own["ln_1.bias"]))
                inner = layer_norm(x, own["ln_2.weight"], own["ln_2.bias"])
                inner = gelu(linear(inner, own["mlp.c_fc.weight"], own["mlp.c_fc.bias"]), approximate="tanh")
                x = x + linear(inner, own["mlp.c_proj.weight"], own["mlp.c_proj.bias"])
        return layer_norm(x, w["ln_f.weight"], w["ln_f.bias"])

    length = shape.positions if spec.position == "learned" else None
    stack = _stack(spec, shape)
    return Definition(parameters, forward, d, head=weight, head_bias=False, max_length=length, stack=stack)


def _stack(spec: Transformer, shape: Shape) -> Stack:
    """The same for the kernel, with what a position needs as a table."""
    depth = spec.d // spec.heads

    def table(T: int) -> Tensor:
        match spec.position:
            case "rope":
                return torch.cat(_angles(T, depth, torch.zeros(1)), 1)
            case "alibi":
                return torch.tensor(alibi_slopes(spec.heads)) * sqrt(depth)
            case _:
                return sinusoids(T, spec.d, torch.zeros(1))

    return attention_stack(
        "decoder",
        spec.d,
        spec.heads,
        spec.layers,
        {"rope": ROPE, "alibi": ALIBI}.get(spec.position, 0),
        None if spec.position in ("learned", "nope") else table,
        loops=spec.loops,
        learned=shape.positions if spec.position == "learned" else 0,
        fixed=spec.position == "sinusoidal",
    )
