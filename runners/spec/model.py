"""The models as data (docs/science.md, Models): sizes, initial scales, dropout.

Every field changes the number and is hashed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue, model_validator

from runners.spec.base import Spec
from runners.spec.program import Program

Width = Annotated[int, Field(ge=1, le=16_384)]
Scale = Annotated[float, Field(gt=0, le=100)]


LONGEST_LABEL = 60
"""Characters of a plugin's label; a longer one is cut and told apart by a mark made of the whole."""
Range = Literal["[0,1]", "[-1,1]"]
Head = Literal["states", "tokens"]


class Transformer(Spec):
    """GPT-2 style decoder: pre-LN, GELU, MLP of four times the width; learned positions unless said
    otherwise.
    """

    EQUATION: ClassVar[str] = "x + attention(norm x), x + MLP(norm x), causal"
    SOURCE: ClassVar[str] = "Radford et al. 2019; Su et al. 2021; Press et al. 2022"
    LATER: ClassVar[tuple[str, ...]] = ("position", "loops", "head")

    kind: Literal["transformer"] = "transformer"
    layers: Annotated[int, Field(ge=1, le=96)] = 6
    """Blocks of attention and MLP."""
    d: Width = 256
    """Width of the residual stream."""
    heads: Annotated[int, Field(ge=1, le=128)] = 8
    """Attention heads; a divisor of ``d``."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """After the embedding, on attention weights and on each residual branch, as in GPT-2."""
    init_std: Scale = 0.02
    """Standard deviation of the initial weights; projections into the residual stream have it over
    sqrt(2 layers).
    """
    position: Literal["learned", "rope", "nope", "alibi", "sinusoidal"] = "learned"
    """How positions enter: a learned table, turned queries and keys, scores lowered by distance, a fixed
    table, or (``nope``) nothing but the causal mask.
    """
    loops: Annotated[int, Field(ge=1, le=64)] = 1
    """How often the stack of blocks is applied, with the same weights."""
    head: Head = "states"
    """The classes that it chooses from: the states, or every input id (tokens, separator, states), as in a
    language model."""

    @model_validator(mode="after")
    def _check(self) -> Transformer:
        if self.d % self.heads:
            raise ValueError(f"heads is {self.heads}; expected a divisor of d = {self.d}")
        if self.position == "rope" and self.d // self.heads % 2:
            raise ValueError(
                f"d / heads is {self.d // self.heads}; expected an even number for position 'rope'"
            )
        if self.dropout and self.variant:
            raise ValueError(
                f"dropout is {self.dropout:g}; expected 0 with position '{self.position}' and loops "
                f"{self.loops}: only the plain transformer has dropout"
            )
        return self

    @property
    def variant(self) -> bool:
        """Positions or loops are not GPT-2's."""
        return self.position != "learned" or self.loops > 1

    @property
    def label(self) -> str:
        position = "" if self.position == "learned" else f" {self.position}"
        loops = "" if self.loops == 1 else f" loops {self.loops}"
        return f"transformer {self.layers}x{self.d}{position}{loops}{_headed(self.head)}"


class LSTM(Spec):
    """One LSTM layer with input size = hidden size and a linear head."""

    EQUATION: ClassVar[str] = "c' = sig(f) c + sig(i) tanh(g), h = sig(o) tanh(c')"
    SOURCE: ClassVar[str] = "Hochreiter, Schmidhuber 1997"
    LATER: ClassVar[tuple[str, ...]] = ("head",)

    kind: Literal["lstm"] = "lstm"
    hidden: Width = 768
    """Width of the state and of the embedding."""
    init_std: Scale | None = None
    """None: uniform in +-1/sqrt(hidden), torch's default; else normal with this standard deviation."""
    head: Head = "states"
    """As of a transformer: the states, or every input id."""

    @property
    def label(self) -> str:
        return f"lstm {self.hidden}{_headed(self.head)}"


