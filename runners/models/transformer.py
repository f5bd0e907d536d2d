"""A GPT-2 style decoder (Radford et al. 2019): learned positions, pre-LN blocks, GELU by its tanh approximation, a final layer
norm and a linear head to the states, without bias and with weights of its own (the states are no input tokens in general).

On the CPU members run one after another: their products of matrices are large enough to keep a core busy, and one member's
activations stay in its cache. On a GPU all members run at once.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from runners.models import attention, block, loss, norm
from runners.models.contract import DropoutKeys
from runners.models.decode import Cache, advance
from runners.models.dropout import Dropout
from runners.models.frame import slices
from runners.models.gemm import Gemm, flush_denormals
from runners.models.layout import Initial, Layout, constant, gaussian
from runners.models.shape import Shape
from runners.models.workspace import Buffers, Workspace
from runners.spec import Transformer

EVALUATED_AT_ONCE = 128
"""Sequences of one slice of an evaluation."""

Views = dict[str, Tensor]


class TransformerModel:
    """Parameters have GPT-2's names and shapes (weights [in, out]); ``head`` is [n_outputs, d]. Weights, token and position
    embeddings start from N(0, init_std^2), the projections into the residual stream from that over 2 x layers, biases at 0."""

    def __init__(self, spec: Transformer, shape: Shape, device: torch.device) -> None:
        d, V, S = spec.d, shape.n_inputs, shape.n_outputs
        weight, residual = gaussian(spec.init_std), gaussian(spec.init_std / sqrt(2 * spec.layers))
        zero, one = constant(0.0), constant(1.0)
        parameters: dict[str, tuple[tuple[int, ...], Initial]] = {
            "wte": ((V, d), weight),
            "wpe": ((shape.positions, d), weight),
        }
        for layer in range(spec.layers):
            parts: dict[str, tuple[tuple[int, ...], Initial]] = {
                "ln_1.weight": ((d,), one),
                "ln_1.bias": ((d,), zero),
                "attn.c_attn.weight": ((d, 3 * d), weight),
                "attn.c_attn.bias": ((3 * d,), zero),
                "attn.c_proj.weight": ((d, d), residual),
                "attn.c_proj.bias": ((d,), zero),
                "ln_2.weight": ((d,), one),
                "ln_2.bias": ((d,), zero),
                "mlp.c_fc.weight": ((d, 4 * d), weight),
                "mlp.c_fc.bias": ((4 * d,), zero),
                "mlp.c_proj.weight": ((4 * d, d), residual),
                "mlp.c_proj.bias": ((d,), zero),
            }
            parameters |= {f"h.{layer}.{name}": part for name, part in parts.items()}
        parameters |= {"ln_f.weight": ((d,), one), "ln_f.bias": ((d,), zero), "head": ((S, d), weight)}
        self.layout = Layout(parameters)
        self.names = self.layout.names
        self.n_parameters = self.layout.size
        self.n_inputs, self.n_outputs = V, S
        self.max_length: int | None = shape.positions
        self.uses_dropout = spec.dropout > 0
        self.shape = shape
        self.spec = spec
        self._apart = device.type == "cpu"
        self._train, self._exact = Gemm(shape.half), Gemm()
        self._workspace = Workspace()

    def init(self, seed: int) -> Tensor:
        return self.layout.init(seed)

    def release(self) -> None:
        self._workspace.clear()

    def step(
        self, params: Tensor, tokens: Tensor, targets: Tensor, grad: Tensor, dropout: DropoutKeys | None = None
    ) -> Tensor:
        flush_denormals(params)
        if not self.uses_dropout:
            dropout = None
        if not self._apart:
            return self._step(params, tokens, targets, grad, dropout)
        out = []
        for e in range(params.shape[0]):
            own = None
            if dropout is not None:
                at = dropout.step if dropout.step.dim() == 0 else dropout.step[e : e + 1]
                own = DropoutKeys(dropout.keys[e : e + 1], at)
            out.append(self._step(params[e : e + 1], _of(tokens, e), _of(targets, e), grad[e : e + 1], own))
        return torch.cat(out)

    def loss_sums(self, params: Tensor, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        flush_denormals(params)
        if not self._apart:
            return self._loss_sums(params, tokens, targets)
        each = [self._loss_sums(params[e : e + 1], _of(tokens, e), _of(targets, e)) for e in range(params.shape[0])]
        return torch.cat([s for s, _ in each]), torch.cat([c for _, c in each])

    def logits(self, params: Tensor, tokens: Tensor) -> Tensor:
        flush_denormals(params)
        members = range(params.shape[0]) if self._apart else [slice(None)]
        return torch.cat([self._logits(_of(params, e), _of(tokens, e)) for e in members])

    def generate(self, params: Tensor, prompt: Tensor, count: int, feed: Tensor) -> Tensor:
        flush_denormals(params)
        members = range(params.shape[0]) if self._apart else [slice(None)]
        return torch.cat([self._generate(_of(params, e), _of(prompt, e), count, feed) for e in members])

    def _step(self, params: Tensor, tokens: Tensor, targets: Tensor, grad: Tensor, dropout: DropoutKeys | None) -> Tensor:
        E, (_, B, T) = params.shape[0], tokens.shape
        views, grads = self.layout.views(params), self.layout.views(grad)
        buffers = self._workspace.group(("step", E, B, T), params)
        gemm = self._train
        drop = Dropout(self.spec.dropout, dropout) if dropout is not None else None
        at = self._batch(params, B, T, buffers, gemm, drop)
        x, one_hot, embedded = self._embed(views, tokens, at)
        kept = []
        for layer in range(self.spec.layers):
            x, k = block.forward(x, self._block(views, layer), at, layer)
            kept.append(k)
        rows, wanted = self._window(targets, E)
        seen = x if rows is None else x.reshape(E * B * T, -1)[rows].view(E, wanted.index.shape[1], -1)
        normed, stats = norm.forward(seen, views["ln_f.weight"], views["ln_f.bias"])
        logits = gemm(normed, views["head"].transpose(1, 2))
        weights = wanted.weights(params.dtype, member=0)
        d_logits = buffers("d_logits", *logits.shape)
        picked = loss.log_probabilities(logits, wanted, 2, d_logits)
        mean = -(picked * weights).sum(1)
        loss.gradient(logits, wanted, weights, 2, d_logits)
        gemm.into(grads["head"], d_logits.transpose(1, 2), normed)
        d_normed = gemm(d_logits, views["head"])
        d = norm.backward(d_normed, seen, stats, views["ln_f.weight"], grads["ln_f.weight"], grads["ln_f.bias"])
        if rows is not None:
            whole = buffers("d_window", E * B * T, self.spec.d).zero_()
            d = whole.index_add_(0, rows, d.flatten(0, 1)).view(E, B * T, -1)
        for layer in range(self.spec.layers - 1, -1, -1):
            d = block.backward(d, kept[layer], self._block(views, layer), self._block(grads, layer), at)
        if embedded is not None:
            d = d * embedded
        gemm.into(grads["wte"], one_hot.transpose(1, 2), d)
        grads["wpe"].zero_()
        grads["wpe"][:, :T].copy_(d.view(E, B, T, -1).sum(1))
        return mean

    def _loss_sums(self, params: Tensor, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        E, views = params.shape[0], self.layout.views(params)
        total = torch.zeros(E, dtype=torch.float64, device=params.device)
        count = torch.zeros(E, dtype=torch.float64, device=params.device)
        for x, y in slices(EVALUATED_AT_ONCE, tokens, targets):
            _, B, T = x.shape
            buffers = self._workspace.group(("evaluate", E, B, T), params)
            at = self._batch(params, B, T, buffers, self._exact, None)
            h, _, _ = self._embed(views, x, at)
            for layer in range(self.spec.layers):
                # One set of buffers for all layers: nothing is kept for a backward pass, and a layer's output is
                # written after its input was read for the last time.
                h, _ = block.forward(h, self._block(views, layer), at, layer % 2)
            rows, wanted = self._window(y, E)
            seen = h if rows is None else h.reshape(E * B * T, -1)[rows].view(E, wanted.index.shape[1], -1)
            normed, _ = norm.forward(seen, views["ln_f.weight"], views["ln_f.bias"])
            logits = torch.bmm(normed, views["head"].transpose(1, 2))
            picked = loss.log_probabilities(logits, wanted, 2, buffers("log_softmax", *logits.shape))
            total -= picked.to(torch.float64).sum(1)
            count += (~wanted.absent).sum(1)
        return total, count

    def _logits(self, params: Tensor, tokens: Tensor) -> Tensor:
        views, blocks = self._forward_views(params)
        tokens = tokens.to(torch.int64).expand(params.shape[0], -1, -1)
        parts = [advance(views, blocks, self.spec.heads, x, []) for (x,) in slices(EVALUATED_AT_ONCE, tokens)]
        return torch.cat(parts, 1)

    def _generate(self, params: Tensor, prompt: Tensor, count: int, feed: Tensor) -> Tensor:
        views, blocks = self._forward_views(params)
        prompt = prompt.to(torch.int64).expand(params.shape[0], -1, -1)
        parts = []
        for (x,) in slices(EVALUATED_AT_ONCE, prompt):
            cache: Cache = []
            made: list[Tensor] = []
            following = x
            for _ in range(count):
                made.append(advance(views, blocks, self.spec.heads, following, cache)[:, :, -1].argmax(-1))
                following = feed[made[-1]].unsqueeze(-1)
            parts.append(torch.stack(made, -1))
        return torch.cat(parts, 1)

    def _forward_views(self, params: Tensor) -> tuple[Views, list[Views]]:
        views = self.layout.views(params)
        return views, [self._block(views, layer) for layer in range(self.spec.layers)]

    def _batch(self, params: Tensor, B: int, T: int, buffers: Buffers, gemm: Gemm, dropout: Dropout | None) -> block.Batch:
        return block.Batch(B, T, self.spec.heads, attention.causal_mask(T, params), buffers, gemm, dropout)

    def _block(self, views: Views, layer: int) -> Views:
        prefix = f"h.{layer}."
        return {name.removeprefix(prefix): v for name, v in views.items() if name.startswith(prefix)}

    def _embed(self, views: Views, tokens: Tensor, at: block.Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """(x [E, N, d], the tokens one-hot [E, N, V], the dropout mask)."""
        wte, wpe = views["wte"], views["wpe"]
        E, V, d = wte.shape
        N = at.B * at.T
        one_hot = at.buffers("one_hot", E, N, V)
        one_hot.copy_(tokens.reshape(-1, N, 1) == torch.arange(V, device=tokens.device))
        x = at.buffers("x", E, at.B, at.T, d).copy_(wpe[:, None, : at.T]).view(E, N, d)
        at.gemm.add_(x, one_hot, wte)
        mask = None if at.dropout is None else at.dropout.mask(0, N, d, dtype=x.dtype)
        return (x if mask is None else x.mul_(mask)), one_hot, mask

    def _window(self, targets: Tensor, E: int) -> tuple[Tensor | None, loss.Wanted]:
        """Which rows of [E B T] the head reads (None: all), and the targets there, [E, rows]."""
        Et, B, T = targets.shape
        W = self.shape.window(T)
        targets = targets.to(torch.int64)
        if W == T:
            return None, loss.Wanted.of(targets.reshape(Et, B * T).expand(E, -1))
        at = torch.arange(T, device=targets.device)
        last = ((targets >= 0) * at).amax(-1, keepdim=True)
        place = (last + at[:W] - (W - 1)).clamp_min_(0)
        wanted = targets.gather(-1, place)
        if not self.shape.one_length:
            # A short sequence has fewer than W positions: those that were clamped are repetitions of the first.
            wanted = wanted.masked_fill(last + at[:W] < W - 1, -1)
        start = torch.arange(E, device=targets.device).view(E, 1, 1) * (B * T)
        rows = start + torch.arange(B, device=targets.device).view(B, 1) * T + place
        return rows.flatten(), loss.Wanted.of(wanted.reshape(Et, -1).expand(E, -1))


def _of(x: Tensor, e: int | slice) -> Tensor:
    """Member e's part, with its axis kept; all of it where the members share it."""
    if x.shape[0] == 1 or isinstance(e, slice):
        return x
    return x[e : e + 1]
