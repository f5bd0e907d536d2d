"""A GPT-2 style decoder (Radford et al.

2019): learned positions, pre-LN blocks, GELU by its tanh approximation, a final layer norm and a linear head
to the states, without bias and with weights of its own (the states are no input tokens in general).

On the CPU members run one after another: their products of matrices are large enough to keep a core busy,
and one member's activations stay in its cache. On a GPU all members run at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from runners.kernels.codes import LONGEST_EVALUATION, LONGEST_STEP
from runners.models import block, loss, norm
from runners.models.batch import Window, slices
from runners.models.batch import window as window_of
from runners.models.contract import DropoutKeys
from runners.models.decode import Cache, advance
from runners.models.dropout import Dropout
from runners.models.layout import Initial, Layout, constant, gaussian, part
from runners.models.matmul import Matmul, flush_denormals
from runners.models.native import Call
from runners.models.shape import Shape
from runners.models.stacks import attention_stack, stack_call
from runners.models.workspace import Workspace
from runners.spec import Transformer

EVALUATED_AT_ONCE = 128
"""Sequences of one slice of an evaluation."""

Views = dict[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """Views of parameters, or of their gradients."""

    members: int
    whole: Views
    """Every parameter by name, [members, *shape]."""
    blocks: tuple[Views, ...]
    """Those of each block, without its prefix."""

    @classmethod
    def of(cls, views: Views, layers: int) -> Weights:
        blocks = (part(views, f"h.{layer}.") for layer in range(layers))
        return cls(views["head"].shape[0], views, tuple(blocks))


class TransformerModel:
    """Parameters have GPT-2's names and shapes (weights [in, out]); ``head`` is [n_outputs, d].

    Weights, token and position embeddings start from N(0, init_std^2), the projections into the residual
    stream from that over 2 x layers, biases at 0."""

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
        self.sequential_on_cpu = device.type == "cpu"
        self._stack = attention_stack(
            "transformer", d, spec.heads, spec.layers, 0, None, learned=shape.positions
        )
        self._train, self._exact = Matmul(shape.half), Matmul()
        self._workspace = Workspace()
        self._known = WeakTensorKeyDictionary()

    def init(self, seed: int) -> Tensor:
        return self.layout.init(seed)

    def release(self) -> None:
        self._workspace.clear()

    def step(
        self,
        params: Tensor,
        tokens: Tensor,
        targets: Tensor,
        grad: Tensor,
        dropout: DropoutKeys | None = None,
    ) -> Tensor:
        flush_denormals(params)
        dropped = dropout is not None and self.uses_dropout
        call = None if dropped else self._call(params, tokens.shape, LONGEST_STEP)
        if call is not None:
            return call.train(params, tokens, targets, grad)
        self.layout.finish(grad)
        out = []
        for e, (w, g) in enumerate(zip(self._parts(params), self._parts(grad), strict=True)):
            own = dropout if self.uses_dropout else None
            if own is not None and self.sequential_on_cpu:
                own = DropoutKeys(
                    own.keys[e : e + 1], own.step if own.step.dim() == 0 else own.step[e : e + 1]
                )
            out.append(self._step(w, self._of(tokens, e), self._of(targets, e), g, own))
        return out[0] if len(out) == 1 else torch.cat(out)

    def loss_sums(self, params: Tensor, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        flush_denormals(params)
        call = self._call(params, tokens.shape, LONGEST_EVALUATION)
        if call is not None:
            total = torch.zeros(params.shape[0], dtype=torch.float64)
            count = torch.zeros_like(total)
            call.evaluate(params, tokens, targets, total, count)
            return total, count
        each = [
            self._loss_sums(w, self._of(tokens, e), self._of(targets, e))
            for e, w in enumerate(self._parts(params))
        ]
        return torch.cat([s for s, _ in each]), torch.cat([c for _, c in each])

    def logits(self, params: Tensor, tokens: Tensor) -> Tensor:
        flush_denormals(params)
        return torch.cat([self._logits(w, self._of(tokens, e)) for e, w in enumerate(self._parts(params))])

    def generate(self, params: Tensor, prompt: Tensor, count: int, feed: Tensor) -> Tensor:
        flush_denormals(params)
        return torch.cat(
            [self._generate(w, self._of(prompt, e), count, feed) for e, w in enumerate(self._parts(params))]
        )

    def _call(self, params: Tensor, shape: Sequence[int], longest: float) -> Call | None:
        """The kernel for batches [Et, B, T] of this shape with its work space; None: torch has to do, block
        by block, as where a member takes more than ``longest`` operations.
        """
        return stack_call(self._stack, self.shape, params, shape, self._workspace, longest)

    def _parts(self, buffer: Tensor) -> tuple[Weights, ...]:
        """The views of a buffer [E, P]: one per member where they run one after another, else one of all."""
        known: tuple[Weights, ...] | None = self._known.get(buffer, None)
        if known is None:
            rows = torch.split(buffer, 1) if self.sequential_on_cpu else (buffer,)
            known = tuple(Weights.of(self.layout.views(row), self.spec.layers) for row in rows)
            # A training run hands in the same two buffers at every step,
            # and views cost as much as a small product.
            self._known[buffer] = known
        return known

    def _of(self, x: Tensor, e: int) -> Tensor:
        """Part e of a batch [E or 1, B, T]; all of it where members share it or run at once."""
        return x[e : e + 1] if self.sequential_on_cpu and x.shape[0] > 1 else x

    def _step(
        self, w: Weights, tokens: Tensor, targets: Tensor, g: Weights, dropout: DropoutKeys | None
    ) -> Tensor:
        views, grads = w.whole, g.whole
        E, (_, B, T) = w.members, tokens.shape
        buffers = self._workspace.group(("step", E, B, T), views["head"])
        matmul = self._train
        drop = Dropout(self.spec.dropout, dropout) if dropout is not None else None
        at = block.Batch(B, T, self.spec.heads, buffers, matmul, drop)
        window, wanted = window_of(self.shape, targets, E)
        x, one_hot, embedded = self._embed(views, tokens, at)
        kept = []
        for layer in range(self.spec.layers):
            x, k = block.forward(x, w.blocks[layer], at, layer, self._last(window, layer))
            kept.append(k)
        normed, stats = norm.forward(x, views["ln_f.weight"], views["ln_f.bias"])
        logits = matmul(normed, views["head"].transpose(1, 2))
        weights = wanted.weights(logits.dtype, member=0)
        d_logits = buffers("d_logits", *logits.shape)
        picked = loss.log_probabilities(logits, wanted, 2, d_logits)
        mean = -(picked * weights).sum(1)
        loss.gradient(logits, wanted, weights, 2, d_logits)
        matmul.into(grads["head"], d_logits.transpose(1, 2), normed)
        d_normed = matmul(d_logits, views["head"])
        d = norm.backward(d_normed, x, stats, views["ln_f.weight"], grads["ln_f.weight"], grads["ln_f.bias"])
        for layer in range(self.spec.layers - 1, -1, -1):
            d = block.backward(d, kept[layer], w.blocks[layer], g.blocks[layer], at)
        if embedded is not None:
            d = d * embedded
        matmul.into(grads["wte"], one_hot.transpose(1, 2), d)
        grads["wpe"].zero_()
        grads["wpe"][:, :T].copy_(d.view(E, B, T, -1).sum(1))
        return mean

    def _loss_sums(self, w: Weights, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        E, views = w.members, w.whole
        total = torch.zeros(E, dtype=torch.float64, device=tokens.device)
        count = torch.zeros_like(total)
        for x, y in slices(EVALUATED_AT_ONCE, tokens, targets):
            _, B, T = x.shape
            buffers = self._workspace.group(("evaluate", E, B, T), views["head"])
            at = block.Batch(B, T, self.spec.heads, buffers, self._exact, None)
            window, wanted = window_of(self.shape, y, E)
            h, _, _ = self._embed(views, x, at)
            for layer in range(self.spec.layers):
                # One set of buffers for all layers: nothing is kept for a backward pass,
                # and a layer's output is written after its input was read for the last time.
                h, _ = block.forward(h, w.blocks[layer], at, layer % 2, self._last(window, layer))
            normed, _ = norm.forward(h, views["ln_f.weight"], views["ln_f.bias"])
            logits = torch.bmm(normed, views["head"].transpose(1, 2))
            picked = loss.log_probabilities(logits, wanted, 2, buffers("log_softmax", *logits.shape))
            total -= picked.to(torch.float64).sum(1)
            count += (~wanted.absent).sum(1)
        return total, count

    def _logits(self, w: Weights, tokens: Tensor) -> Tensor:
        tokens = tokens.to(torch.int64).expand(w.members, -1, -1)
        parts = [
            advance(w.whole, w.blocks, self.spec.heads, x, []) for (x,) in slices(EVALUATED_AT_ONCE, tokens)
        ]
        return torch.cat(parts, 1)

    def _generate(self, w: Weights, prompt: Tensor, count: int, feed: Tensor) -> Tensor:
        prompt = prompt.to(torch.int64).expand(w.members, -1, -1)
        parts = []
        for (x,) in slices(EVALUATED_AT_ONCE, prompt):
            cache: Cache = []
            made: list[Tensor] = []
            following = x
            for _ in range(count):
                made.append(
                    advance(w.whole, w.blocks, self.spec.heads, following, cache)[:, :, -1].argmax(-1)
                )
                following = feed[made[-1]].unsqueeze(-1)
            parts.append(torch.stack(made, -1))
        return torch.cat(parts, 1)

    def _last(self, window: Window | None, layer: int) -> Window | None:
        """What a layer has to put out: only the last one may leave positions out."""
        return window if layer == self.spec.layers - 1 else None

    def _embed(self, views: Views, tokens: Tensor, at: block.Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """(x [E, N, d], the tokens one-hot [E, N, V], the dropout mask)."""
        wte, wpe = views["wte"], views["wpe"]
        E, V, d = wte.shape
        N = at.B * at.T
        one_hot = at.buffers("one_hot", E, N, V)
        one_hot.copy_(tokens.reshape(-1, N, 1) == torch.arange(V, device=tokens.device))
        x = at.buffers("x", E, at.B, at.T, d).copy_(wpe[:, None, : at.T]).view(E, N, d)
        at.matmul.add_(x, one_hot, wte)
        mask = None if at.dropout is None else at.dropout.mask(0, N, d, dtype=x.dtype)
        return (x if mask is None else x.mul_(mask)), one_hot, mask
