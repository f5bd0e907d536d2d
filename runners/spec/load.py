"""Reading specs from TOML: sugar is resolved, plugins and table files become data, errors become one sentence with a place."""

from __future__ import annotations

import json
import tomllib
from datetime import date, datetime, time
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from runners.spec.base import Spec
from runners.spec.errors import SpecError
from runners.spec.job import Job
from runners.spec.plugins import resolve_task
from runners.spec.sentences import first_problem, line_of
from runners.spec.study import Study

MAX_FILE_BYTES = 1 << 20
MAX_JOBS = 100_000


class NamedJob(Spec):
    """A file that holds one job instead of a study."""

    name: Annotated[str, Field(max_length=80)] = ""
    notes: Annotated[str, Field(max_length=10_000)] = ""
    tags: tuple[Annotated[str, Field(min_length=1, max_length=40)], ...] = ()
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    job: Job


def presets() -> tuple[str, ...]:
    """Names of the studies that come with labtui."""
    folder = resources.files("runners.spec") / "presets"
    return tuple(sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")))


def load(name_or_path: str) -> Study | NamedJob:
    """A study or a job from a preset's name or a TOML file.

    Raises:
        SpecError: no such preset or file, bad TOML, or a value that is out of its range; one sentence with the place.
    """
    text, source, folder = read_source(name_or_path)
    return parse(text, source=source, folder=folder)


def read_source(name_or_path: str) -> tuple[str, str, Path | None]:
    """(text, source for messages, folder for relative file names) of a preset or file."""
    if name_or_path in presets():
        text = (resources.files("runners.spec") / "presets" / f"{name_or_path}.toml").read_text("utf-8")
        return text, f"preset {name_or_path}", None
    path = Path(name_or_path)
    if not path.exists():
        known = ", ".join(presets())
        raise SpecError(f"no preset and no file is called {name_or_path!r}; expected a TOML file or one of: {known}")
    return _read_file(path), str(path), path.parent


def parse(text: str, *, source: str = "", folder: Path | None = None) -> Study | NamedJob:
    """Like :func:`load`, from text; a relative table file is looked for in ``folder``."""
    data = _parse_toml(text, source)
    data = _resolve(data, text=text, source=source, folder=folder)
    is_study = "sweep" in data
    model: type[Study] | type[NamedJob] = Study if is_study else NamedJob
    try:
        spec = model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        problem, keys = first_problem(error, model)
        raise SpecError(problem, source=source, line=line_of(text, keys)) from None
    if isinstance(spec, Study):
        _check_cells(spec, text, source)
    return spec


def _read_file(path: Path) -> str:
    try:
        if not path.is_file():
            raise SpecError("is not a file; expected a TOML file", source=str(path))
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SpecError(f"is larger than {MAX_FILE_BYTES} bytes; expected a TOML file", source=str(path))
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise SpecError("is not UTF-8 text; expected a TOML file", source=str(path)) from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", source=str(path)) from None


def _parse_toml(text: str, source: str) -> dict[str, Any]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"not valid TOML: {error}", source=source) from None
    except RecursionError:
        raise SpecError("not valid TOML: nested too deeply", source=source) from None
    _refuse_dates(data, source, text, ())
    return data


def _refuse_dates(value: Any, source: str, text: str, keys: tuple[str | int, ...]) -> None:
    if isinstance(value, datetime | date | time):
        dotted = ".".join(map(str, keys))
        raise SpecError(f"{dotted} is a date; expected no dates", source=source, line=line_of(text, keys))
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        _refuse_dates(item, source, text, (*keys, key))


def _resolve(data: dict[str, Any], *, text: str, source: str, folder: Path | None) -> dict[str, Any]:
    """Sugar to schema: named models, ``m = [2, 3]``, single values for lists, table files, plugin tasks."""
    data = dict(data)
    models = data.pop("models", {})
    if not isinstance(models, dict):
        raise SpecError("models is not a table; expected [models.NAME] tables", source=source, line=line_of(text, ("models",)))

    def model(value: Any, keys: tuple[str | int, ...]) -> Any:
        if not isinstance(value, str):
            return value
        if value not in models:
            known = ", ".join(models) or "none"
            raise SpecError(
                f"model {value!r} is not defined; expected an inline table or one of the [models.NAME] tables: {known}",
                source=source,
                line=line_of(text, keys),
            )
        return models[value]

    def task(value: Any, keys: tuple[str | int, ...]) -> Any:
        if not isinstance(value, dict):
            return value
        if value.get("kind") == "automaton" and "file" in value:
            value = _table_file(value, folder, source, line_of(text, keys))
        try:
            return resolve_task(value)
        except SpecError as error:
            raise SpecError(error.problem, source=source, line=line_of(text, keys)) from None

    if isinstance(data.get("sweep"), dict):
        data["sweep"] = [data["sweep"]]
    if isinstance(data.get("sweep"), list):
        sweeps = []
        for i, raw in enumerate(data["sweep"]):
            if not isinstance(raw, dict):
                sweeps.append(raw)
                continue
            sweep = dict(raw)
            if "m" in sweep:
                if "task" in sweep:
                    raise SpecError(
                        "sweep has both m and task; expected one of them",
                        source=source,
                        line=line_of(text, ("sweep", i, "m")),
                    )
                m = sweep.pop("m")
                sweep["task"] = [{"kind": "modular_addition", "m": v} for v in (m if isinstance(m, list) else [m])]
            for key in ("task", "model", "format", "L", "distribution"):
                if key in sweep and not isinstance(sweep[key], list):
                    sweep[key] = [sweep[key]]
            if isinstance(sweep.get("task"), list):
                sweep["task"] = [task(v, ("sweep", i, "task")) for v in sweep["task"]]
            if isinstance(sweep.get("model"), list):
                sweep["model"] = [model(v, ("sweep", i, "model")) for v in sweep["model"]]
            sweeps.append(sweep)
        data["sweep"] = sweeps
    elif isinstance(data.get("job"), dict):
        job = dict(data["job"])
        if "task" in job:
            job["task"] = task(job["task"], ("job", "task"))
        if "model" in job:
            job["model"] = model(job["model"], ("job", "model"))
        data["job"] = job
    else:
        raise SpecError("has neither a [[sweep]] nor a [job]; expected a study or a job", source=source)
    return data


def _table_file(value: dict[str, Any], folder: Path | None, source: str, line: int | None) -> dict[str, Any]:
    name = value["file"]
    extra = set(value) - {"kind", "file", "name"}
    if not isinstance(name, str) or extra:
        raise SpecError("a task with a file has only kind, file and name", source=source, line=line)
    path = (folder or Path()) / name
    text = _read_file(path)
    table = _parse_toml(text, str(path))
    table.setdefault("name", value.get("name", path.stem))
    return {**table, "kind": "automaton"}


def _check_cells(study: Study, text: str, source: str) -> None:
    for i, sweep in enumerate(study.sweep):
        cells = len(sweep.task) * len(sweep.model) * len(sweep.format) * len(sweep.distribution)
        jobs = cells * sum(L - sweep.min_length + 2 for L in sweep.L)
        if jobs > MAX_JOBS:
            raise SpecError(
                f"sweep expands to {jobs} jobs; expected at most {MAX_JOBS}",
                source=source,
                line=line_of(text, ("sweep", i)),
            )
    try:
        study.cells()
    except ValidationError as error:
        problem, keys = first_problem(error, Job)
        raise SpecError(problem, source=source, line=line_of(text, ("sweep", 0, *keys))) from None
