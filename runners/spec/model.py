"""The models as data (docs/science.md, Models): sizes, initial scales, dropout.

Every field changes the number and is hashed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from runners.spec.base import Spec

Width = Annotated[int, Field(ge=1, le=16_384)]
Scale = Annotated[float, Field(gt=0, le=100)]


class Transformer(Spec):
    """GPT-2 style decoder: learned positions, pre-LN, GELU, MLP of four times the width."""

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

    @model_validator(mode="after")
    def _check(self) -> Transformer:
        if self.d % self.heads:
            raise ValueError(f"heads is {self.heads}; expected a divisor of d = {self.d}")
        return self

    @property
    def label(self) -> str:
        return f"transformer {self.layers}x{self.d}"


class LSTM(Spec):
    """One LSTM layer with input size = hidden size and a linear head."""

    kind: Literal["lstm"] = "lstm"
    hidden: Width = 768
    """Width of the state and of the embedding."""
    init_std: Scale | None = None
    """None: uniform in +-1/sqrt(hidden), torch's default; else normal with this standard deviation."""

    @property
    def label(self) -> str:
        return f"lstm {self.hidden}"


class DenseSSM(Spec):
    """Bilinear RNN: h_t = A(x_t) h_{t-1}, A linear in the token's embedding, no additive term, linear head,
    h_0 learned.
    """

    kind: Literal["dense_ssm"] = "dense_ssm"
    hidden: Width = 256
    """Width of the state."""
    d: Width | None = None
    """Width of the embedding; None: the same as ``hidden``."""
    init_scale: Scale = 1.0
    """The entries of each initial A(x) have variance init_scale^2 / hidden."""

    @property
    def embedding(self) -> int:
        return self.d if self.d is not None else self.hidden

    @property
    def label(self) -> str:
        return f"dense_ssm {self.hidden}"


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
        return self.name


Model = Annotated[Transformer | LSTM | DenseSSM | PluginModel, Field(discriminator="kind")]
