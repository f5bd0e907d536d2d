"""What Ebrahimi et al.

(2026) report, to lay beside measured cells. Never stored, never plotted as if it were measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AUTHORS = "M. Reza Ebrahimi, M. Defferrard, S. Panchal, R. Memisevic"
SOURCE = f'{AUTHORS}, On the "Induction Bias" in Sequence Models, arXiv:2602.18333 (2026)'

Quantity = Literal["kappa", "nstar", "generalisation", "trend"]
Relation = Literal["is", "about", "at_most_about", "much_more", "falls"]


@dataclass(frozen=True)
class Published:
    """One statement of the paper."""

    quantity: Quantity
    """kappa; nstar: N*_joint; generalisation: accuracy at 2L, chance = 0; trend: of N*_joint with L."""
    models: tuple[str, ...]
    formats: tuple[str, ...]
    relation: Relation
    value: float
    text: str
    m: int | None = None
    """None: for all of the paper's m."""
    L: int | None = None
    source: str = SOURCE


RECURRENT = ("lstm", "dense_ssm")

PUBLISHED: tuple[Published, ...] = (
    Published("kappa", ("transformer",), ("cot",), "is", 0.28, "kappa = 0.28"),
    Published("kappa", ("transformer",), ("outcome", "acot"), "at_most_about", 1.0, "kappa about 1 or below"),
    Published("kappa", RECURRENT, ("outcome", "acot"), "much_more", 1.0, "kappa >> 1"),
    Published("kappa", RECURRENT, ("cot",), "about", 1.0, "kappa about 1"),
    Published("nstar", ("transformer",), ("cot",), "is", 1_700, "N* about 1.7k at m = 5, L = 20", m=5, L=20),
    Published(
        "nstar", ("transformer",), ("acot",), "is", 2_000_000, "N* about 2M at m = 5, L = 20", m=5, L=20
    ),
    Published("trend", ("dense_ssm",), ("acot",), "falls", 0.0, "N* falls as L grows"),
    Published("generalisation", RECURRENT, ("acot",), "is", 1.0, "accuracy at 2L about 1.00"),
    Published(
        "generalisation", ("transformer",), ("outcome", "cot", "acot"), "is", 0.0, "accuracy at 2L about 0"
    ),
)


@dataclass(frozen=True)
class PaperSettings:
    """The paper's own numbers (docs/science.md, Models, N* and the search)."""

    moduli: tuple[int, ...] = (2, 3, 5, 10, 15, 20, 50, 75, 100)
    lengths: tuple[int, ...] = (5, 10, 20, 30)
    min_length: int = 2
    transformer_layers: tuple[int, ...] = (6, 2)
    transformer_d: int = 256
    lstm_hidden: tuple[int, ...] = (768, 256)
    dense_ssm_hidden: int = 256
    learning_rates: tuple[float, ...] = (1e-3, 1e-4, 1e-5)
    seeds: int = 5
    batch_size: int = 64
    steps: int = 250_000
    eval_every: int = 500
    validation_size: int = 2_000
    eps: float = 1e-4
    n_max: int = 16_000_000


PAPER = PaperSettings()
