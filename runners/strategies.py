"""The strategies by which N* is searched, and all in which they differ beside their own rule.

Standard library alone: the screens tell them apart before anything reads a spec. The rules are in
``runners/search``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StrategyName = Literal["log", "paper", "adaptive", "scan"]


@dataclass(frozen=True)
class Strategy:
    """One strategy."""

    candidates: int
    """The most candidates that it tries, where the spec does not say."""
    unused: tuple[str, ...]
    """Keys of ``[search]`` that it does not read: two specs that differ in these alone are one search."""
    fresh_seeds: bool = False
    """Its evidence is how many of a candidate's fresh seeds succeed, and its answer an estimate of N* with an
    interval; else a candidate succeeds or fails, and the answer is a bracket.
    """
    walks_down: bool = False
    """Where N_max fails it tries the N of ``runners.verdict.WALK_DOWN`` before N* is censored."""
    ahead: bool = True
    """Idle slots may train candidates before their turn; else each is chosen by all that is known."""


STRATEGIES: dict[StrategyName, Strategy] = {
    "log": Strategy(60, ("multiplier", "relative_width", "seed_budget", "ladder"), walks_down=True),
    "paper": Strategy(20, ("rtol", "relative_width", "seed_budget", "ladder")),
    "adaptive": Strategy(
        400, ("multiplier", "rtol", "stop_rule", "ladder"), fresh_seeds=True, walks_down=True, ahead=False
    ),
    "scan": Strategy(
        400, ("multiplier", "rtol", "stop_rule", "relative_width", "seed_budget"), fresh_seeds=True
    ),
}
FRESH_SEEDS: tuple[str, ...] = tuple(name for name, found in STRATEGIES.items() if found.fresh_seeds)
WALKING_DOWN: tuple[str, ...] = tuple(name for name, found in STRATEGIES.items() if found.walks_down)
