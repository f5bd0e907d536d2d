"""Specs: what a task, a model, a job and a study are, read from TOML, with a content hash.

No torch, no SQL.
"""

from runners.spec.advice import advice
from runners.spec.change import differences, to_toml, with_keys
from runners.spec.errors import SpecError
from runners.spec.job import Distribution, Format, Grid, Job, Lengths, Search, Training
from runners.spec.load import NamedJob, load, parse, parse_data
from runners.spec.model import (
    GRU,
    LSTM,
    PDSSM,
    RNN,
    SLSTM,
    DeltaNet,
    DenseSSM,
    Diagonal,
    Mamba,
    Model,
    PluginModel,
    Transformer,
)
from runners.spec.space import LengthShare, shares
from runners.spec.study import Cell, Part, Study, Sweep, searches_of_part
from runners.spec.task import (
    Automaton,
    Dihedral,
    ModularAddition,
    PermutationComposition,
    PluginTask,
    Product,
    Task,
)
from runners.spec.version import SCIENCE_VERSION

__all__ = [
    "GRU",
    "LSTM",
    "PDSSM",
    "RNN",
    "SCIENCE_VERSION",
    "SLSTM",
    "Automaton",
    "Cell",
    "DeltaNet",
    "DenseSSM",
    "Diagonal",
    "Dihedral",
    "Distribution",
    "Format",
    "Grid",
    "Job",
    "LengthShare",
    "Lengths",
    "Mamba",
    "Model",
    "ModularAddition",
    "NamedJob",
    "Part",
    "PermutationComposition",
    "PluginModel",
    "PluginTask",
    "Product",
    "Search",
    "SpecError",
    "Study",
    "Sweep",
    "Task",
    "Training",
    "Transformer",
    "advice",
    "differences",
    "load",
    "parse",
    "parse_data",
    "searches_of_part",
    "shares",
    "to_toml",
    "with_keys",
]
