"""What a person may write shorter: named models, ``m = [2, 3]``, one value for a list, table files,
plugin tasks.

The sugar becomes plain data for the spec models; ``origin`` leads from a place in that data back to the place
in the file, so that a message names what the person wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from runners.spec.errors import SpecError
from runners.spec.named_tasks import named_task
from runners.spec.plugins import resolve_task
from runners.spec.program_sugar import ProgramSugar
from runners.spec.sentences import Keys, dotted, line_of

_AXES = ("task", "model", "format", "L", "distribution")
MAX_BYTES = 16 << 20
"""What all the names of models and table files in one spec may stand for:
each is written out where it is named.
"""
ReadTable = Callable[[Path], dict[str, Any]]


class Sugar:
    """Resolves one file's data."""

    def __init__(self, text: str, source: str, folder: Path | None, read_table: ReadTable) -> None:
        self._text, self._source, self._folder, self._read_table = text, source, folder, read_table
        self._origins: dict[Keys, Keys] = {}
        self._models: dict[str, Any] = {}
        self._sizes: dict[int, int] = {}
        self._expanded = 0
        self._tables: dict[Path, dict[str, Any]] = {}
        self._named_tasks: dict[str, dict[str, Any]] = {}

    def origin(self, keys: Keys) -> Keys:
        """The path that the person wrote for a path in the resolved data."""
        for length in range(len(keys), 0, -1):
            known = self._origins.get(keys[:length])
            if known is not None:
                return known + keys[length:]
        return keys

    def resolve(self, data: dict[str, Any]) -> dict[str, Any]:
        """Make plain data for Study (it has ``sweep``) or NamedJob (it has ``job``).

        Raises:
            SpecError: a model that is not defined, a table file or plugin that fails, neither sweep nor job.
        """
        if "program" in data:
            return ProgramSugar(self._error, self._folder, self._origins).resolve(data)
        data = dict(data)
        models = data.pop("models", {})
        if not isinstance(models, dict):
            raise self._error("models is not a table; expected [models.NAME] tables", ("models",))
        self._models = models
        if isinstance(data.get("sweep"), dict):
            data["sweep"] = [data["sweep"]]
            self._origins["sweep", 0] = ("sweep",)
        if isinstance(data.get("sweep"), list):
            if len(data["sweep"]) == 1:
                self._origins["sweep", 0] = ("sweep",)
            data["sweep"] = [
                self._sweep(v, i) if isinstance(v, dict) else v for i, v in enumerate(data["sweep"])
            ]
        elif isinstance(data.get("job"), dict):
            data["job"] = self._job(data["job"])
        elif "sweep" not in data:
            close = [c for k in data for c in get_close_matches(k, ("sweep", "job"), 1)]
            hint = f"did you mean {close[0]!r}?" if close else "expected a study or a job"
            raise self._error(f"has neither a [[sweep]] nor a [job]; {hint}", ())
        return data

    @property
    def unused(self) -> dict[str, Any]:
        """The ``[models.NAME]`` tables that nothing names."""
        named = {at[1] for at in self._origins.values() if at[0] == "models"}
        return {name: table for name, table in self._models.items() if name not in named}

    def _error(self, problem: str, keys: Keys) -> SpecError:
        return SpecError(problem, source=self._source, line=line_of(self._text, keys))

    def _sweep(self, raw: dict[str, Any], i: int) -> dict[str, Any]:
        sweep = dict(raw)
        at = self.origin(("sweep", i))
        if "m" in sweep:
            if "task" in sweep:
                raise self._error("sweep has both m and task; expected one of them", ("sweep", i, "m"))
            m = sweep.pop("m")
            values = m if isinstance(m, list) else [m]
            for j in range(len(values)):
                self._origins["sweep", i, "task", j, "m"] = (
                    (*at, "m", j) if isinstance(m, list) else (*at, "m")
                )
            self._origins["sweep", i, "task"] = (*at, "m")
            sweep["task"] = [{"kind": "modular_addition", "m": v} for v in values]
        for key in _AXES:
            if key in sweep and not isinstance(sweep[key], list):
                self._origins["sweep", i, key, 0] = (*at, key)
                sweep[key] = [sweep[key]]
        for key, resolve in (("task", self._task), ("model", self._model)):
            if isinstance(sweep.get(key), list):
                sweep[key] = [resolve(v, ("sweep", i, key, j)) for j, v in enumerate(sweep[key])]
        return sweep

    def _job(self, raw: dict[str, Any]) -> dict[str, Any]:
        job = dict(raw)
        if "m" in job and "task" not in job:
            job["task"] = {"kind": "modular_addition", "m": job.pop("m")}
            self._origins["job", "task", "m"] = ("job", "m")
        for key, resolve in (("task", self._task), ("model", self._model)):
            if key in job:
                job[key] = resolve(job[key], ("job", key))
        return job

    def _model(self, value: Any, keys: Keys) -> Any:
        if not isinstance(value, str):
            return value
        if value not in self._models:
            known = (
                f"one of the [models.NAME] tables: {', '.join(self._models)}"
                if self._models
                else "a [models.NAME] table"
            )
            raise self._error(
                f"{dotted(self.origin(keys))} is {value!r}; expected an inline table or {known}", keys
            )
        self._origins[keys] = ("models", value)
        self._count(self._models[value], keys)
        return self._models[value]

    def _count(self, named: Any, keys: Keys) -> None:
        """A small file can name a large table many thousand times."""
        if id(named) not in self._sizes:
            self._sizes[id(named)] = len(json.dumps(named))
        self._expanded += self._sizes[id(named)]
        if self._expanded > MAX_BYTES:
            raise self._error(
                f"{dotted(self.origin(keys))} makes the file more than {MAX_BYTES} bytes written out", keys
            )

    def _task(self, value: Any, keys: Keys) -> Any:
        if isinstance(value, str):
            return self._named(value, keys)
        if not isinstance(value, dict):
            return value
        value = self._filed(value, keys)
        try:
            return resolve_task(value)
        except SpecError as error:
            raise self._error(error.problem, keys) from None

    def _named(self, name: str, keys: Keys) -> Any:
        """The data of a task's name, read once however often it stands in the file."""
        if name not in self._named_tasks:
            try:
                self._named_tasks[name] = named_task(name)
            except SpecError as error:
                raise self._error(error.problem, keys) from None
        self._count(self._named_tasks[name], keys)
        return self._named_tasks[name]

    def _filed(self, value: dict[str, Any], keys: Keys) -> dict[str, Any]:
        """The task with every table file read, those of a product's factors too."""
        if value.get("kind") == "product" and isinstance(value.get("factors"), list):
            at = (*keys, "factors")
            factors = [
                self._filed(f, (*at, i)) if isinstance(f, dict) else f for i, f in enumerate(value["factors"])
            ]
            return {**value, "factors": factors}
        return self._table(value, keys) if value.get("kind") == "automaton" and "file" in value else value

    def _table(self, value: dict[str, Any], keys: Keys) -> dict[str, Any]:
        name = value["file"]
        extra = sorted(set(value) - {"kind", "file", "name"})
        if extra:
            raise self._error(
                f"{dotted(self.origin(keys))} has a file and {extra[0]}; expected only kind, file and name",
                keys,
            )
        if not isinstance(name, str):
            raise self._error(
                f"{dotted(self.origin(keys))}.file is {name!r}; expected a file name in quotes", keys
            )
        path = (self._folder or Path()) / name
        if path not in self._tables:
            self._tables[path] = self._read_table(path)
        self._count(self._tables[path], keys)
        table = dict(self._tables[path])
        table.setdefault("name", value.get("name", path.stem))
        return {**table, "kind": "automaton"}
