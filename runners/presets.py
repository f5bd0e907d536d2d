"""The studies that come with labtui, as TOML; reading them loads no pydantic (runners.spec does)."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable


def _presets() -> Traversable:
    return resources.files("runners") / "spec" / "presets"


def preset_names() -> tuple[str, ...]:
    """Names of the studies that come with labtui, sorted."""
    names = (p.name for p in _presets().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def read_preset(name: str) -> str:
    """Read the TOML of a preset."""
    return (_presets() / f"{name}.toml").read_text("utf-8")