class DenseSSM(Spec):
    """Bilinear RNN: h_t = A(x_t) h_{t-1} [+ B x_t], A linear in the token's embedding, linear head,
    h_0 learned.
    """

    EQUATION: ClassVar[str] = "h' = A(x) h [+ B x], A linear in the embedding"
    SOURCE: ClassVar[str] = "Ebrahimi, Memisevic 2025, arXiv:2505.21749"
    LATER: ClassVar[tuple[str, ...]] = ("structure", "block", "rank", "additive", "init", "head")

    kind: Literal["dense_ssm"] = "dense_ssm"
    hidden: Width = 256
    """Width of the state."""
    d: Width | None = None
    """Width of the embedding; None: the same as ``hidden``."""
    init_scale: Scale = 1.0
    """The entries of each initial A(x) have variance init_scale^2 / hidden."""
    structure: Literal["full", "block", "rotation", "diagonal", "factored"] = "full"
    """The form of A(x): any matrix, blocks of ``block`` x ``block``, turns of planes, a diagonal, or
    U diag(W x) V^T of rank ``rank``.
    """
    block: Annotated[int, Field(ge=1, le=256)] = 2
    """``block``: the size of a block; a divisor of ``hidden``."""
    rank: Width | None = None
    """``factored``: the rank; None: ``hidden``."""
    additive: bool = False
    """Add a term B x_t, which the paper leaves out."""
    init: Literal["scaled", "near_identity"] = "scaled"
    """``near_identity``: A(x) = I + 0.1 of what ``scaled`` starts from, the identity staying a constant."""
    head: Head = "states"
    """As of a transformer: the states, or every input id."""

    @model_validator(mode="after")
    def _check(self) -> DenseSSM:
        if self.structure == "block" and self.hidden % self.block:
            raise ValueError(f"block is {self.block}; expected a divisor of hidden = {self.hidden}")
        if self.structure == "rotation" and self.hidden % 2:
            raise ValueError(f"hidden is {self.hidden}; expected an even number for structure 'rotation'")
        if self.structure != "factored" and self.rank is not None:
            raise ValueError("rank is set; expected it with structure 'factored' alone")
        return self

    @property
    def plain(self) -> bool:
        """The paper's form."""
        return self.structure == "full" and not self.additive and self.init == "scaled"

    @property
    def embedding(self) -> int:
        return self.d if self.d is not None else self.hidden

    @property
    def label(self) -> str:
        parts = {
            "full": "",
            "block": f" block {self.block}",
            "factored": f" rank {self.rank or self.hidden}",
        }
        more = parts.get(self.structure, f" {self.structure}")
        more += " + Bx" if self.additive else ""
        more += " near I" if self.init == "near_identity" else ""
        return f"dense_ssm {self.hidden}{more}{_headed(self.head)}"


class RNN(Spec):
    """One tanh RNN layer with input size = hidden size and a linear head, as torch.nn.RNN."""

    EQUATION: ClassVar[str] = "h' = tanh(W x + U h + b)"
    SOURCE: ClassVar[str] = "Elman 1990"

    kind: Literal["rnn"] = "rnn"
    hidden: Width = 256
    """Width of the state and of the embedding."""

    @property
    def label(self) -> str:
        return f"rnn {self.hidden}"


class GRU(Spec):
    """One GRU layer with input size = hidden size and a linear head, as torch.nn.GRU."""

    EQUATION: ClassVar[str] = "h' = (1 - z) tanh(W x + r (U h)) + z h"
    SOURCE: ClassVar[str] = "Cho et al. 2014"

    kind: Literal["gru"] = "gru"
    hidden: Width = 256
    """Width of the state and of the embedding."""

    @property
    def label(self) -> str:
        return f"gru {self.hidden}"


class SLSTM(Spec):
    """One sLSTM layer of one head (exponential input gate, normaliser) with a linear head."""

    EQUATION: ClassVar[str] = "c' = sig(f) c + exp(i) tanh(z), n' = sig(f) n + exp(i), h = sig(o) c'/n'"
    SOURCE: ClassVar[str] = "Beck et al. 2024"

    kind: Literal["slstm"] = "slstm"
    hidden: Width = 256
    """Width of the state and of the embedding."""

    @property
    def label(self) -> str:
        return f"slstm {self.hidden}"


class Diagonal(Spec):
    """Diagonal linear recurrence: h_t = a(x_t) h_{t-1} [+ B x_t], elementwise, linear head."""

    EQUATION: ClassVar[str] = "h' = a(x) h [+ B x], elementwise"
    SOURCE: ClassVar[str] = "Grazzi et al. 2025, arXiv:2411.12537"

    kind: Literal["diagonal"] = "diagonal"
    hidden: Width = 256
    """Channels of the state, complex ones where ``range`` is."""
    d: Width | None = None
    """Width of the embedding; None: the same as ``hidden``."""
    range: Literal["[0,1]", "[-1,1]", "complex"] = "[-1,1]"
    """Where a lies: sig(u), 2 sig(u) - 1, or sig(u) e^(i theta)."""
    additive: bool = False
    """Add a term B x_t; h_0 is 0 then, else learned."""

    @property
    def embedding(self) -> int:
        return self.d if self.d is not None else self.hidden

    @property
    def label(self) -> str:
        return f"diagonal {self.hidden} {self.range}{' + Bx' if self.additive else ''}"


