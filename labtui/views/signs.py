"""The one sign of each state, outcome and kind of model, and the names of their styles.

Meaning never rests on colour alone. What colour a style has, ``labtui.tui.theme`` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from store.rows import JobRow

STATE_SIGN = {"queued": "○", "running": "▶", "paused": "‖", "done": "✓", "failed": "✗", "cancelled": "⊘"}
OUTCOME_SIGN = {
    "running": "▶",
    "success": "✓",
    "failure": "✗",
    "diverged": "∞",
    "superseded": "·",
    "lost": "?",
    "interrupted": "‖",
}
MODEL_SIGN = {"transformer": "▲", "lstm": "■", "dense_ssm": "●"}
_PLUGIN_SIGNS = "◆★✚⬟"
PLUGIN_HUES = ("plugin.0", "plugin.1", "plugin.2", "plugin.3")
_OWN = ("gru", "rnn", "slstm", "diagonal", "deltanet", "mamba", "pd_ssm")
"""The other kinds that come with labtui: no two have sign and colour in common."""


def model_sign(model: str) -> str:
    """The one sign of a kind of model, the same on every screen."""
    return MODEL_SIGN.get(model) or _PLUGIN_SIGNS[_slots(model)[0]]


def model_style(model: str) -> str:
    """The style name of a kind of model's one colour."""
    return f"model.{model}" if model in MODEL_SIGN else PLUGIN_HUES[_slots(model)[1]]


def _slots(model: str) -> tuple[int, int]:
    """(sign, colour) of a kind without its own; a plugin's come out of its name."""
    import hashlib

    many = len(_PLUGIN_SIGNS)
    if model in _OWN:
        turn, place = divmod(_OWN.index(model), many)
        return place, (place + turn) % many
    found = hashlib.sha256(model.encode("utf-8", "replace")).digest()[0] % many
    return found, found


def arrows(level: int | None) -> str:
    """How far from 1 a kappa of a level is: ``→`` shares, ``←←←`` interferes by 4 or more."""
    return "" if level is None else "→" * level or "←" * -level


def state_style(state: str) -> str:
    """The style name of a job's or trial's state."""
    return f"state.{state}"


def state_of(job: JobRow, supervised: bool = True) -> tuple[str, str, str]:
    """(sign, word, style): a job runs only while a supervisor lives, else it has ``stopped`` and waits
    for one.
    """
    if job.state == "running" and not supervised:
        return "‖", "stopped", "state.paused"
    return STATE_SIGN[job.state], job.state, state_style(job.state)


RATES = tuple(f"rate.{i}" for i in range(5))
"""Learning rates in order, the largest first: a ramp, since they are a scale and no names;
no model has these colours.
"""
_DASHES = (((1, 0), "━━"), ((7, 4), "╍╍"), ((2, 4), "┄┄"))
"""Dots on and off of a curve, and its sample in a legend: learning rates differ without colour too."""


class RateInk(NamedTuple):
    """How the curves of one learning rate are drawn."""

    style: str
    dash: tuple[int, int]
    sample: str
    """What stands for it in a legend."""


def rate_inks(rates: Iterable[float]) -> dict[float, RateInk]:
    """Give each learning rate, the largest first, its look wherever curves are drawn."""
    found = sorted(set(rates), reverse=True)
    steps = max(1, len(found) - 1)
    return {
        lr: RateInk(RATES[i * (len(RATES) - 1) // steps], *_DASHES[i % len(_DASHES)])
        for i, lr in enumerate(found)
    }


_VALUES = (
    ("~", "", "reckoned, not measured"),
    ("≤ ≥", "", "a bound: searches of the sum still run"),
    (">", "warn", "N* lies beyond N_max"),
    ("[…]", "", "90 % interval, or what brackets leave open"),
    ("!", "warn", "failed again with more data"),
)
_MODELS = (
    ("▲", "model.transformer", "transformer"),
    ("■", "model.lstm", "lstm"),
    ("●", "model.dense_ssm", "dense SSM"),
)
_BRACKET = (
    ("·", "faint", "fails"),
    ("━", "accent", "N* can be here"),
    ("◆", "accent", "N* found"),
    ("→", "accent", "N* beyond N_max"),
)
_VERDICTS = (
    ("✓", "ok", "succeeds"),
    ("✗", "bad", "fails"),
    ("●", "accent", "in training"),
    ("○", "dim", "tried ahead, counts for nothing yet"),
    ("1/3", "dim", "trials that ended of themselves, of all"),
    ("2/4", "dim", "adaptive, scan: fresh seeds that learned, of all"),
    ("⊘ ‖", "dim", "cancelled or interrupted before a verdict"),
)
_OUTCOMES = (
    ("✓", "ok", "learned: loss below ε"),
    ("✗", "dim", "not learned"),
    ("∞", "warn", "diverged; of a candidate: every trial"),
    ("·", "dim", "stopped: the candidate was decided"),
    ("‖", "warn", "interrupted, goes on"),
    ("?", "bad", "lost"),
)
_STATES = tuple((sign, state_style(state), state) for state, sign in STATE_SIGN.items())
MEANINGS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "queue": (*_STATES, *_BRACKET, *_MODELS, ("•", "mark", "marked"), ("s2l", "", "lengths 2 to L, scaled")),
    "job": (*_VERDICTS, *_OUTCOMES, ("ε", "warn", "the loss that counts as learned"), *_VALUES[:1]),
    "kappa": (
        ("κ", "", "Σ N*_n / N*_joint"),
        ("← →", "", "interferes (orange), shares (blue)"),
        ("→→ →→→", "", "by 2 or more, by 4 or more"),
        ("2/3", "dim", "searches that are done"),
        *_VALUES[1:],
        *_MODELS,
    ),
    "scaling": (
        *_MODELS,
        ("▲◭◮△", "", "formats: outcome, cot, icot, acot"),
        ("┃", "", "what the bracket leaves open"),
        ("↑", "", "N* beyond N_max"),
        ("┄", "", "the fitted law, over its data"),
        ("╌╌╌", "dim", "coverage floor: a table would do"),
    ),
    "trials": _OUTCOMES,
    "events": (("•", "mark", "new since your last visit"), *_STATES),
    "compare": (*_VERDICTS, ("∞", "warn", "every trial diverged"), *_MODELS),
    "paper": (
        ("✓", "ok", "confirmed; a comparison that holds"),
        ("✗", "bad", "contradicted; one that does not"),
        ("?", "warn", "open; undecided by its 90 % intervals"),
        ("·", "dim", "not measured"),
        ("T R", "", "transformer; recurrent: lstm, dense_ssm"),
    ),
    "new": (),
}
"""What the signs of each screen say: (sign, style, meaning)."""
