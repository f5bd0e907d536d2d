"""Recurrences that are linear in the state: h_t = A(x_t) h_{t-1} [+ B x_t], with A of the token alone and a
linear head.

A and B x are tables over the vocabulary, made once per step and then looked up. What differs is the form
of A: diagonal, blocks, rotations, a product of low rank, or a soft permutation times a diagonal.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt

import torch
from torch import Tensor

from runners.interrupt import check_interrupt
from runners.kernels.codes import (
    ANGLES,
    BLOCKS,
    FACTORED,
    MATRICES,
    MIRRORED,
    PLAIN,
    POLAR,
    SCALES,
    SIGMOID,
    SOFT,
    TURNS,
)
from runners.models.autograd import WHOLE, Definition, Weights, linear, lookup
from runners.models.layout import Initial, flat, gaussian
from runners.models.recurrent import EVEN
from runners.models.shape import Shape
from runners.models.tables import FEWEST_BLOCKS, LARGEST_BLOCK, Tables
from runners.spec import DenseSSM, Diagonal

Parameters = dict[str, tuple[tuple[int, ...], Initial]]
DENSE_TO = 64
"""Numbers of state up to which a sparse transition is cheapest as a whole matrix, on a CPU."""
Turn = Callable[[Tensor, tuple[Tensor, ...]], Tensor]
"""(state [E, B, h], this step's transition) -> A h."""


def _run(
    tokens: Tensor, start: Tensor, transition: tuple[Tensor, ...], turn: Turn, added: Tensor | None
) -> Tensor:
    """States [E, B, T, h] of h_t = turn(h_{t-1}) [+ added_t]; transition and added [E, B, T, .], start [E,
    h].
    """
    h = start.unsqueeze(1).expand(-1, tokens.shape[1], -1)
    each = zip(*(part.unbind(2) for part in transition), strict=True)
    more = added.unbind(2) if added is not None else None
    states = []
    for t, now in enumerate(each):
        check_interrupt()
        h = turn(h, now)
        if more is not None:
            h = h + more[t]
        states.append(h)
    return torch.stack(states, 2)


def _input(w: Weights, tokens: Tensor) -> Tensor | None:
    return lookup(linear(w["embedding"], w["input"]), tokens) if "input" in w else None


def _scale(h: Tensor, now: tuple[Tensor, ...]) -> Tensor:
    return h * now[0]


def _blocks(h: Tensor, now: tuple[Tensor, ...]) -> Tensor:
    """By blocks [n, b, b] that stand transposed (in, out): a multiplication and a sum, as b is small."""
    (A,) = now
    E, B, _ = h.shape
    n, b = A.shape[-3], A.shape[-1]
    return (h.view(E, B, n, b, 1) * A).sum(-2).view(E, B, n * b)


def _turn(h: Tensor, now: tuple[Tensor, ...]) -> Tensor:
    """By factors and angles: the first half of the state holds the real parts, the second the imaginary
    ones.
    """
    cosine, sine = now
    real, imaginary = h.chunk(2, -1)
    return torch.cat((real * cosine - imaginary * sine, real * sine + imaginary * cosine), -1)


def diagonal(spec: Diagonal, shape: Shape) -> Definition:
    """Define h_t = a(x_t) h_{t-1} [+ B x_t], elementwise, a from u = W embedding(x) + b: range ``[0,1]`` a =
    sig(u), ``[-1,1]`` a = 2 sig(u) - 1, ``complex`` a = sig(u) e^(i theta), theta linear in the embedding
    too. Range by range what such a recurrence can track: Grazzi et al. 2025 (arXiv:2411.12537). Without B
    x, h_0 is learned, else it is 0.
    """
    h, d, V = spec.hidden, spec.embedding, shape.n_inputs
    parameters: Parameters = {
        "embedding": ((V, d), gaussian(1.0)),
        "gate": ((h, d), flat(1 / sqrt(d))),
        "gate_bias": ((h,), flat(1 / sqrt(d))),
    }
    complex_ = spec.range == "complex"
    width = 2 * h if complex_ else h
    if complex_:
        parameters["angle"] = ((h, d), gaussian(pi / sqrt(d)))
    if spec.additive:
        parameters["input"] = ((width, d), flat(1 / sqrt(d)))
    else:
        parameters["h0"] = ((width,), gaussian(1.0))

    def table(w: Weights) -> tuple[Tensor, ...]:
        """a of every token, or its real and imaginary parts."""
        a = linear(w["embedding"], w["gate"], w["gate_bias"]).sigmoid()
        if not complex_:
            return (2 * a - 1 if spec.range == "[-1,1]" else a,)
        angle = linear(w["embedding"], w["angle"])
        return a * angle.cos(), a * angle.sin()

    def forward(w: Weights, tokens: Tensor) -> Tensor:
        parts = table(w)
        start = w["h0"] if "h0" in w else parts[0].new_zeros(parts[0].shape[0], width)
        read = tuple(lookup(part, tokens) for part in parts)
        return _run(tokens, start, read, _turn if complex_ else _scale, _input(w, tokens))

    def transitions(w: Weights) -> tuple[Tensor, Tensor]:
        parts = table(w)
        return _turning(*parts) if complex_ else parts[0].diag_embed(), w["h0"]

    tables = Tables(
        kind={"[0,1]": SIGMOID, "[-1,1]": MIRRORED, "complex": POLAR}[spec.range],
        motion=TURNS if complex_ else SCALES,
        width=width,
        rows=h,
        weight="gate",
        bias="gate_bias",
        angle="angle",
    )
    return Definition(
        parameters, forward, width,
        together=h % WHOLE == 0,
        transitions=transitions if width <= DENSE_TO and not spec.additive else None,
        tables=None if spec.additive else tables,
        tables_together=V * h % WHOLE == 0,
    )  # fmt: skip


def _turning(cosine: Tensor, sine: Tensor) -> Tensor:
    """The matrices (in, out) of _turn, from its factors [.., h / 2]."""
    real, imaginary = cosine.diag_embed(), sine.diag_embed()
    return torch.cat((torch.cat((real, imaginary), -1), torch.cat((-imaginary, real), -1)), -2)


# Long: the forms of A(x) stand side by side, once to run with and once as matrices.
def structured(spec: DenseSSM, shape: Shape) -> Definition:
    """Define a bilinear RNN whose A(x) is linear in the embedding and has a structure (Ebrahimi et al. 2025,
    arXiv:2505.21749): ``full``; ``block``: blocks of b x b; ``rotation``: turns of the plane by angles
    linear in the embedding; ``diagonal``; ``factored``: U diag(W x) V^T of rank R. ``additive`` adds B
    x_t; ``near_identity`` starts all of them close to A = I, the identity being a constant beside the
    linear part. h_0 is learned.
    """
    h, d, V = spec.hidden, spec.embedding, shape.n_inputs
    near = spec.init == "near_identity"
    small = 0.1 if near else 1.0
    s = spec.init_scale * small
    parameters: Parameters = {"embedding": ((V, d), gaussian(1.0)), "h0": ((h,), gaussian(1.0))}
    b = {"full": h, "block": spec.block, "diagonal": 1}.get(spec.structure, 0)
    if b:
        parameters["transition"] = ((h * b, d), gaussian(s / sqrt(d * b)))
    elif spec.structure == "rotation":
        parameters["transition"] = ((h // 2, d), gaussian(pi * s / sqrt(d)))
    else:
        rank = spec.rank or h
        parameters["read"] = ((rank, h), gaussian(1 / sqrt(h)))
        parameters["transition"] = ((rank, d), gaussian(s / sqrt(d)))
        parameters["write"] = ((h, rank), gaussian(1 / sqrt(rank)))
    if spec.additive:
        parameters["input"] = ((h, d), flat(1 / sqrt(d)))

    def forward(w: Weights, tokens: Tensor) -> Tensor:
        made, added, start = linear(w["embedding"], w["transition"]), _input(w, tokens), w["h0"]
        if spec.structure == "rotation":
            parts = lookup(made.cos(), tokens), lookup(made.sin(), tokens)
            return _run(tokens, start, parts, _turn, added)
        if spec.structure == "factored":
            read, write = w["read"].transpose(1, 2), w["write"].transpose(1, 2)

            def through(state: Tensor, now: tuple[Tensor, ...]) -> Tensor:
                inner = torch.bmm(state, read) * now[0]
                return torch.baddbmm(state, inner, write) if near else torch.bmm(inner, write)

            return _run(tokens, start, (lookup(made, tokens),), through, added)
        if b == 1:
            return _run(tokens, start, (lookup(made + 1 if near else made, tokens),), _scale, added)
        blocks = made.view(*made.shape[:2], h // b, b, b)
        if near:
            blocks = blocks + torch.eye(b, dtype=made.dtype, device=made.device)
        if b == h:
            return linear_recurrence(blocks.squeeze(2), start, tokens, added)
        A = lookup(blocks.flatten(2), tokens).view(*tokens.shape, h // b, b, b)
        return _run(tokens, start, (A,), _blocks, added)

    def transitions(w: Weights) -> tuple[Tensor, Tensor]:
        made = linear(w["embedding"], w["transition"])
        if spec.structure == "rotation":
            return _turning(made.cos(), made.sin()), w["h0"]
        if spec.structure == "factored":
            A = torch.matmul(
                w["read"].transpose(1, 2).unsqueeze(1) * made.unsqueeze(2), w["write"].mT.unsqueeze(1)
            )
        elif b == 1:
            A = made.diag_embed()
        else:
            A = _block_diagonal(made.view(*made.shape[:2], h // b, b, b))
        return A + torch.eye(h, dtype=A.dtype, device=A.device) if near else A, w["h0"]

    dense = transitions if (h <= DENSE_TO or b == h) and not spec.additive else None
    whole = h % (2 * WHOLE) == 0
    alike = not (h % EVEN or d % EVEN or (spec.structure == "factored" and (spec.rank or h) % WHOLE))
    if spec.structure == "rotation":
        alike = V * h // 2 % WHOLE == 0
    return Definition(
        parameters, forward, h,
        together=whole,
        transitions=dense,
        tables=None if spec.additive else _tables(spec, b),
        tables_together=alike,
    )  # fmt: skip


def _tables(spec: DenseSSM, b: int) -> Tables | None:
    """The same for the kernel, ``b`` the size of its blocks; None: by ``transitions``, or torch."""
    h, near = spec.hidden, spec.init == "near_identity"
    match spec.structure:
        case "rotation":
            return Tables(ANGLES, TURNS, h, h // 2, "transition")
        case "factored":
            rank = spec.rank or h
            if h <= DENSE_TO and rank > 4 * h:
                return None
            return Tables(PLAIN, FACTORED, h, rank, "transition", rank=rank, near=near)
        case _ if b in (1, h):
            return Tables(PLAIN, SCALES if b == 1 else MATRICES, h, h * b, "transition", near=near)
        case _ if b <= LARGEST_BLOCK or (h > DENSE_TO and h >= FEWEST_BLOCKS * b):
            return Tables(PLAIN, BLOCKS, h, h * b, "transition", block=b, near=near)
        case _:
            return None


def _block_diagonal(blocks: Tensor) -> Tensor:
    """[E, V, n, b, b] -> [E, V, n b, n b]."""
    n, b = blocks.shape[2:4]
    return (
        blocks.permute(0, 1, 3, 4, 2)
        .diag_embed()
        .permute(0, 1, 4, 2, 5, 3)
        .reshape(*blocks.shape[:2], n * b, -1)
    )


def linear_recurrence(A: Tensor, start: Tensor, tokens: Tensor, added: Tensor | None = None) -> Tensor:
    """States [E, B, T, h] of h_t = A(x_t) h_{t-1} [+ added_t] by full matrices A [E, V, in, out] from start
    [E, h]: one product of the state, laid out by token, with all of them at once, since a gather of whole
    matrices would move more than it computes.
    """
    E, B, T = tokens.shape
    V, h = A.shape[1], A.shape[2]
    table = A.reshape(E, V * h, h)
    hot = (tokens.unsqueeze(-1) == torch.arange(V, device=tokens.device)).to(A.dtype)
    state = start.unsqueeze(1).expand(-1, B, -1)
    states = []
    for t in range(T):
        check_interrupt()
        spread = hot[:, :, t].unsqueeze(-1) * state.unsqueeze(2)
        state = torch.bmm(spread.view(E, B, V * h), table)
        if added is not None:
            state = state + added[:, :, t]
        states.append(state)
    return torch.stack(states, 2)


def pd_ssm(shape: Shape, hidden: int) -> Definition:
    """Define the soft PD state space model: per token A = rowsoftmax(P) diag(tanh d), h_t = A h_{t-1}, from
    P = 3 I + 0.1 N, d = 0.1 N, h_0 = 0.1 N, and a linear head with bias.
    """
    h, V = hidden, shape.n_inputs

    def permutation(k: int, places: Tensor) -> Tensor:
        return gaussian(0.1)(k, places) + 3.0 * (places % (h * h) % (h + 1) == 0)

    parameters: Parameters = {
        "permutation": ((V, h, h), permutation),
        "diagonal": ((V, h), gaussian(0.1)),
        "h0": ((h,), gaussian(0.1)),
    }

    def transitions(w: Weights) -> tuple[Tensor, Tensor]:
        A = w["permutation"].softmax(-1) * w["diagonal"].tanh().unsqueeze(2)
        return A.transpose(2, 3), w["h0"]

    def forward(w: Weights, tokens: Tensor) -> Tensor:
        return linear_recurrence(*transitions(w), tokens)

    whole, alike = h % (2 * WHOLE) == 0, V * h % WHOLE == 0
    return Definition(
        parameters, forward, h,
        together=whole,
        transitions=transitions,
        tables=Tables(SOFT, MATRICES, h, h * h, "permutation", bias="diagonal"),
        tables_together=alike,
    )  # fmt: skip