class DeltaNet(Spec):
    """Linear attention with the delta rule: n_h Householder-like steps per token, in blocks with an MLP."""

    EQUATION: ClassVar[str] = "S' = (I - beta k k^T) S + beta k v^T, n_h times, o = S^T q"
    SOURCE: ClassVar[str] = "Yang et al. 2024; Siems et al. 2025"

    kind: Literal["deltanet"] = "deltanet"
    layers: Annotated[int, Field(ge=1, le=96)] = 1
    """Blocks of delta rule and MLP."""
    d: Width = 64
    """Width of the residual stream."""
    heads: Annotated[int, Field(ge=1, le=128)] = 1
    """Heads of the state; a divisor of ``d``."""
    householders: Annotated[int, Field(ge=1, le=8)] = 1
    """n_h, rank-one steps per token: 1 is DeltaNet, more the delta product."""
    range: Range = "[-1,1]"
    """Eigenvalues of a step along its key: beta = sig in ``[0,1]``, 2 sig in ``[-1,1]``."""
    gate: bool = False
    """Forget by exp(g) before a token's steps (gated DeltaNet)."""
    convolution: bool = False
    """A causal convolution of width 4 on queries, keys and values."""

    @model_validator(mode="after")
    def _check(self) -> DeltaNet:
        if self.d % self.heads:
            raise ValueError(f"heads is {self.heads}; expected a divisor of d = {self.d}")
        return self

    @property
    def label(self) -> str:
        name = "deltanet" if self.householders == 1 else f"deltaproduct {self.householders}"
        more = f"{' gated' if self.gate else ''}{' conv' if self.convolution else ''}"
        return f"{name} {self.layers}x{self.d} {self.range}{more}"


class Mamba(Spec):
    """Selective state space model (S6) with its short convolution and gate, in residual blocks."""

    EQUATION: ClassVar[str] = "h' = exp(dt A) h + dt B u, y = C h + D u"
    SOURCE: ClassVar[str] = "Gu, Dao 2023"

    kind: Literal["mamba"] = "mamba"
    layers: Annotated[int, Field(ge=1, le=96)] = 1
    """Blocks."""
    d: Width = 64
    """Width of the residual stream."""
    states: Annotated[int, Field(ge=1, le=256)] = 16
    """N, numbers of state for each inner channel."""
    expand: Annotated[int, Field(ge=1, le=8)] = 2
    """Inner channels over ``d``."""
    range: Range = "[0,1]"
    """Where the transition lies: exp(dt A), or 2 exp(dt A) - 1."""
    init_std: Scale = 0.02
    """Standard deviation of the initial embedding."""

    @property
    def label(self) -> str:
        return f"mamba {self.layers}x{self.d} {self.range}"


class PDSSM(Spec):
    """Soft PD state space model: per token A = rowsoftmax(P) diag(tanh d), h_t = A h_{t-1}, linear head."""

    EQUATION: ClassVar[str] = "h' = rowsoftmax(P_x) diag(tanh d_x) h"
    SOURCE: ClassVar[str] = "soft permutation times diagonal"

    kind: Literal["pd_ssm"] = "pd_ssm"
    hidden: Width = 32
    """Width of the state."""

    @property
    def label(self) -> str:
        return f"pd_ssm {self.hidden}"


class PluginModel(Spec):
    """A model from another package's entry point in the group ``labtui.models``."""

    kind: Literal["plugin"] = "plugin"
    name: Annotated[str, Field(min_length=1, max_length=80)]
    """The entry point's name."""
    version: Annotated[str, Field(min_length=1, max_length=40)]
    """The plugin author's own science version: raise it when the model would give another number."""
    params: dict[str, JsonValue] = {}
    """Handed to the plugin; part of the hash."""

    @property
    def label(self) -> str:
        """Its name and params, so that two settings of one plugin never read alike: ``gru hidden=16``."""
        words = [self.name, *(f"{key}={_param(value)}" for key, value in sorted(self.params.items()))]
        text = " ".join(words)
        if len(text) <= LONGEST_LABEL:
            return text
        mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
        return f"{text[: LONGEST_LABEL - 8]}..{mark}"


def _headed(head: Head) -> str:
    return "" if head == "states" else " head tokens"


def _param(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


Model = Annotated[
    Transformer
    | LSTM
    | DenseSSM
    | RNN
    | GRU
    | SLSTM
    | Diagonal
    | DeltaNet
    | Mamba
    | PDSSM
    | PluginModel
    | Program,
    Field(discriminator="kind"),
]

KINDS: tuple[type[Spec], ...] = (
    Transformer,
    LSTM,
    DenseSSM,
    RNN,
    GRU,
    SLSTM,
    Diagonal,
    DeltaNet,
    Mamba,
    PDSSM,
)
"""The models that come with labtui; each has ``EQUATION`` (of one step) and ``SOURCE``."""
