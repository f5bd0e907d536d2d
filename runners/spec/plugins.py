"""Tasks and models of other packages, found through entry points."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from runners.spec.errors import SpecError
from runners.spec.model import Model, PluginModel
from runners.spec.task import Automaton

TASKS = "labtui.tasks"
MODELS = "labtui.models"


def find(group: str, name: str) -> EntryPoint:
    """Find the entry point of that name.

    Raises:
        SpecError: no installed package offers it.
    """
    found = offered(group)
    if name not in found:
        known = ", ".join(found) or "none installed"
        raise SpecError(f"no plugin called {name!r} in {group}; expected one of: {known}")
    return found[name]


def offered(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by their names, sorted; nothing of theirs is loaded."""
    return {e.name: e for e in sorted(entry_points(group=group), key=lambda e: e.name)}


def package_of(entry: EntryPoint) -> str:
    """The package that offers it, and its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def check_models(models: Iterable[Model]) -> None:
    """Every plugin model must be installed where a spec is queued: told then, not when its turn has come.

    Raises:
        SpecError: one is not.
    """
    for model in models:
        if isinstance(model, PluginModel):
            find(MODELS, model.name)


def resolve_task(value: dict[str, Any]) -> dict[str, Any]:
    """A plugin task becomes the automaton that its factory returns; other tasks pass unchanged, factors too.

    Raises:
        SpecError: the plugin is missing, fails, or returns no automaton.
    """
    if value.get("kind") == "product" and isinstance(value.get("factors"), list):
        factors = [resolve_task(f) if isinstance(f, dict) else f for f in value["factors"]]
        return {**value, "factors": factors}
    if value.get("kind") != "plugin":
        return value
    name = value.get("name")
    if not isinstance(name, str):
        raise SpecError("task.name is missing; expected the name of a task plugin")
    factory = find(TASKS, name).load()
    try:
        task = factory(**value.get("params", {}))
    except Exception as error:
        raise SpecError(f"the task plugin {name!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(task, Automaton):
        raise SpecError(
            f"the task plugin {name!r} returned {type(task).__name__}; expected runners.spec.Automaton"
        )
    dumped: dict[str, Any] = task.model_dump(mode="json")
    return dumped
