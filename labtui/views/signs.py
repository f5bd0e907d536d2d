"""The one sign of each state, outcome and kind of model, and the names of their styles.

Meaning never rests on colour alone. What colour a style has, ``labtui.tui.theme`` says.
"""

from __future__ import annotations

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


def model_sign(model: str) -> str:
    """The one sign of a kind of model, the same on every screen."""
    return MODEL_SIGN.get(model) or _PLUGIN_SIGNS[_slot(model)]


def model_style(model: str) -> str:
    """The style name of a kind of model's one colour."""
    return f"model.{model}" if model in MODEL_SIGN else PLUGIN_HUES[_slot(model)]


def _slot(model: str) -> int:
    import hashlib

    return hashlib.sha256(model.encode("utf-8", "replace")).digest()[0] % len(_PLUGIN_SIGNS)


def state_style(state: str) -> str:
    """The style name of a job's or trial's state."""
    return f"state.{state}"


RATES = tuple(f"rate.{i}" for i in range(5))
"""Learning rates in order, the largest first: a ramp, since they are a scale and no names;
no model has these colours.
"""
