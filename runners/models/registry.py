"""From a job's spec to its model."""

from __future__ import annotations

import torch

from runners.models import gated, linear_state
from runners.models.autograd import AutogradModel, Definition
from runners.models.contract import StackedModel
from runners.models.decoder import decoder
from runners.models.deltanet import deltanet
from runners.models.dense_ssm import DenseSSMModel
from runners.models.lstm import LSTMModel
from runners.models.mamba import mamba
from runners.models.shape import Shape
from runners.models.transformer import TransformerModel
from runners.spec import (
    GRU,
    LSTM,
    PDSSM,
    RNN,
    SLSTM,
    DeltaNet,
    DenseSSM,
    Diagonal,
    Job,
    Mamba,
    PluginModel,
    SpecError,
    Transformer,
)
from runners.spec.plugins import MODELS, find

REQUIRED = ("n_parameters", "names", "init", "step", "loss_sums", "logits", "generate", "release")


def build(job: Job, device: str | torch.device, *, n_inputs: int, n_outputs: int) -> StackedModel:
    """Build the model of a job.

    Args:
        job: gives model, format, lengths and precision.
        device: where parameters and tokens will be.
        n_inputs: input ids, of ``runners.tasks.Vocabulary``.
        n_outputs: states, the size of the head.

    Raises:
        SpecError: a plugin model is not installed, fails, or lacks a part of :class:`StackedModel`.
    """
    shape = Shape(
        n_inputs=n_inputs,
        n_outputs=n_outputs,
        format=job.format,
        one_length=job.lengths.distribution == "fixed",
        positions=2 * job.longest_input + (job.format == "icot"),
        half=job.training.precision == "bf16",
    )
    where = torch.device(device)
    match job.model:
        case DenseSSM() as spec if spec.plain:
            return DenseSSMModel(spec, shape)
        case LSTM() as spec:
            return LSTMModel(spec, shape)
        case Transformer() as spec if not spec.variant:
            return TransformerModel(spec, shape, where)
        case PluginModel() as plugin:
            return _plugin(plugin.name, dict(plugin.params), shape, where)
        case other:
            return AutogradModel(_definition(other, shape), shape, where)


def _definition(model: object, shape: Shape) -> Definition:
    """The models that are written as one forward function."""
    match model:
        case DenseSSM() as spec:
            return linear_state.structured(spec, shape)
        case Diagonal() as spec:
            return linear_state.diagonal(spec, shape)
        case PDSSM(hidden=hidden):
            return linear_state.pd_ssm(shape, hidden)
        case RNN(hidden=hidden):
            return gated.rnn(shape, hidden)
        case GRU(hidden=hidden):
            return gated.gru(shape, hidden)
        case SLSTM(hidden=hidden):
            return gated.slstm(shape, hidden)
        case DeltaNet() as spec:
            return deltanet(spec, shape)
        case Mamba() as spec:
            return mamba(spec, shape)
        case Transformer() as spec:
            return decoder(spec, shape)
        case _:
            raise TypeError(f"{type(model).__name__} is no model that can be built")


def _plugin(name: str, params: dict[str, object], shape: Shape, device: torch.device) -> StackedModel:
    factory = find(MODELS, name).load()
    try:
        model: StackedModel = factory(shape, device, **params)
    except Exception as error:
        raise SpecError(f"the model plugin {name!r} failed: {type(error).__name__}: {error}") from error
    missing = [part for part in REQUIRED if not hasattr(model, part)]
    if missing:
        raise SpecError(
            f"the model plugin {name!r} returned {type(model).__name__} without {', '.join(missing)}"
        )
    return model
