"""What Ebrahimi et al.

(2026) state, to lay beside measured cells. Never stored, never plotted as if it were measured.
"""

from __future__ import annotations

from dataclasses import dataclass

AUTHORS = "M. Reza Ebrahimi, M. Defferrard, S. Panchal, R. Memisevic"
SOURCE = f'{AUTHORS}, On the "Induction Bias" in Sequence Models, arXiv:2602.18333 (2026)'

TRANSFORMER = "transformer"
RECURRENT = ("lstm", "dense_ssm")
FORMATS = ("outcome", "cot", "acot")


@dataclass(frozen=True)
class Statement:
    """One observation of the paper, and what decides it (docs/science.md, The paper's statements)."""

    number: str
    text: str
    """In a line; R: the LSTM and the dense SSM, T: the transformer, <: of N*."""
    rule: str
    """What has to be measured."""
    parts: tuple[str, ...]
    """What it consists of: each needs a comparison of its own."""
    told: str = ""
    """Numbers that the paper tells, where it does."""


def _recurrent(*words: str) -> tuple[str, ...]:
    return tuple(f"{model}: {word}" for word in words for model in RECURRENT)


PAIR = "two N* whose 90 % intervals do not touch"
SLOPE = "the 90 % interval of the exponent of L, from three lengths or more"

STATEMENTS: tuple[Statement, ...] = (
    Statement("3.1", "T: cot < acot", PAIR, ("transformer: cot < acot",), "m = 5, L = 20: about 1.7k and 2M"),
    Statement("3.2", "R: acot < cot", PAIR, _recurrent("acot < cot")),
    Statement(
        "3.3",
        "outcome: R < T; T converges at very small m and n only",
        f"{PAIR}; a censored T lies above",
        tuple(f"outcome: {model} < transformer" for model in RECURRENT),
    ),
    Statement(
        "3.4a",
        "R, acot: fixed < uniform < short_to_long",
        f"{PAIR}, at one m and L",
        _recurrent("fixed < uniform", "uniform < short_to_long"),
    ),
    Statement(
        "3.4b",
        "R, acot: N* falls as L grows; T, cot: it does not",
        SLOPE,
        (*_recurrent("acot falls with L"), "transformer: cot does not fall with L"),
    ),
    Statement("3.5", "R, outcome: short_to_long < uniform", PAIR, _recurrent("short_to_long < uniform")),
    Statement(
        "4.1",
        "T: kappa about 1 or below in every format",
        "kappa's 90 % interval: all of it at most 1.25, or all above",
        tuple(f"transformer: {f}" for f in FORMATS),
    ),
    Statement(
        "4.2",
        "T, cot: kappa << 1",
        "kappa's 90 % interval: all of it at most 0.5, or all above",
        ("transformer: cot",),
        "kappa = 0.28",
    ),
    Statement(
        "4.3",
        "R: kappa >> 1 with outcome and acot, about 1 with cot",
        "kappa's 90 % interval: all of it at least 2, with cot in 0.8 to 1.25, or all outside",
        _recurrent("outcome >> 1", "acot >> 1", "cot about 1"),
    ),
    Statement("4.4", "dense_ssm, acot: N*_joint falls as L grows", SLOPE, ("dense_ssm: acot falls with L",)),
    Statement(
        "4.5",
        "kappa and accuracy at 2L go together; R generalises with acot and not with cot, T nowhere",
        "a rank correlation that differs from 0 at 10 %, and the accuracies' 90 % intervals, of all seeds: "
        "at least 0.8, or at most 0.2",
        (
            "kappa and accuracy rise together",
            *_recurrent("acot generalises", "cot does not"),
            *(f"transformer: {f} does not" for f in FORMATS),
        ),
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
